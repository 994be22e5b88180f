"""Files of MRES JSONL: which there are, their runs of lines, and the records in them.

The format is ours (docs/mres_jsonl.md): MRES-32M, which it is shaped after, was never
released. Nothing in a line is trusted; a fault names file, line and field.
"""

import dataclasses
import gzip
import io
import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from unires_jax import limits
from unires_jax.data.records import Record
from unires_jax.errors import DataError
from unires_jax.files import require_regular
from unires_jax.prepare.mres.line import parse

SUFFIXES = (".jsonl", ".jsonl.gz")

_SPLIT = re.compile(r"([A-Za-z][A-Za-z0-9_]*)(?:-[^/]*)?\.jsonl(?:\.gz)?")


@dataclasses.dataclass(frozen=True)
class Lines:
    """A run of whole lines of one file: `[start, end)` in bytes of its plain text."""

    file: str
    split: str
    start: int
    end: int
    first: int  # number of its first line, from 1
    count: int  # how many lines
    stamp: tuple[int, int]  # size and time of change of the file when it was planned

    @property
    def identity(self) -> dict[str, Any]:
        """All of it as JSON: another run, or a file that changed, has another."""
        return {"lines": json.loads(json.dumps(dataclasses.asdict(self)))}

    def place(self, number: int) -> str:
        """`file:line`, as messages name it."""
        return f"{self.file}:{number}"

    def read(self) -> Iterator[tuple[int, Record | DataError]]:
        """The number of each line and its record, or the fault that makes it unusable.

        Empty lines are passed over. Raises DataError where the file itself is damaged.
        """
        path = Path(self.file)
        for number, text in _split_lines(path, self):
            try:
                if text is None:
                    raise DataError(
                        f"expected a line of at most {limits.LINE_BYTES} bytes, found "
                        "a longer one; store pictures as files beside it"
                    )
                if text.strip():
                    yield number, parse(text, path.parent)
            except DataError as error:
                yield number, error.at(self.place(number))


def find_files(raw: str | Path, split: str = "") -> dict[str, list[Path]]:
    """The files of each split: of a folder, or of a pattern such as `raw/*.jsonl.gz`.

    The split is the file name up to the first `-` or `.` (`train-00000.jsonl.gz`), or
    `split` for all. Raises DataError if there are no files or a name has no split.
    """
    pattern = Path(raw)
    if pattern.is_dir():
        paths = [p for p in pattern.iterdir() if p.name.endswith(SUFFIXES)]
    else:
        base = Path(pattern.anchor or ".")
        relative = str(pattern.relative_to(base) if pattern.anchor else pattern)
        paths = [p for p in base.glob(relative) if p.is_file()]
    if not paths or not str(raw):
        raise DataError(
            "expected a folder or pattern of .jsonl or .jsonl.gz files, found none; "
            "see docs/mres_jsonl.md",
            place=f"--raw={str(raw)!r}",
        )
    files: dict[str, list[Path]] = {}
    for path in sorted(paths):
        files.setdefault(split or _split_of(path), []).append(path)
    return files


def _split_of(path: Path) -> str:
    match = _SPLIT.fullmatch(path.name)
    if not match:
        raise DataError(
            "expected a name such as train.jsonl or val-00000.jsonl.gz, whose "
            "beginning names the split; rename it or pass --split",
            place=str(path),
        )
    return match[1]


def open_lines(path: Path) -> io.BufferedIOBase:
    """The plain text of a file. Raises DataError if it cannot be opened."""
    try:
        require_regular(path)
        return gzip.open(path) if path.suffix == ".gz" else path.open("rb")
    except OSError as error:
        raise DataError(
            f"cannot be opened: {error.strerror}", place=str(path)
        ) from None


def _split_lines(path: Path, lines: Lines) -> Iterator[tuple[int, bytes | None]]:
    """Numbers and texts of the lines; None for one beyond the limit."""
    with open_lines(path) as file:
        number, at = lines.first, lines.start
        try:
            file.seek(at)
            most = limits.LINE_BYTES
            while at < lines.end and (text := file.readline(most + 1)):
                at += len(text)
                whole = text.endswith(b"\n") or len(text) <= most
                piece = text
                while not piece.endswith(b"\n") and (piece := file.readline(most)):
                    at += len(piece)
                yield number, text if whole else None
                number += 1
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(
                f"damaged after line {number - 1}: {error}; fetch or pack the file "
                "again",
                place=str(path),
            ) from None
