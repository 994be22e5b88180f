"""The two descriptions of a prepared folder, read so that nothing they name can run.

TFDS imports whatever module a folder's features.json names. So a folder's shards are
found here by its dataset_info.json alone, and its features.json is only looked at.
"""

import re
from pathlib import Path
from typing import Any, NamedTuple

from unires_jax import documents
from unires_jax.errors import DataError, Kind, shorten
from unires_jax.files import Location, require_regular

INFO_FILE, FEATURES_FILE = "dataset_info.json", "features.json"

_TEMPLATE = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"  # TFDS's usual one
_NAME = re.compile(
    r"\w[\w.+-]{0,99}"
)  # of a data set, config or split: part of a file name
_FEATURES = "tensorflow_datasets.core.features."
_OURS = {  # what a record's features are made of
    f"{_FEATURES}{name}"
    for name in (
        "features_dict.FeaturesDict",
        "image_feature.Image",
        "scalar.Scalar",
        "sequence_feature.Sequence",
        "tensor_feature.Tensor",
        "text_feature.Text",
    )
}


class Shard(NamedTuple):
    """A file of records, as ArrayRecordDataSource takes one that it need not open."""

    filename: str
    skip: int
    take: int
    examples_in_shard: int


class Info(NamedTuple):
    """What a prepared folder's dataset_info.json says, checked."""

    name: str
    config: str  # "" for none
    splits: dict[str, dict[str, Any]]  # as they are stored, by name


def read_info(folder: Location) -> Info:
    """The dataset_info.json of a prepared folder.

    Raises DataError naming the file and the field that is not as TFDS writes it.
    """
    file = folder / INFO_FILE
    content = documents.read_object(file)
    try:
        name = _name(content, "name")
        config = _name(content, "configName") if content.get("configName") else ""
        splits = content.get("splits", [])
        if not isinstance(splits, list):
            raise DataError("expected a list", place="splits")
        return Info(name, config, {_name(split, "name"): split for split in splits})
    except DataError as error:
        raise error.at(str(file)) from None


def _name(entry: Any, field: str) -> str:
    value = entry.get(field) if isinstance(entry, dict) else None
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise DataError(
            f"is {shorten(repr(value), 60)}, expected a name of letters, digits and "
            "signs; build the data again",
            place=field,
        )
    return value


def _is_count(value: Any) -> bool:
    digits = isinstance(value, str) and re.fullmatch(r"[0-9]{1,18}", value)
    return bool(digits) or (type(value) is int and 0 <= value < 10**18)


def check_features(folder: Path) -> None:
    """Raise DataError if features.json names anything but the features of a record.

    Nothing that it names is imported here; other programs would.
    """
    file = folder / FEATURES_FILE
    if not file.exists():
        return
    for value in documents.objects(documents.read(file)):
        for field in ("pythonClassName", "type"):
            name = value.get(field)
            if isinstance(name, str) and name not in _OURS:
                raise DataError(
                    f"{field} {shorten(repr(name), 99)} is no feature of a record; "
                    "it was not imported. Build the data again, or get it from a "
                    "source you trust",
                    place=str(file),
                )


def shard_lengths(folder: Location, split: str) -> list[int]:
    """The records of each shard of a split. Raises DataError for what is no shard."""
    entry = read_info(folder).splits.get(split)
    if entry is None:
        raise DataError(f"has no split {split!r}", place=str(folder))
    lengths = entry.get("shardLengths")
    fault = ""
    if not isinstance(lengths, list) or not all(map(_is_count, lengths)):
        fault = "shardLengths: expected the number of records of each shard"
    elif entry.get("filepathTemplate", _TEMPLATE) != _TEMPLATE:
        fault = f"filepathTemplate: expected {_TEMPLATE}"
    elif not any(map(int, lengths)):
        fault = "shardLengths: lists no record"
    if fault:
        place = f"{folder / INFO_FILE}: split {split}"
        raise DataError(f"{fault}; build the data again", place=place)
    return list(map(int, lengths or ()))


def shard_files(folder: Path, split: str) -> list[Shard]:
    """The shards of a split, which are there. Raises DataError otherwise."""
    name, lengths = read_info(folder).name, shard_lengths(folder, split)
    shards = []
    for i, length in enumerate(lengths):
        numbers = f"{i:05}-of-{len(lengths):05}"
        file = folder / f"{name}-{split}.array_record-{numbers}"
        if not file.exists():
            raise DataError(
                "no such shard; copy it, or build the data again",
                place=str(file),
                kind=Kind.FILE_MISSING,
            )
        require_regular(file)
        shards.append(Shard(str(file), 0, length, length))
    return shards
