"""Rows of a table file: CSV, TSV, JSON lines, or JSON that is a list or maps names.

Source: ours.
"""

import csv
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from unires_jax import documents, limits
from unires_jax.errors import DataError, Kind, shorten
from unires_jax.files import read_bytes
from unires_jax.texts import open_lines, unpacked

SUFFIXES = (".jsonl", ".csv", ".tsv", ".json")
NAME, WORDS = "image", "text"  # columns of a mapping of names to sentences
# What tables of pictures are called, the likeliest first.
_USUAL = (
    *("metadata", "captions", "caption", "sentences", "texts", "prompts"),
    *("expressions", "annotations", "labels", "data", "index"),
)
HEADS = 16  # rows whose fields are looked at for columns; ours


def beside(folder: Path) -> list[Path]:
    """The files of a folder that may be tables of its pictures, the likeliest first."""
    there = {p.name.lower(): p for p in sorted(folder.iterdir()) if not p.is_dir()}
    called = (f"{stem}{suffix}" for stem in _USUAL for suffix in SUFFIXES)
    return [there[name] for name in called if name in there]


def rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each row by the names of its columns, and where it stands.

    Of JSON that maps names to sentences a pair is a row of NAME and WORDS. Raises
    DataError for a file that cannot be read, and for what is no table.
    """
    try:
        if path.suffix == ".jsonl":
            yield from _lines(path)
        elif path.suffix == ".json":
            yield from _json(path)
        else:
            yield from _csv(path, "\t" if path.suffix == ".tsv" else ",")
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", place=str(path)) from None


def names(path: Path) -> list[str]:
    """The names of the columns that the first rows have."""
    columns: dict[str, None] = {}
    for number, (_, row) in enumerate(rows(path)):
        if number >= HEADS:
            break
        columns |= dict.fromkeys(row)
    return list(columns)


def _lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, line in _plain_lines(path):
        place = f"{path}:{number}"
        if not line.strip():
            continue
        try:
            row = documents.load(line, limits.LINE_MEMORY)
        except DataError as error:
            raise error.at(place) from None
        except ValueError as error:
            raise DataError(f"is no JSON: {shorten(str(error))}", place=place) from None
        yield place, _object(row, place)


def _plain_lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a text and their numbers, one at a time however long the file is."""
    number = total = 0
    most = limits.GZIP_RATIO * max(path.stat().st_size, 1 << 16)
    with open_lines(path) as file:
        try:
            while line := file.readline(limits.LINE_BYTES + 1):
                number, total = number + 1, total + len(line)
                if len(line) > limits.LINE_BYTES or total > most:
                    raise DataError(
                        f"a line of more than {limits.LINE_BYTES} bytes, or a text of "
                        f"more than {most}",
                        place=f"{path}:{number}",
                    )
                yield number, line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeError as error:
            raise DataError(
                f"is no UTF-8: {error.reason}; save it as UTF-8",  # type: ignore[attr-defined]
                place=f"{path}:{number}",
                kind=Kind.ENCODING,
            ) from None
        except (EOFError, zlib.error) as error:
            raise DataError(f"damaged: {error}", place=str(path)) from None


def _json(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    content = _content(path)
    if isinstance(content, list):
        for number, row in enumerate(content):
            place = f"{path}: entry {number}"
            yield place, _object(row, place)
        return
    pairs = content.items() if isinstance(content, dict) else ()
    for name, words in pairs:
        place = f"{path}: {shorten(name)}"
        if isinstance(words, dict):
            yield place, {NAME: name, **words}
        else:
            yield place, {NAME: name, WORDS: words}


def _content(path: Path) -> Any:
    try:
        data = unpacked(
            read_bytes(path, limits.SMALL_JSON_BYTES), limits.SMALL_JSON_BYTES
        )
        return documents.load(data, 2 * limits.LINE_MEMORY)
    except DataError as error:
        raise error.at(str(path)) from None
    except ValueError as error:
        raise DataError(f"is no JSON: {shorten(str(error))}", place=str(path)) from None


def _object(row: Any, place: str) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise DataError("is no object of named columns", place=place)
    return row


def _csv(path: Path, sign: str) -> Iterator[tuple[str, dict[str, Any]]]:
    lines = (line for _, line in _plain_lines(path))
    reader = csv.reader(lines, delimiter=sign)
    try:
        cells = filter(None, reader)  # no empty lines
        heading = next(cells, [])
        for row in cells:
            place = f"{path}:{reader.line_num}"
            if len(row) > len(heading):
                raise DataError(
                    "has more cells than there are columns; put texts that hold a "
                    f"{sign!r} within quotes",
                    place=place,
                )
            # The cells that there are: rows may be far shorter than the heading.
            yield place, dict(zip(heading, row, strict=False))
    except csv.Error as error:
        raise DataError(
            f"is no table: {error}; save it as CSV with UTF-8",
            place=f"{path}:{reader.line_num}",
        ) from None
