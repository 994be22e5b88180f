"""A prepared data set (TFDS folder, ArrayRecord) opened as records."""

import dataclasses
import functools
import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from unires_jax import extras
from unires_jax.data import copies, stored
from unires_jax.data.descriptions import (
    INFO_FILE,
    check_features,
    read_info,
    shard_files,
)
from unires_jax.data.records import Record
from unires_jax.data.tokenizer import FILE as TOKENIZER_FILE
from unires_jax.errors import DataError, shorten
from unires_jax.files import Location, in_bucket, locate, require_text

# Names under which is built; a killed build leaves them.
INCOMPLETE, PARTIAL = "incomplete.", ".partial"  # TFDS's begin so, ours end so
REQUESTS = 32  # to a bucket at once; ours


@dataclasses.dataclass(frozen=True)
class PreparedSplit:
    """One split, random access: `split[i] -> Record`. Picklable; opens on first use.

    The records of a folder in a bucket are read from a copy on this machine.
    """

    folder: str  # the versioned TFDS folder
    split: str
    cache: str = ""  # folder for the copy: data.cache

    @property
    def dataset(self) -> str:
        """Its name in expression keys: `<name>` or `<name>_<config>`."""
        return _dataset_name(self.folder)

    @functools.cached_property
    def _copy(self) -> str:
        """The folder that records are read from."""
        if in_bucket(self.folder):
            return str(copies.copy_split(self.folder, self.split, self.cache))
        return self.folder

    @functools.cached_property
    def _source(self) -> Any:
        from array_record.python.array_record_data_source import ArrayRecordDataSource

        folder = Path(self._copy)
        require_text(folder)
        check_features(folder)
        return ArrayRecordDataSource(shard_files(folder, self.split))

    def __getstate__(self) -> dict[str, str]:
        # A reader process does not ask the bucket again.
        kept = ("folder", "split", "cache", "_copy")
        return {name: self.__dict__[name] for name in kept if name in self.__dict__}

    def __setstate__(self, state: dict[str, str]) -> None:
        self.__dict__.update(state)

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> Record:
        if not 0 <= index < len(self):  # a loop over the split ends by it
            raise IndexError(f"record {index} of {len(self)}")
        return stored.parse(self._bytes(int(index)))

    def _bytes(self, index: int) -> bytes:
        try:
            return bytes(self._source[index])
        except (DataError, IndexError):
            raise
        except (ValueError, RuntimeError, OSError) as error:  # ArrayRecord's
            raise DataError(
                f"its shard cannot be read: {shorten(str(error))}; fetch or build it "
                "again",
                place=f"{self.folder}: {self.split} record {index}",
            ) from None

    def check_counts(self) -> None:
        """Raise DataError for a shard that holds more or fewer records than listed.

        Opens every shard, which a start does not.
        """
        from array_record.python.array_record_module import ArrayRecordReader

        for shard in shard_files(Path(self._copy), self.split):
            try:
                count = ArrayRecordReader(shard.filename).num_records()
            except (ValueError, RuntimeError, OSError) as error:
                fault = f"cannot be read: {shorten(str(error))}"
            else:
                fault = f"holds {count} records, {INFO_FILE} lists {shard.take}"
                fault = "" if count == shard.take else fault
            if fault:
                text = f"{fault}; copy both again, or build the data again"
                raise DataError(text, place=shard.filename)

    def stored(self) -> Iterator[bytes]:
        """The records as they are stored, in order."""
        return (self._bytes(i) for i in range(len(self)))

    @property
    def tokenizer(self) -> Location | None:
        """The tokenizer stored beside the data, if there is one."""
        path = locate(self.folder) / TOKENIZER_FILE
        return path if path.exists() else None

    def fingerprint(self) -> str:
        """A hash of what the split holds: shard names, sizes and record counts."""
        folder = locate(self.folder)
        info = read_info(folder).splits[self.split]
        described = _shards(folder, self.split)
        text = json.dumps([info, described], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def _shards(folder: Location, split: str) -> list[tuple[str, int]]:
    """The name and the bytes of every shard of a split, sorted."""
    if not isinstance(folder, Path):
        return _shards_in_bucket(str(folder), split)
    paths = sorted(folder.glob(f"*-{split}.*"))
    return [(p.name, p.stat().st_size) for p in paths]


@functools.cache
def _shards_in_bucket(folder: str, split: str) -> list[tuple[str, int]]:
    """They take a request each; a run asks for them once."""
    paths = sorted(locate(folder).glob(f"*-{split}.*"))
    with ThreadPoolExecutor(REQUESTS) as pool:
        sizes = pool.map(lambda path: int(path.stat().length), paths)
        return [(p.name, size) for p, size in zip(paths, sizes, strict=True)]


@functools.cache
def _dataset_name(folder: str) -> str:
    name, config, _ = read_info(locate(folder))
    if config.startswith(name):  # refcoco/refcoco_unc
        return config
    return f"{name}_{config}" if config else name


def split_names(folder: str | os.PathLike[str]) -> list[str]:
    """The splits of a prepared folder."""
    return list(read_info(locate(folder)).splits)


def rejoined(words: Iterable[str]) -> list[str]:
    """The specs of splits in a list that was cut at its commas: folders have some too.

    A spec ends with `:<split>`; what has no such end belongs to the next word.
    """
    specs, begun = [], ""
    for word in words:
        begun = f"{begun},{word}" if begun else word
        if re.search(r":[^:/]+$", begun):
            specs.append(begun)
            begun = ""
    return [*specs, begun] if begun else specs


def open_split(
    spec: str, data_dir: str | os.PathLike[str] = "data", cache: str = ""
) -> PreparedSplit:
    """Open `<name>[/<config>][/<version>]:<split>`, or `<folder>:<split>`.

    What lies in a bucket is copied to `cache` when its records are first read. Raises
    DataError if the folder or the split is not there, naming what is;
    MissingExtraError where what reads it is not installed.
    """
    extras.require("train")
    name, colon, split = spec.rpartition(":")
    if not colon or not name or not split or "/" in split:
        raise DataError(
            "expected <data set>:<split>, e.g. partworld:val", place=repr(spec)
        )
    folder = _find_folder(name, locate(data_dir))
    splits = read_info(folder).splits
    if split not in splits:
        raise DataError(
            f"{folder} has no split {split!r}; it has {sorted(splits)}",
            place=repr(spec),
        )
    stored.example_message()  # imported now: see there
    return PreparedSplit(str(folder), split, cache)


def _find_folder(name: str, data_dir: Location) -> Location:
    for base in (locate(name),) if in_bucket(name) else (data_dir / name, Path(name)):
        infos = _infos(base) if base.is_dir() else []
        folders = [p.parent for p in infos if not is_unfinished(p.parent.name)]
        if len(folders) == 1:
            return folders[0]
        if folders:
            choices = ", ".join(str(p.relative_to(base)) for p in folders)
            raise DataError(f"{base} holds several data sets; add one of: {choices}")
    if deeper := sorted(data_dir.glob(f"*/{name.strip('/')}/*/{INFO_FILE}")):
        full = deeper[0].parents[1].relative_to(data_dir)
        raise DataError(f"no prepared data set {name!r} under {data_dir}; write {full}")
    parts = [part for part in name.split("/") if part and not part[0].isdigit()]
    # What stands before a builder's name is a folder that somebody chose.
    first = next((i for i, part in enumerate(parts) if part in _builders()), 0)
    builder, *configs = parts[first:] or [name]
    options = f" --config {configs[0]}" if configs else ""
    folder = data_dir.joinpath(*parts[:first])
    raise DataError(
        f"no prepared data set {name!r} under {data_dir}; build it with: unires build "
        f"{builder}{options} --data_dir {folder}"
    )


def _builders() -> set[str]:
    """The names of the package's data sets."""
    return {path.name for path in (Path(__file__).parents[1] / "datasets").iterdir()}


def is_unfinished(name: str) -> bool:
    """Whether a folder is called as one that is being built, or was when killed."""
    return name.startswith(INCOMPLETE) or name.endswith(PARTIAL)


def _infos(base: Location) -> list[Location]:
    """The dataset_info.json below a folder, however deep; in a bucket to two folders.

    There `**` would list every object: data lies as <name>[/<config>]/<version>.
    """
    if isinstance(base, Path):
        return sorted(base.glob(f"**/{INFO_FILE}"))
    depths = ("", "*/", "*/*/")
    return sorted(p for d in depths for p in base.glob(f"{d}{INFO_FILE}"))
