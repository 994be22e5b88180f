"""A large JSON object whose lists are read an element at a time: COCO's form.

Objects365's annotations take more text than memory should hold at once.
"""

import codecs
import io
import json
import re
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from unires_jax import documents, limits
from unires_jax.errors import DataError, Kind, shorten
from unires_jax.texts import open_foreign_lines

_CHUNK = 1 << 20  # characters
ELEMENT = 1 << 24  # characters of one value; the most ragged outline of COCO has 10^5
_SPACE = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()


def members(path: Path, names: Collection[str]) -> Iterator[tuple[str, Any]]:
    """The elements of the lists of these names, with the name, in the file's order.

    The file may be packed with gzip and in any Unicode encoding. What has another name
    is passed over. Raises DataError naming file and character for what is no JSON
    object, for a list that is none, and for a value of more than ELEMENT characters.
    """
    try:
        with open_foreign_lines(path) as file:
            yield from _members(_Text(file), names)
    except DataError as error:
        raise error.at(str(path)) from None
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(
            f"cannot be read: {error}; fetch the file again", place=str(path)
        ) from None
    except UnicodeError as error:
        raise DataError(
            f"is no UTF-8 ({error}); save it as UTF-8",
            place=str(path),
            kind=Kind.ENCODING,
        ) from None


def _members(text: "_Text", names: Collection[str]) -> Iterator[tuple[str, Any]]:
    text.take("{")
    if text.has("}"):
        return
    while True:
        name = text.value()
        text.take(":")
        if not isinstance(name, str):
            raise text.fault("a field's name")
        if text.has("["):
            wanted = name in names
            for element in _elements(text):
                if wanted:
                    yield name, element
        elif name in names:
            raise text.fault(f"a list of {name}")
        else:
            text.value()
        if text.has("}"):
            return
        text.take(",")


def _elements(text: "_Text") -> Iterator[Any]:
    if text.has("]"):
        return
    while True:
        yield text.value()
        if text.has("]"):
            return
        text.take(",")


class _Text:
    """A window over a file's text, which moves on value by value."""

    def __init__(self, file: io.BufferedIOBase) -> None:
        self._file = codecs.getreader("utf-8-sig")(file)
        self._window, self._at, self._before = "", 0, 0
        self._ended = False

    def fault(self, expected: str) -> DataError:
        """The error of what stands here."""
        here = self._window[self._at : self._at + 20] or "the end"
        return DataError(
            f"expected {expected} at character {self._before + self._at}, found "
            f"{shorten(here)!r}; is it COCO's JSON, and whole? Fetch it again"
        )

    def has(self, sign: str) -> bool:
        """Whether this sign is next; it is passed over then."""
        self._skip_space()
        there = self._window.startswith(sign, self._at)
        self._at += len(sign) * there
        return there

    def take(self, sign: str) -> None:
        """Pass over a sign that must be next."""
        if not self.has(sign):
            raise self.fault(repr(sign))

    def value(self) -> Any:
        """The JSON value that is next."""
        self._skip_space()
        more = _CHUNK
        while True:
            try:
                value, end = _DECODER.raw_decode(self._window, self._at)
            except RecursionError:
                raise self._too_deep() from None
            except ValueError:  # no JSON, or not all of it is there
                self._require_shallow(len(self._window))
                if self._ended:
                    raise self.fault("a value of JSON") from None
            else:  # of a number, the rest may be missing
                if end < len(self._window) or self._ended:
                    self._require_shallow(end)
                    self._at = end
                    return value
            if len(self._window) - self._at > ELEMENT:
                raise self.fault(f"a value of at most {ELEMENT} characters")
            self._read(more)
            more *= 2  # a long value is not begun again for every chunk

    def _require_shallow(self, end: int) -> None:
        try:
            documents.require_shallow(self._window[self._at : end])
        except DataError:
            raise self._too_deep() from None

    def _too_deep(self) -> DataError:
        return self.fault(f"at most {limits.JSON_DEPTH} values within each other")

    def _skip_space(self) -> None:
        while True:
            space = _SPACE.match(self._window, self._at)
            self._at = space.end() if space else self._at
            if self._at < len(self._window) or self._ended:
                return
            self._read(_CHUNK)

    def _read(self, size: int) -> None:
        """More of the file; what is behind is let go."""
        more = self._file.read(size)
        self._ended = not more
        self._before += self._at
        self._window, self._at = self._window[self._at :] + more, 0
