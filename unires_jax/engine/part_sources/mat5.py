"""MATLAB's files of version 5: structs, cells, texts and numbers, and nothing else.

Source of the format: "MAT-File Format", The MathWorks. Written here because a damaged
file ends scipy's reader, and with it the process, with a segmentation fault: every
length is held against what is there before it is used, and no object is made.
"""

import math
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from unires_jax.errors import DataError, shorten

# Types of an element's data, and classes of an array.
_NUMBERS = {
    **{1: "<i1", 2: "<u1", 3: "<i2", 4: "<u2", 5: "<i4", 6: "<u4", 7: "<f4"},
    **{9: "<f8", 12: "<i8", 13: "<u8"},
}
_TEXTS = {
    **{1: "latin-1", 2: "latin-1", 4: "utf-16-le"},
    **{16: "utf-8", 17: "utf-16-le", 18: "utf-32-le"},
}
_MATRIX, _COMPRESSED = 14, 15
_CELL, _STRUCT, _CHAR, _NUMERIC = 1, 2, 4, range(6, 16)
_HEADER = 128  # bytes before the first element
_DEPTH, _COUNT = 16, 1 << 16  # arrays within one another, and in a file; ours


class _Element(NamedTuple):
    kind: int
    data: memoryview


def read(content: bytes, most: int) -> dict[str, Any]:
    """The variables of a file, by name.

    A text is a str, an array of numbers a numpy array as it is stored, a cell array a
    list of values and an array of structs a list of dicts, both in MATLAB's order, also
    where there is only one. Raises DataError for another file, a damaged one, what is
    none of these, a text of several rows, and where it unpacks to more than `most`
    bytes.
    """
    if content[:8] == b"\x89HDF\r\n\x1a\n" or content.startswith(b"MATLAB 7.3"):
        raise DataError("is of MATLAB 7.3; save it with -v7")
    if len(content) < _HEADER or content[124:128] != b"\x00\x01IM":
        raise DataError("is no MATLAB file of version 5 in this byte order")
    variables: dict[str, Any] = {}
    arrays, left = _Arrays(), most
    for element in _elements(memoryview(content)[_HEADER:]):
        inner = element
        if element.kind == _COMPRESSED:
            data = _unpacked(element.data, left)
            left -= len(data)
            inner = next(_elements(memoryview(data)), element)
        if inner.kind != _MATRIX:
            raise _damaged(f"an element of type {inner.kind}, expected an array")
        name, value = arrays.array(inner.data, 0)
        variables[name] = value
    return variables


def _unpacked(data: memoryview, most: int) -> bytes:
    unpack = zlib.decompressobj()
    try:
        unpacked = unpack.decompress(data, max(1, most))
    except zlib.error as error:
        raise _damaged(str(error)) from None
    if unpack.unconsumed_tail or len(unpacked) > most:
        raise DataError(f"unpacks to more than {most} bytes, refused")
    return unpacked


def _elements(data: memoryview) -> Iterator[_Element]:
    """The elements that lie one after the other."""
    at = 0
    while at < len(data):
        if len(data) - at < 8:
            raise _damaged("it ends within an element")
        kind, size = np.frombuffer(data, "<u4", 2, at).tolist()
        if kind >> 16:  # at most four bytes stand in the tag itself
            kind, size, start, after = kind & 0xFFFF, kind >> 16, at + 4, at + 8
        else:
            start = at + 8
            after = start + size + (0 if kind == _COMPRESSED else -size % 8)
        if start + size > min(after, len(data)):
            raise _damaged("it ends within an element")
        yield _Element(kind, data[start : start + size])
        at = after


class _Arrays:
    """The arrays of a file, counted: of eight bytes a dict of hundreds may be made."""

    def __init__(self) -> None:
        self._left = _COUNT

    def array(self, data: memoryview, depth: int) -> tuple[str, Any]:
        """The name and the value of an array, "" and no number for an empty element."""
        if not len(data):
            return "", np.zeros((0, 0))
        if depth > _DEPTH:
            raise _damaged(f"arrays nested more than {_DEPTH} deep")
        parts = _elements(data)
        flags = _numbers(parts, 6)
        if len(flags) != 2:
            raise _damaged("an array without its kind")
        kind, dims = int(flags[0]) & 0xFF, _numbers(parts, 5).tolist()
        if len(dims) < 2 or min(dims) < 0:
            raise _damaged(f"an array of size {shorten(str(dims), 60)}")
        count = math.prod(dims)
        name = _text(_next(parts))
        if kind in _NUMERIC:
            return name, _numeric(_next(parts), dims, count)
        if kind == _CHAR and count != dims[-1]:
            raise DataError("holds a text of several rows, expected one")
        if kind == _CHAR:
            return name, _text(_next(parts, _Element(1, memoryview(b""))))
        if kind == _CELL:
            return name, [
                self.array(x, depth + 1)[1] for x in self._arrays(parts, count)
            ]
        if kind == _STRUCT:
            return name, self._structs(parts, count, depth)
        raise DataError(
            f"holds an array of class {kind}, expected numbers, text or structs"
        )

    def _structs(
        self, parts: Iterator[_Element], count: int, depth: int
    ) -> list[dict[str, Any]]:
        """The structs of an array; their fields lie one struct after the other."""
        lengths, packed = _numbers(parts, 5).tolist(), bytes(_next(parts).data)
        length = lengths[0] if len(lengths) == 1 else 0
        if length < 1 or len(packed) % length or count > _COUNT:
            raise _damaged(f"{count} structs with names of {shorten(str(lengths), 60)}")
        if not packed:
            return []  # without a field
        names = [
            packed[i : i + length].partition(b"\0")[0].decode("latin-1")
            for i in range(0, len(packed), length)
        ]
        values = (
            self.array(x, depth + 1)[1] for x in self._arrays(parts, count * len(names))
        )
        return [{name: next(values) for name in names} for _ in range(count)]

    def _arrays(self, parts: Iterator[_Element], count: int) -> Iterator[memoryview]:
        """The data of the next so many elements, arrays all."""
        self._left -= count
        if self._left < 0:
            raise DataError(f"holds more than {_COUNT} arrays, refused")
        for _ in range(count):
            element = _next(parts)
            if element.kind != _MATRIX:
                raise _damaged(f"an element of type {element.kind}, expected an array")
            yield element.data


def _numeric(element: _Element, dims: list[int], count: int) -> np.ndarray:
    values = _values(element)
    if len(values) != count:
        raise _damaged(f"{len(values)} numbers for a size of {dims[:8]}")
    try:
        return values.reshape(dims, order="F")
    except ValueError:  # of more sides than numpy has
        raise _damaged(f"an array of {len(dims)} sides") from None


def _values(element: _Element) -> np.ndarray:
    dtype = np.dtype(_NUMBERS.get(element.kind, "V"))
    if not dtype.itemsize or len(element.data) % dtype.itemsize:
        raise _damaged(f"{len(element.data)} bytes of type {element.kind}")
    return np.frombuffer(element.data, dtype)


def _numbers(parts: Iterator[_Element], kind: int) -> np.ndarray:
    """The next element, numbers of this type."""
    element = _next(parts)
    if element.kind != kind:
        raise _damaged(f"an element of type {element.kind}, expected {kind}")
    return _values(element)


def _text(element: _Element) -> str:
    encoding = _TEXTS.get(element.kind)
    if encoding is None:
        raise _damaged(f"a text of type {element.kind}")
    try:
        return str(element.data, encoding)
    except UnicodeDecodeError:
        raise _damaged("a text that cannot be decoded") from None


def _next(parts: Iterator[_Element], otherwise: _Element | None = None) -> _Element:
    element = next(parts, otherwise)
    if element is None:
        raise _damaged("an array without its end")
    return element


def _damaged(reason: str) -> DataError:
    return DataError(f"damaged: {reason}; fetch it again")
