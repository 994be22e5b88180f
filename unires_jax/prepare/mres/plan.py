"""Which lines become which shard: files of MRES JSONL cut into runs of whole lines."""

import dataclasses
import os
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from unires_jax import limits
from unires_jax.errors import DataError, Kind
from unires_jax.pixels.orientation import Masks
from unires_jax.prepare.mres.jsonl import Lines, opened
from unires_jax.texts import is_plain

T = TypeVar("T")
SHARD_TEXT = 16 << 20  # bytes of plain text that become one shard; ours
_CHUNK = 1 << 20


def plan(
    files: Mapping[str, Sequence[Path]],
    shards: int = 0,
    masks: Masks = "stored",
    *,
    images: str = "",
    follow_links: bool | None = None,
) -> list[Lines]:
    """The runs of lines of all splits, in the order of their files.

    `masks`, `images` and `follow_links` say how each run is read (`Lines`).

    A split is cut into about `shards` runs of equal size, by default into runs of
    SHARD_TEXT bytes. A file that is compressed or
    no UTF-8 is never cut. The runs follow from the files
    alone. Raises DataError for a file that cannot be read, a split without lines and a
    folder of pictures that is not there.
    """
    if images and not os.path.isdir(images):
        raise DataError(
            "no such folder of images", place=images, kind=Kind.FILE_MISSING
        )
    runs: list[Lines] = []
    for split, paths in files.items():
        size = sum(_ask(os.stat, path).st_size for path in paths)
        run = max(1, -(-size // shards)) if shards else SHARD_TEXT
        cuts = [lines for path in paths for lines in cut(path, split, run)]
        if not cuts:
            raise DataError(
                f"{paths[0]} and its like hold no line", place=f"split {split}"
            )
        runs += [
            dataclasses.replace(
                lines, masks=masks, images=images, follow_links=follow_links
            )
            for lines in cuts
        ]
    return runs


def cut(path: Path, split: str, run: int) -> Iterator[Lines]:
    """The runs of one file: each ends with the first line that reaches `run` bytes.

    Raises DataError for a file that cannot be read, and for what is no text: a line
    beyond limits.SKIPPED_BYTES, or plain text of more than limits.GZIP_RATIO times the
    packed bytes.
    """
    stat = _ask(os.stat, path)
    stamp = (stat.st_size, stat.st_mtime_ns)
    start, first = 0, 1  # byte and number of the run's first line
    at, number = 0, 1  # the same of what is read next
    cuttable = _ask(is_plain, path)
    last = b"\n"
    line = 0  # byte at which the last line begins
    for chunk in _chunks(path):
        counted = 0
        while cuttable:
            newline = chunk.find(b"\n", max(start + run - 1 - at, counted))
            if newline < 0:
                break
            number += chunk.count(b"\n", counted, newline + 1)
            counted = newline + 1
            end = at + counted
            yield Lines(str(path), split, start, end, first, number - first, stamp)
            start, first = end, number
        number += chunk.count(b"\n", counted)
        line = max(line, at + chunk.rfind(b"\n") + 1) if b"\n" in chunk else line
        at, last = at + len(chunk), chunk[-1:]
        if at - line > limits.SKIPPED_BYTES:
            raise _no_text(path, f"line {number} has more than {at - line} bytes")
        if not cuttable and at > limits.GZIP_RATIO * max(stat.st_size, _CHUNK):
            raise _no_text(path, f"{stat.st_size} bytes unpack to more than {at}")
    number += last != b"\n"
    if at > start:
        yield Lines(str(path), split, start, at, first, number - first, stamp)


def _ask(question: Callable[[Path], T], path: Path) -> T:
    try:
        return question(path)
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", place=str(path)) from None


def _no_text(path: Path, fault: str) -> DataError:
    return DataError(f"{fault}; this is no MRES JSONL, remove it", place=str(path))


def _chunks(path: Path) -> Iterator[bytes]:
    with opened(path) as file:
        try:
            while chunk := file.read(_CHUNK):
                yield chunk
        except (OSError, EOFError, zlib.error, UnicodeError) as error:
            raise DataError(
                f"damaged: {error}; fetch or pack the file again", place=str(path)
            ) from None
