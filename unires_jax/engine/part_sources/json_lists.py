"""The entries of a JSON file's lists, one at a time: large files, little memory.

`{"images": [...], "annotations": [...]}` is walked by its brackets; an entry becomes
values only when it is asked for. Source: ours.
"""

import contextlib
import functools
import mmap
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from unires_jax import documents, limits, texts
from unires_jax.errors import DataError, Kind, shorten

# Whatever stands between brackets and quotes needs no look. No step goes back.
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[{}\[\]]', re.DOTALL)
_STRING = re.compile(rb'\s*("[^"\\]*+(?:\\.[^"\\]*+)*+")\s*:\s*', re.DOTALL)
_SCALAR = re.compile(rb"[^,\]}]*+")
_SPACE = re.compile(rb"\s*+")
_BOM = b"\xef\xbb\xbf"
_PIECE = 1 << 20


CONVERSION = "conversion"  # folder in an output that tells how it was made


def json_files(folder: Path) -> list[Path]:
    """The JSON files below a folder, but those that an output of ours has there."""
    files = sorted(folder.rglob("*.json"))
    return [f for f in files if CONVERSION not in f.relative_to(folder).parts]


class Entry(NamedTuple):
    """Where an entry of a list stands, in bytes of the plain text."""

    start: int
    end: int


class JsonLists:
    """The lists of a JSON object in a file, or the one list that it is (named "")."""

    def __init__(self, path: Path, text: mmap.mmap | bytes) -> None:
        self.path, self._text = path, text

    @classmethod
    @contextlib.contextmanager
    def open(cls, path: Path) -> Iterator["JsonLists"]:
        """The lists of a file, packed with gzip or not, in any encoding of Unicode.

        Raises DataError naming it where it cannot be read.
        """
        with contextlib.ExitStack() as held:
            try:
                plain = held.enter_context(_plain(path))
                size = plain.seek(0, 2)
                text: mmap.mmap | bytes = b""
                if size:
                    text = held.enter_context(
                        mmap.mmap(plain.fileno(), 0, access=mmap.ACCESS_READ)
                    )
            except FileNotFoundError:
                raise DataError(
                    "no such file", place=str(path), kind=Kind.FILE_MISSING
                ) from None
            except OSError as error:
                raise DataError(
                    f"cannot be read: {error.strerror or error}", place=str(path)
                ) from None
            except DataError as error:
                raise error.at(str(path)) from None
            yield cls(path, text)

    @property
    def size(self) -> int:
        """Bytes of the plain text."""
        return len(self._text)

    def names(self) -> list[str]:
        """The names of the object's fields; [""] where the file is a list."""
        return [name for name, _ in self._fields]

    def entries(self, *names: str) -> Iterator[tuple[str, Entry]]:
        """The entries of the lists of these names, in the order of the file."""
        for name, start in self._fields:
            if name in names and self._text[start : start + 1] == b"[":
                yield from ((name, entry) for entry in self._items(start))

    def load(self, entry: Entry) -> Any:
        """The value of an entry. Raises DataError for a fault or too large a one."""
        size = entry.end - entry.start
        try:
            if size > limits.LINE_BYTES:
                raise DataError(
                    f"an entry of {size} bytes, the limit is {limits.LINE_BYTES}"
                )
            text = self._text[entry.start : entry.end]
            return documents.load(text.decode(), limits.LINE_MEMORY)
        except DataError as error:
            raise error.at(self._place(entry.start)) from None
        except ValueError as error:  # of JSON, of UTF-8
            raise self._fault(entry.start, shorten(str(error))) from None

    def value(self, name: str) -> Any:
        """The value of a field, None where there is none. Raises as `load`."""
        for field, start in self._fields:
            if field == name:
                return self.load(Entry(start, self._end(start)))
        return None

    @functools.cached_property
    def _fields(self) -> list[tuple[str, int]]:
        """The name of each field, and where its value starts."""
        return list(self._walk())

    def _walk(self) -> Iterator[tuple[str, int]]:
        text, at = self._text, 3 if self._text[:3] == _BOM else 0
        at = self._skip(at)
        if text[at : at + 1] == b"[":
            yield "", at
            return
        if text[at : at + 1] != b"{":
            raise self._fault(at, "expected { or [")
        at = self._skip(at + 1)
        while text[at : at + 1] != b"}":
            key = _STRING.match(text, at)
            if key is None:
                raise self._fault(at, "expected a field's name")
            yield str(self.load(Entry(*key.span(1)))), key.end()
            at = self._separator(self._end(key.end()), b"}")

    def _items(self, start: int) -> Iterator[Entry]:
        """The entries of the list that starts there."""
        at = self._skip(start + 1)
        while self._text[at : at + 1] != b"]":
            end = self._end(at)
            if end == at:
                raise self._fault(at, "expected a value")
            yield Entry(at, end)
            at = self._separator(end, b"]")

    def _separator(self, at: int, close: bytes) -> int:
        """Where the next entry or the closing bracket stands."""
        at = self._skip(at)
        if self._text[at : at + 1] == b",":
            at = self._skip(at + 1)
            if self._text[at : at + 1] != close:
                return at
        elif self._text[at : at + 1] == close:
            return at
        raise self._fault(at, f"expected , or {close.decode()}")

    def _end(self, start: int) -> int:
        """Where the value that starts there ends."""
        depth = 0
        if self._text[start : start + 1] not in (b"{", b"[", b'"'):
            scalar = _SCALAR.match(self._text, start)
            return scalar.end() if scalar else start
        for token in _TOKEN.finditer(self._text, start):
            sign = token[0]
            depth += sign in (b"{", b"[")
            depth -= sign in (b"}", b"]")
            if depth <= 0:
                return token.end()
        raise self._fault(len(self._text), "ends within a value")

    def _skip(self, at: int) -> int:
        space = _SPACE.match(self._text, at)
        return space.end() if space else at

    def _place(self, at: int) -> str:
        return f"{self.path}: byte {at}"

    def _fault(self, at: int, what: str) -> DataError:
        text = f"is no JSON: {what}; fetch or export the file again"
        return DataError(text, place=self._place(at))


@contextlib.contextmanager
def _plain(path: Path) -> Iterator[BinaryIO]:
    """The file, or a copy of it that is plain UTF-8, gone with the reading."""
    if texts.is_plain(path):
        with path.open("rb") as file:
            yield file
        return
    most = min(limits.JSON_BYTES, limits.GZIP_RATIO * path.stat().st_size + _PIECE)
    with tempfile.TemporaryFile() as copy, texts.open_lines(path) as lines:
        try:
            while piece := lines.read(_PIECE):
                copy.write(piece)
                if copy.tell() > most:
                    raise DataError(f"unpacks to more than {most} bytes, refused")
        except (EOFError, UnicodeError) as error:
            raise DataError(f"damaged: {error}; fetch it again") from None
        copy.flush()
        yield copy
