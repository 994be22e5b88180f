"""The files of a stage: `<out>/<stage>/shard-00003-of-00016.jsonl.gz`.

A picture is a line. Equal pictures make equal bytes: an archive holds neither a time
nor a name.
"""

import contextlib
import gzip
import io
import re
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from unires_jax import limits
from unires_jax.engine.record import Picture, from_line, to_line
from unires_jax.errors import DataError, Kind
from unires_jax.files import local, naming, whole
from unires_jax.texts import open_lines

_NAME = re.compile(r"shard-(\d{5,})-of-(\d{5,})\.jsonl\.gz")


def name(index: int, count: int) -> str:
    """The file name of a shard, of `count` shards."""
    return f"shard-{index:05}-of-{count:05}.jsonl.gz"


def paths(out: str | Path, stage: str) -> list[Path]:
    """All shards of a stage, in order.

    Raises DataError where there are none, where one is missing, and for shards of two
    different plans.
    """
    folder = local(out) / stage
    present = set[int]()
    counts = set[int]()
    for path in folder.glob("shard-*"):
        if match := _NAME.fullmatch(path.name):
            present.add(int(match[1]))
            counts.add(int(match[2]))
    if not present:
        raise DataError(
            f"holds no shard of the stage {stage}; run `unires engine run` first",
            place=str(folder),
            kind=Kind.FILE_MISSING,
        )
    if len(counts) > 1:
        raise DataError(
            f"holds shards of plans of {', '.join(map(str, sorted(counts)))} shards; "
            "remove those of the older plan",
            place=str(folder),
        )
    (count,) = counts
    if missing := sorted(set(range(count)) - present):
        raise DataError(
            f"lacks {len(missing)} of {count} shards, number {missing[0]} first; run "
            "`unires engine run` until all are done",
            place=str(folder),
            kind=Kind.FILE_MISSING,
        )
    return [folder / name(index, count) for index in range(count)]


def read(path: str | Path) -> Iterator[Picture]:
    """The pictures of a shard, one at a time.

    Raises DataError naming file and line for a damaged archive and for what is no
    record.
    """
    path, number = Path(path), 0
    try:
        with open_lines(path) as file:
            while line := file.readline(limits.LINE_BYTES + 1):
                number += 1
                place = f"{path}:{number}"
                if len(line) > limits.LINE_BYTES:
                    raise DataError(
                        f"expected a line of at most {limits.LINE_BYTES} bytes, found "
                        "a longer one",
                        place=place,
                    )
                yield from_line(line, place)
    except (OSError, EOFError, zlib.error) as error:
        why = getattr(error, "strerror", None) or error
        raise DataError(
            f"cannot be read after line {number}: {why}; remove it and run "
            "`unires engine run`, which makes it again",
            place=str(path),
        ) from None


@contextlib.contextmanager
def lines(path: Path) -> Iterator[io.TextIOWrapper]:
    """A file to print lines to, packed; its bytes depend on the lines alone."""
    with (
        naming(path),  # a full disk
        path.open("wb") as file,
        gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed,
        io.TextIOWrapper(packed, encoding="utf-8", newline="\n") as text,
    ):
        yield text


def write(path: str | Path, pictures: Iterable[Picture]) -> int:
    """Write a shard, whole or not at all; how many pictures. Raises OSError."""
    path, count = Path(path), 0
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as temporary, lines(temporary) as text:
        for picture in pictures:
            print(to_line(picture), file=text)
            count += 1
    return count
