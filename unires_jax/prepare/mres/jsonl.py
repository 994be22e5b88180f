"""Files of MRES JSONL: which there are, their runs of lines, and the records in them.

The format is ours (docs/mres_jsonl.md): MRES-32M, which it is shaped after, was never
released. Nothing in a line is trusted; a fault names file, line and field.
"""

import codecs
import dataclasses
import io
import json
import os
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from unires_jax import limits
from unires_jax.data.records import Record
from unires_jax.errors import DataError, Kind
from unires_jax.files import local, matching
from unires_jax.pixels.orientation import Masks
from unires_jax.prepare.mres.line import parse
from unires_jax.prepare.notes import Notes
from unires_jax.texts import open_lines

SUFFIXES = (".jsonl", ".jsonl.gz")
_ALIKE = (".json", ".ndjson", ".jsonlines", ".jsonl.zst", ".jsonl.bz2", ".jsonl.xz")

# Words of a file's name that say its split, and which; ours.
SPLIT_WORDS = {"train": "train", "training": "train", "val": "val", "valid": "val"}
SPLIT_WORDS |= {"validation": "val", "dev": "val", "test": "test", "testing": "test"}
SPLIT_WORDS |= {"testa": "testA", "testb": "testB", "testc": "testC", "eval": "val"}
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


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
    masks: Masks = "stored"  # the pixels of a picture that they belong to
    images: str = ""  # folder of the pictures; "": that of the file
    follow_links: bool | None = None  # out of these folders (`files.require_inside`)

    @property
    def identity(self) -> dict[str, Any]:
        """All of it as JSON: another run, or a file that changed, has another."""
        return {"lines": json.loads(json.dumps(dataclasses.asdict(self)))}

    def place(self, number: int) -> str:
        """`file:line`, as messages name it."""
        return f"{self.file}:{number}"

    def read(
        self, notes: Notes | None = None
    ) -> Iterator[tuple[int, Record | DataError]]:
        """The number of each line and its record, or the fault that makes it unusable.

        Empty lines are passed over; `notes` takes what else is. Raises DataError where
        the file itself is damaged.
        """
        path = Path(self.file)
        record = partial(
            parse,
            images=Path(self.images) if self.images else None,
            follow_links=self.follow_links,
        )
        for number, text in _split_lines(path, self):
            try:
                if text is None:
                    raise DataError(
                        f"expected a line of at most {limits.LINE_BYTES} bytes, found "
                        "a longer one; store pictures as files beside it"
                    )
                if text.strip():
                    place = self.place(number)
                    yield number, record(text, path.parent, self.masks, notes, place)
            except DataError as error:
                yield number, error.at(self.place(number))


def find_files(
    raw: str | Path, split: str = "", notes: Notes | None = None
) -> dict[str, list[Path]]:
    """The files of each split: of a folder, or of a pattern such as `raw/*.jsonl.gz`.

    The split is `split` for all, else the word of a file's name that says one
    (`pets-train.jsonl`, `valid_2.jsonl.gz`), else what is before the first `-` or `.`.
    `notes` takes what the names were taken for and what is passed over. Raises
    DataError if there are no files, for a name that says no split or two, and for a
    file that is packed beside itself.
    """
    if split and not _NAME.fullmatch(split):
        raise DataError(
            "expected a name of letters, digits and _ that begins with a letter",
            place=f"--split={split!r}",
        )
    notes = notes or Notes()
    root = local(raw)
    of_folder = os.path.isdir(root)
    paths = list(root.iterdir()) if of_folder else matching(raw)
    taken = [path for path in paths if _is_taken(path, of_folder, notes)]
    if not taken or not str(raw):
        raise DataError(
            "expected a folder or pattern of .jsonl or .jsonl.gz files, found none"
            f"{_others(paths)}; see docs/mres_jsonl.md; for files of other tools, "
            "`unires doctor` names the command that converts them",
            place=f"--raw={str(raw)!r}",
        )
    plain = {path: path.with_name(path.name.removesuffix(".gz")) for path in taken}
    for path, beside in plain.items():
        if path != beside and beside in plain:
            raise DataError(
                f"lies beside {beside.name}: are they the same lines? Remove one",
                place=str(path),
                kind=Kind.ID_TWICE,
            )
    files: dict[str, list[Path]] = {}
    for path in sorted(taken):
        files.setdefault(split or _split_of(path), []).append(path)
    for name, group in files.items():
        if {_stem(path).split("-")[0] for path in group} != {name}:
            for path in group:
                notes.add(f"split {name}", path.name)
    return files


def _is_taken(path: Path, of_folder: bool, notes: Notes) -> bool:
    """Whether a file is data; notes those that only look so."""
    if of_folder and not path.name.endswith(SUFFIXES):
        if path.name.lower().endswith(_ALIKE):
            notes.add("passed over: expected .jsonl or .jsonl.gz", str(path))
        return False
    if path.name.startswith("."):
        text = "passed over: its name begins with a dot, as what macOS and tools leave"
        notes.add(text, str(path))
        return False
    return path.is_file()


def _others(paths: Iterable[Path]) -> str:
    """The kinds of files that lie there instead, in words."""
    kinds = Counter(path.suffix for path in paths if path.suffix)
    words = [f"{count} {suffix}" for suffix, count in kinds.most_common(3)]
    folders = (path for path in paths if path.is_dir())
    words += [
        f"one within {p.name}/" for p in folders if next(p.glob("*.jsonl*"), None)
    ]
    return f" (there are: {', '.join(words)})" if words else ""


def _stem(path: Path) -> str:
    """The name of a file up to its first dot."""
    return path.name.partition(".")[0]


def _split_of(path: Path) -> str:
    """The split that the name of a file says."""
    name = path.name.removesuffix(".gz").removesuffix(".jsonl")
    words = [w.lower() for w in re.split(r"[^A-Za-z]+", name)]
    splits = {SPLIT_WORDS[word] for word in words if word in SPLIT_WORDS}
    if len(splits) == 1 and path.name.endswith(SUFFIXES):
        return splits.pop()
    first = re.split(r"[-.]", name)[0]
    if splits or not _NAME.fullmatch(first) or not path.name.endswith(SUFFIXES):
        said = f", found {' and '.join(sorted(splits))}" if splits else ""
        raise DataError(
            "expected a name such as train.jsonl or pets-val-00000.jsonl, which says "
            f"one split{said}; rename it or pass --split",
            place=str(path),
        )
    return first


def opened(path: Path) -> io.BufferedIOBase:
    """The lines of a file, unpacked. Raises DataError if it cannot be opened."""
    try:
        return open_lines(path)
    except OSError as error:
        raise DataError(
            f"{error.strerror or error}; fetch or pack the file again", place=str(path)
        ) from None


def _split_lines(path: Path, lines: Lines) -> Iterator[tuple[int, bytes | None]]:
    """Numbers and texts of the lines; None for one beyond the limit."""
    with opened(path) as file:
        number, at = lines.first, lines.start
        try:
            if at:
                file.seek(at)
            most = limits.LINE_BYTES
            while at < lines.end and (text := file.readline(most + 1)):
                at += len(text)
                whole = text.endswith(b"\n") or len(text) <= most
                piece = text
                while not piece.endswith(b"\n") and (piece := file.readline(most)):
                    at += len(piece)
                if number == 1:
                    text = text.removeprefix(codecs.BOM_UTF8)
                yield number, text if whole else None
                number += 1
        except (OSError, EOFError, zlib.error, UnicodeError) as error:
            raise DataError(
                f"damaged after line {number - 1}: {error}; fetch or pack the file "
                "again",
                kind=Kind.ENCODING
                if isinstance(error, UnicodeError)
                else Kind.UNUSABLE,
                place=str(path),
            ) from None
