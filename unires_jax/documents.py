"""JSON that others wrote: read within limits, or refused with words.

Python holds a value in up to 75 times the bytes that write it; what a text will take is
estimated from its brackets, commas and quotes before anything is made of it.
"""

import json
import os
from collections.abc import Iterator
from typing import Any

from unires_jax import limits
from unires_jax.errors import DataError, Kind, shorten
from unires_jax.files import read_bytes

# Bytes that Python takes for a container, a number and a text, pointers included.
_CONTAINER, _NUMBER, _TEXT = 75, 32, 60


def load(text: str | bytes, memory: int = limits.JSON_MEMORY, **hooks: Any) -> Any:
    """`json.loads` of what would take up to `memory` bytes; `hooks` are its own.

    Raises DataError where it would take more or is nested too deeply, ValueError for
    what is no JSON.
    """
    if (estimate := _estimate(text)) > memory:
        raise DataError(
            f"holds so many values that they would take about {estimate >> 20} MB of "
            f"memory, the limit is {memory >> 20} MB; cut it into several"
        )
    try:
        return json.loads(text, **hooks)
    except RecursionError:
        raise DataError("nested too deeply for JSON of this kind") from None
    except MemoryError:
        raise DataError(
            f"its {len(text)} characters of JSON do not fit into the free memory"
        ) from None


def _estimate(text: str | bytes) -> int:
    """The memory of all values in bytes, or more: text within quotes counts too."""
    signs = ("{", "[", ",", '"')
    if isinstance(text, str):
        objects, lists, numbers, quotes = map(text.count, signs)
    else:
        objects, lists, numbers, quotes = (text.count(sign.encode()) for sign in signs)
    return _CONTAINER * (objects + lists) + _NUMBER * numbers + _TEXT * quotes // 2


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
