"""Records as shards of ArrayRecord, and the folder of them as a TFDS data set."""

import contextlib
import dataclasses
import functools
import hashlib
import heapq
import itertools
import os
import shutil
from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from array_record.python.array_record_module import ArrayRecordWriter
from jaxtyping import Int64

from unires_jax.data import records, sentence_length, stored, summary
from unires_jax.data.prepared import PreparedSplit
from unires_jax.data.records import Record
from unires_jax.errors import DataError, Kind
from unires_jax.pixels import orientation
from unires_jax.prepare import build_summary
from unires_jax.prepare.mres.jsonl import Lines
from unires_jax.prepare.notes import Notes
from unires_jax.prepare.rejects import Rejects
from unires_jax.prepare.shards import PROGRESS, Ledger, Marker, Refusal, Shard

RECORDS, IDS = ".array_record", ".ids"


@dataclasses.dataclass(frozen=True)
class Conversion:
    """The work that makes a shard of ArrayRecord and the ids of its images."""

    lines: Lines
    noun: ClassVar[str] = "lines"
    suffixes: ClassVar[tuple[str, ...]] = (RECORDS, IDS)

    @property
    def name(self) -> str:
        """The file that is read."""
        return self.lines.file

    @property
    def entries(self) -> int:
        """How many lines it has."""
        return self.lines.count

    @property
    def identity(self) -> Marker:
        """That of its lines."""
        return self.lines.identity

    def write(
        self, paths: Mapping[str, Path], figures: Marker
    ) -> Generator[Refusal | None, None, None]:
        """Write the records that keep their contract; others are refused."""
        figures |= {"records": 0, "masks": 0, "expressions": 0, "mask_bytes": 0}
        figures |= {"oriented": 0, "long": 0}  # pictures by EXIF; sentences
        ids: list[tuple[int, int, int, int]] = []
        notes = Notes()
        path = str(paths[RECORDS])
        # One record a group, as TFDS writes.
        with contextlib.closing(ArrayRecordWriter(path, "group_size:1")) as writer:
            for number, record in self.lines.read(notes):
                place = self.lines.place(number)
                try:
                    if isinstance(record, DataError):
                        raise record
                    records.validate(record, place)
                except DataError as error:
                    yield Refusal(place, error)
                    continue
                writer.write(_serialize(record))
                digest = _digest(record.image)
                ids.append((record.image_id, number, record.coco_id, digest))
                figures["records"] += 1
                turned = orientation.stated(record.image) != orientation.UPRIGHT
                figures["oriented"] += turned
                figures["long"] += sentence_length.count_cut(record)
                figures["masks"] += len(record.masks)
                figures["expressions"] += len(record.expressions)
                figures["mask_bytes"] += sum(len(m.rle) for m in record.masks)
                yield None
        figures["bytes"] = paths[RECORDS].stat().st_size
        figures["notes"] = notes.to_json()
        with paths[IDS].open("wb") as file:
            np.save(file, np.array(sorted(ids), np.int64).reshape(-1, 4))


def _serialize(record: Record) -> bytes:
    features, serializer = _serializer()
    example = features.encode_example(stored.to_example(record))
    # A protobuf map is written in an order of the process' own unless told otherwise.
    return serializer.get_tf_example(example).SerializeToString(deterministic=True)


@functools.cache
def _serializer() -> tuple[Any, Any]:
    """The features of a record and their serializer, made once in each process."""
    from tensorflow_datasets.core.example_serializer import ExampleSerializer

    features = stored.features()
    return features, ExampleSerializer(features.get_serialized_info())


def publish(ledger: Ledger, builder: Any, notes: Notes | None = None) -> None:
    """Make the folder of finished conversions an ordinary TFDS directory in its place.

    `builder` is a TFDS builder whose `data_path` is that place. Prints what it holds,
    how many lines were skipped, and `notes` with those of the conversions; all of it
    is in build_summary.json too. Raises DataError for an image_id that two lines of a
    split share, and for a split without records.
    """
    import tensorflow_datasets as tfds

    folder, final = ledger.folder, Path(builder.data_path)
    markers = {shard: shard.finished() for shard in ledger.shards}
    splits: dict[str, list[Shard]] = {}
    for shard in ledger.shards:
        splits.setdefault(_lines(shard).split, []).append(shard)
    for shards in splits.values():
        check_ids(shards)
    infos = [
        _name(split, {shard: markers[shard] for shard in shards}, builder, folder)
        for split, shards in splits.items()
    ]
    builder.info.set_splits(tfds.core.splits.SplitDict(infos))
    builder.info.write_to_directory(folder)
    for split, shards in splits.items():
        _summarize(PreparedSplit(str(folder), split), shards)
    refused = ledger.refused()
    listed = ledger.list_refused(refused)
    rejects = Rejects()
    rejects.expect(ledger.entries)
    rejects.count, rejects.notes = len(refused), notes or Notes()
    for marker in markers.values():
        rejects.notes.merge(marker.get("notes", ()))
    _note_shared(splits, rejects.notes)
    build_summary.write(folder, _described(splits, markers), rejects)
    if final.exists():
        shutil.rmtree(final)
    os.replace(folder, final)
    shutil.rmtree(final / PROGRESS)
    for info in infos:
        print(f"{builder.name} {info.name}: {info.num_examples} images")
    said = {"oriented": orientation.told, "long": sentence_length.told}
    for figure, told in said.items():
        if count := sum(marker.get(figure, 0) for marker in markers.values()):
            print(f"{builder.name}: {told(count)}")
    rejects.notes.print()
    if refused:
        print(f"skipped {len(refused)} lines; reasons: {final / listed.name}")


def _summarize(split: PreparedSplit, shards: Sequence[Shard]) -> None:
    """Store what a start needs to know; the COCO ids without reading the records."""
    arrays = [np.load(shard.path(IDS)) for shard in shards]
    if all(array.shape[1] >= 3 for array in arrays):  # else of a version before
        in_order = [array[np.argsort(array[:, 1]), 2] for array in arrays]
        summary.store_coco_ids(split, np.concatenate(in_order))
    summary.coco_ids(split), summary.sentences(split)


def _described(
    splits: Mapping[str, Sequence[Shard]], markers: Mapping[Shard, Marker]
) -> dict[str, Any]:
    """What was read and written, for build_summary.json."""
    names = {_lines(shard).file: None for shard in markers}
    counts = {}
    for split, shards in splits.items():
        of_split = {_lines(shard).file: None for shard in shards}
        total = {
            noun: sum(markers[shard][figure] for shard in shards)
            for noun, figure in (("images", "records"), ("expressions", "expressions"))
        }
        counts[split] = {**total, "files": [Path(name).name for name in of_split]}
    return {"form": "mres_jsonl", "files": build_summary.files(names), "splits": counts}


def _note_shared(splits: Mapping[str, Sequence[Shard]], notes: Notes) -> None:
    """Note the pictures that two splits share, byte for byte.

    No more is held at once than what names the pictures of one split.
    """
    by_size = sorted(splits, key=lambda split: len(splits[split]))
    for a, b in itertools.combinations(by_size, 2):  # the smaller one is held
        ours = np.concatenate([_digests(shard) for shard in splits[a]])
        shared = sum(int(np.isin(_digests(s), ours).sum()) for s in splits[b])
        if shared:
            text = f"pictures of {b} are in {a} too, byte for byte: what is trained on "
            notes.add(f"{text}must not be judged", count=shared)


def _digests(shard: Shard) -> Int64[np.ndarray, " records"]:
    """What names the pictures of a shard; nothing in one of a version before."""
    array = np.load(shard.path(IDS))
    return array[:, 3] if array.shape[1] > 3 else array[:0, 0]


def _digest(picture: bytes) -> int:
    """64 bits that name a picture."""
    digest = hashlib.blake2b(picture, digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def _lines(shard: Shard) -> Lines:
    if not isinstance(shard.work, Conversion):
        raise TypeError(f"{shard.work} makes no shard of records")
    return shard.work.lines


def _name(
    split: str, shards: Mapping[Shard, Marker], builder: Any, folder: Path
) -> Any:
    """Give the shards that hold records TFDS's names; the split's SplitInfo."""
    import tensorflow_datasets as tfds

    full = {shard: marker for shard, marker in shards.items() if marker["records"]}
    if not full:
        raise DataError("no line of its files is usable", place=f"split {split}")
    template = tfds.core.ShardedFileTemplate(
        data_dir=builder.data_path,
        dataset_name=builder.name,
        split=split,
        filetype_suffix=RECORDS.removeprefix("."),
    )
    stale = set(folder.glob(f"{builder.name}-{split}.*"))
    for i, shard in enumerate(full):
        path = folder / template.relative_filepath(shard_index=i, num_shards=len(full))
        with contextlib.suppress(FileNotFoundError):  # renamed before a death
            os.replace(shard.path(RECORDS), path)
        if not path.exists():
            raise DataError(f"lost; delete {folder} and build again", place=str(path))
        stale.discard(path)
    for path in stale:
        path.unlink()
    return tfds.core.SplitInfo(
        name=split,
        shard_lengths=[marker["records"] for marker in full.values()],
        num_bytes=sum(marker["bytes"] for marker in full.values()),
        filename_template=template,
    )


def check_ids(shards: Sequence[Shard]) -> None:
    """Raise DataError naming both lines if two of a split share an image_id.

    The sorted ids of the shards are merged from disk, whatever their number.
    """
    streams = [_ids(i, shard) for i, shard in enumerate(shards)]
    last: tuple[int, int, int] | None = None
    for entry in heapq.merge(*streams):
        if last and entry[0] == last[0]:
            first, second = (_lines(shards[i]).place(n) for _, i, n in (last, entry))
            raise DataError(
                f"image_id {entry[0]} is in {first} and again in {second}; give every "
                "picture its own, and one line to all that is said about it",
                kind=Kind.ID_TWICE,
            )
        last = entry


def _ids(position: int, shard: Shard) -> Iterator[tuple[int, int, int]]:
    array = np.load(shard.path(IDS), mmap_mode="r")
    for start in range(0, len(array), 4096):
        for image_id, number, *_ in array[start : start + 4096].tolist():
            yield image_id, position, number
