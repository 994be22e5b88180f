"""A sharded conversion that many processes share and that survives its own death.

Every run of lines becomes one ArrayRecord shard. It is written under a temporary name,
renamed, and only then marked as done, so that a conversion that dies goes on with what
is not marked. When all are done, the shards get TFDS's names and metadata and the
folder its own name. A shard depends on its lines alone, not on workers or restarts.
"""

import contextlib
import dataclasses
import fcntl
import heapq
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from array_record.python.array_record_module import ArrayRecordWriter

from unires_jax.data import records, stored
from unires_jax.data.records import Record
from unires_jax.errors import DataError
from unires_jax.prepare.mres import jsonl as mres_jsonl
from unires_jax.prepare.mres.jsonl import Lines
from unires_jax.prepare.rejects import REJECTED

PROGRESS = "progress"  # folder of shards and markers while a conversion runs
LOCK = "lock"
DONE, REJECTS = ".done", ".rejects"  # suffixes of a shard's marker and bad lines
NAMED = 5  # rejected lines that an error names

Tick = Callable[[int, int], None]  # records written and rejected since the last call
Marker = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Shard:
    """One unit of work: lines to read, and where its files go."""

    lines: Lines
    folder: str
    index: int

    def path(self, suffix: str) -> Path:
        """One of its files while the conversion runs."""
        return Path(self.folder) / PROGRESS / f"{self.index:05}{suffix}"

    def marker(self) -> Marker | None:
        """What its finished form holds; None unless it was made of these very lines."""
        try:
            found = json.loads(self.path(DONE).read_text())
        except (FileNotFoundError, ValueError):
            return None
        return found if found["lines"] == _plain(self.lines) else None


def _plain(lines: Lines) -> Any:
    return json.loads(json.dumps(dataclasses.asdict(lines)))


def write(shard: Shard, allowed: int, tick: Tick = lambda *_: None) -> Marker:
    """Convert the lines of a shard and mark it as done; what its marker says.

    Unusable lines go to the shard's own list. Raises DataError when they are more than
    `allowed`.
    """
    marker: Marker = {"lines": _plain(shard.lines), "rejected": 0, "records": 0}
    marker |= {"masks": 0, "expressions": 0, "mask_bytes": 0}
    ids: list[tuple[int, int]] = []
    temporary = shard.path(f".tmp-{os.getpid()}")
    try:
        with _writer(temporary) as writer, shard.path(REJECTS).open("w") as rejects:
            for number, item in _checked(shard.lines):
                if isinstance(item, Record):
                    writer.write(_serialize(item))
                    ids.append((item.image_id, number))
                    _count(marker, item)
                    tick(1, 0)
                else:
                    print(json.dumps(item), file=rejects, flush=True)
                    marker["rejected"] += 1
                    if marker["rejected"] > allowed:
                        raise DataError(f"more than {allowed} lines are unusable")
                    tick(0, 1)
        marker["bytes"] = temporary.stat().st_size
        _publish(temporary, shard.path(".array_record"))
        _save_ids(sorted(ids), temporary)
        _publish(temporary, shard.path(".ids"))
        temporary.write_text(json.dumps(marker))
        _publish(temporary, shard.path(DONE))
    finally:
        temporary.unlink(missing_ok=True)
    return marker


@contextlib.contextmanager
def _writer(path: Path) -> Iterator[ArrayRecordWriter]:
    writer = ArrayRecordWriter(str(path), "group_size:1")  # as TFDS writes
    try:
        yield writer
    finally:
        writer.close()


def _checked(lines: Lines) -> Iterator[tuple[int, Record | dict[str, str]]]:
    """Line numbers with a valid record or the entry that goes to rejected.jsonl."""
    for place, found in mres_jsonl.read(lines):
        number = int(place.rpartition(":")[2])
        try:
            if isinstance(found, DataError):
                raise found
            records.validate(found, place)
            yield number, found
        except DataError as error:
            yield number, {"record": place, "reason": str(error)}


def _serialize(record: Record) -> bytes:
    global _serializer
    if _serializer is None:
        from tensorflow_datasets.core.example_serializer import ExampleSerializer

        features = stored.features()
        _serializer = features, ExampleSerializer(features.get_serialized_info())
    features, serializer = _serializer
    example = features.encode_example(stored.to_example(record))
    # A protobuf map is written in an order of the process' own unless told otherwise.
    return serializer.get_tf_example(example).SerializeToString(deterministic=True)


_serializer: Any = None  # made once in each process


def _count(marker: Marker, record: Record) -> None:
    marker["records"] += 1
    marker["masks"] += len(record.masks)
    marker["expressions"] += len(record.expressions)
    marker["mask_bytes"] += sum(len(m.rle) for m in record.masks)


def _publish(temporary: Path, path: Path) -> None:
    with temporary.open("rb") as file:
        os.fsync(file.fileno())  # the name must not outlive the content
    os.replace(temporary, path)


def _save_ids(ids: list[tuple[int, int]], path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.array(ids, np.int64).reshape(-1, 2))


def rejected(shard: Shard) -> list[dict[str, str]]:
    """The unusable lines of a shard found so far: `{"record", "reason"}` each."""
    path = shard.path(REJECTS)
    return list(map(json.loads, path.read_text().splitlines())) if path.exists() else []


def refuse(shards: Sequence[Shard], folder: Path, allowed: int) -> None:
    """Raise DataError naming the unusable lines if they are too many.

    All are in rejected.jsonl then, and their shards will be written again.
    """
    found = {s: rejected(s) for s in shards}
    bad = [entry for entries in found.values() for entry in entries]
    if len(bad) <= allowed:
        return
    path = folder / REJECTED
    path.write_text("".join(json.dumps(entry) + "\n" for entry in bad))
    for shard, entries in found.items():
        if entries:
            shard.path(DONE).unlink(missing_ok=True)
    named = "\n  ".join(entry["reason"] for entry in bad[:NAMED])
    total = sum(s.lines.count for s in shards)
    raise DataError(
        f"{len(bad)} of {total} lines are unusable, and --max_bad_share allows "
        f"{allowed}; all found so far are in {path}, the first:\n  {named}\n"
        "Mend them and run the same command again: finished shards are kept"
    )


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder for one conversion. Raises DataError if another one holds it."""
    (folder / PROGRESS).mkdir(parents=True, exist_ok=True)
    with (folder / PROGRESS / LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise DataError(
                f"{folder} is being written by another conversion; wait for its end"
            ) from None
        yield


def clean(shards: Sequence[Shard]) -> list[Shard]:
    """Remove what belongs to no finished shard; the shards still to be written."""
    todo = [s for s in shards if s.marker() is None]
    done = set(shards) - set(todo)
    keep = {s.path(x) for s in done for x in (".array_record", ".ids", REJECTS, DONE)}
    folders = {Path(s.folder) / PROGRESS for s in shards}
    for path in (p for folder in folders for p in folder.iterdir()):
        if path not in keep and path.name != LOCK:
            path.unlink(missing_ok=True)
    return todo


def finish(shards: Sequence[Shard], builder: Any, folder: Path) -> None:
    """Make the folder of finished shards an ordinary TFDS directory in its place.

    `builder` is a TFDS builder whose `data_path` is that place. Prints what it holds
    and how many lines were skipped. Raises DataError for an
    image_id that two lines of a split share, and for a split without records.
    """
    import tensorflow_datasets as tfds

    markers = {s: _marked(s) for s in shards}
    splits = {s.lines.split: [] for s in shards}  # type: dict[str, list[Shard]]
    for shard in shards:
        splits[shard.lines.split].append(shard)
    for own in splits.values():
        check_ids(own)
    infos = [_name(n, own, markers, builder, folder) for n, own in splits.items()]
    builder.info.set_splits(tfds.core.splits.SplitDict(infos))
    builder.info.write_to_directory(folder)
    bad = [entry for s in shards for entry in rejected(s)]
    (folder / REJECTED).unlink(missing_ok=True)
    if bad:
        lines = "".join(json.dumps(entry) + "\n" for entry in bad)
        (folder / REJECTED).write_text(lines)
    final = Path(builder.data_path)
    if final.exists():
        shutil.rmtree(final)
    os.replace(folder, final)
    shutil.rmtree(final / PROGRESS)
    for info in infos:
        print(f"{builder.name} {info.name}: {info.num_examples} images")
    if bad:
        print(f"skipped {len(bad)} lines; reasons: {final / REJECTED}")


def _marked(shard: Shard) -> Marker:
    marker = shard.marker()
    if marker is None:
        raise DataError(
            f"shard {shard.index} of {shard.lines.file} is not done; did the file "
            "change meanwhile? Run the same command again"
        )
    return marker


def _name(
    split: str,
    shards: Sequence[Shard],
    markers: dict[Shard, Marker],
    builder: Any,
    folder: Path,
) -> Any:
    """Give the shards that hold records TFDS's names; the split's SplitInfo."""
    import tensorflow_datasets as tfds

    full = [s for s in shards if markers[s]["records"]]
    if not full:
        raise DataError(f"split {split}: no line of its files is usable")
    template = tfds.core.ShardedFileTemplate(
        data_dir=builder.data_path,
        dataset_name=builder.name,
        split=split,
        filetype_suffix="array_record",
    )
    stale = set(folder.glob(f"{builder.name}-{split}.*"))
    for i, shard in enumerate(full):
        name = template.relative_filepath(shard_index=i, num_shards=len(full))
        with contextlib.suppress(FileNotFoundError):  # renamed before a death
            os.replace(shard.path(".array_record"), folder / name)
        if not (folder / name).exists():
            raise DataError(f"{folder / name}: lost; delete {folder} and build again")
        stale.discard(folder / name)
    for path in stale:
        path.unlink()
    return tfds.core.SplitInfo(
        name=split,
        shard_lengths=[markers[s]["records"] for s in full],
        num_bytes=sum(markers[s]["bytes"] for s in full),
        filename_template=template,
    )


def check_ids(shards: Sequence[Shard]) -> None:
    """Raise DataError naming both lines if two of a split share an image_id.

    The sorted ids of the shards are merged from disk, whatever their number.
    """
    streams = [_ids(i, shard) for i, shard in enumerate(shards)]
    last: tuple[int, int, int] | None = None
    for found in heapq.merge(*streams):
        if last and found[0] == last[0]:
            first, second = (f"{shards[i].lines.file}:{n}" for _, i, n in (last, found))
            raise DataError(
                f"image_id {found[0]} is in {first} and again in {second}; give every "
                "picture its own, and one line to all that is said about it"
            )
        last = found


def _ids(position: int, shard: Shard) -> Iterator[tuple[int, int, int]]:
    array = np.load(shard.path(".ids"), mmap_mode="r")
    for start in range(0, len(array), 4096):
        for image_id, number in array[start : start + 4096].tolist():
            yield image_id, position, number
