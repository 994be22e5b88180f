"""JSON that others wrote: read within limits, or refused with words.

Python holds a value in up to 75 times the bytes that write it, and each version of it
nests values to another depth; what a text will take, and how deep it goes, is read off
its brackets, commas and quotes before anything is made of it.
"""

import itertools
import json
import os
import re
from collections.abc import Iterator
from typing import Any

from unires_jax import limits
from unires_jax.errors import DataError, Kind, shorten
from unires_jax.files import read_bytes

# Bytes that Python takes for a container, a number and a text, pointers included.
_CONTAINER, _NUMBER, _TEXT = 75, 32, 60

# A bracket as a step in or out, as a signed byte; what is neither that nor a quote.
_STEPS = bytes.maketrans(b"[{]}", b"\1\1\xff\xff")
_SILENT = bytes(set(range(256)) - set(b'[{]}"'))


def load(text: str | bytes, memory: int = limits.JSON_MEMORY, **hooks: Any) -> Any:
    """`json.loads` of what would take up to `memory` bytes; `hooks` are its own.

    Raises DataError where it would take more, and as `require_shallow`; ValueError for
    what is no JSON.
    """
    if (estimate := _estimate(text)) > memory:
        raise DataError(
            f"holds so many values that they would take about {estimate >> 20} MB of "
            f"memory, the limit is {memory >> 20} MB; cut it into several"
        )
    try:
        require_shallow(text)
        return json.loads(text, **hooks)
    except MemoryError:
        raise DataError(
            f"its {len(text)} characters of JSON do not fit into the free memory"
        ) from None


def _estimate(text: str | bytes) -> int:
    """The memory of all values in bytes, or more: text within quotes counts too."""
    objects, lists, numbers, quotes = _counts(text, '{[,"')
    return _CONTAINER * (objects + lists) + _NUMBER * numbers + _TEXT * quotes // 2


def _counts(text: str | bytes, signs: str) -> list[int]:
    """How often each of these signs is in a text."""
    if isinstance(text, str):
        return [text.count(sign) for sign in signs]
    return [text.count(sign.encode()) for sign in signs]


def require_shallow(text: str | bytes) -> None:
    """Raise DataError for JSON of more than limits.JSON_DEPTH values within each other.

    A text may be cut short, or be no JSON: what a parser would take of it counts.
    """
    if sum(_counts(text, "[{")) <= limits.JSON_DEPTH:
        return
    if _depth(_utf8(text)) > limits.JSON_DEPTH:
        raise DataError(
            "nested too deeply: its lists and objects lie more than "
            f"{limits.JSON_DEPTH} within each other; is it the right file?"
        )


def _depth(text: bytes) -> int:
    """How many lists and objects lie within each other at most, outside of texts."""
    if b"\\" in text:
        text = text.replace(b"\\\\", b"").replace(b'\\"', b"")
    steps = text.translate(_STEPS, _SILENT).replace(b'""', b"")
    steps = re.sub(rb'"[^"]*"?', b"", steps)
    return max(itertools.accumulate(memoryview(steps).cast("b")), default=0)


def _utf8(text: str | bytes) -> bytes:
    """The text in UTF-8, where each bracket and quote is a byte of its own."""
    if isinstance(text, bytes):
        encoding = json.detect_encoding(text)
        if encoding.startswith("utf-8"):
            return text
        text = text.decode(encoding, "surrogatepass")
    return text.encode("utf-8", "surrogatepass")


def read(place: str | os.PathLike[str], limit: int = limits.SMALL_JSON_BYTES) -> Any:
    """The content of a JSON file (UTF-8), here or in a bucket.

    Raises DataError naming the file and the reason.
    """
    try:
        return load(read_bytes(place, limit), min(16 * limit, limits.JSON_MEMORY))
    except DataError as error:
        raise error.at(str(place)) from None
    except FileNotFoundError:
        raise DataError(
            "no such file", place=str(place), kind=Kind.FILE_MISSING
        ) from None
    except OSError as error:
        raise DataError(
            f"cannot be read: {error.strerror or error}", place=str(place)
        ) from None
    except ValueError as error:  # bad syntax, bad UTF-8, or a number of 4,300 digits
        coded = isinstance(error, UnicodeError)
        raise DataError(
            f"is no JSON: {shorten(str(error))}; fetch the file again",
            place=str(place),
            kind=Kind.ENCODING if coded else Kind.UNUSABLE,
        ) from None


def objects(value: Any) -> Iterator[dict[str, Any]]:
    """All objects within a value of JSON, itself too, however deep they lie."""
    values = [value]
    while values:
        inner = values.pop()
        if isinstance(inner, dict):
            yield inner
            values += inner.values()
        elif isinstance(inner, list):
            values += inner


def read_object(
    place: str | os.PathLike[str], limit: int = limits.SMALL_JSON_BYTES
) -> dict[str, Any]:
    """The object in a JSON file. Raises DataError as `read`, and for another value."""
    value = read(place, limit)
    if not isinstance(value, dict):
        raise DataError(
            f"holds a {type(value).__name__}, expected an object of named fields",
            place=str(place),
        )
    return value
