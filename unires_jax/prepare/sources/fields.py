"""Values of foreign JSON-like entries: what is wrong is named, never guessed."""

import math
import reprlib
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any, Generic, TypeVar

from unires_jax import documents, limits, texts
from unires_jax.errors import DataError, Kind, shorten
from unires_jax.files import read_bytes

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)
_REQUIRED: Any = object()
_NAMES = {
    int: "an integer of 64 bits",
    float: "a finite number",
    str: "a text",
    bool: "true or false",
    list: "a list",
    dict: "an object of named fields",
}


def read_json(path: str | Path) -> Any:
    """The content of a JSON file, packed with gzip or not, in any Unicode encoding.

    Raises DataError naming the file and the reason.
    """
    place = str(path)
    try:
        plain = texts.unpacked(read_bytes(path, limits.JSON_BYTES))
        return documents.load(plain)
    except DataError as error:
        raise error.at(place) from None
    except FileNotFoundError:
        raise DataError("no such file", place=place, kind=Kind.FILE_MISSING) from None
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", place=place) from None
    except ValueError as error:  # bad syntax, bad UTF-8, or a number of 4,300 digits
        is_coded = isinstance(error, UnicodeError)
        raise DataError(
            f"is no JSON: {shorten(str(error))}; fetch the file again",
            place=place,
            kind=Kind.ENCODING if is_coded else Kind.UNUSABLE,
        ) from None


def parse_json(text: str, place: str) -> Any:
    """The value of JSON held in a field. Raises DataError naming the field."""
    try:
        return documents.load(text, limits.LINE_MEMORY)
    except DataError as error:
        raise error.at(place) from None
    except ValueError as error:
        raise DataError(f"is no JSON: {shorten(str(error))}", place=place) from None


def get(entry: Any, name: str, kind: type[T], place: str, default: T = _REQUIRED) -> T:
    """Field `name` of an entry as `kind` (int, float, str, bool, list or dict).

    Integers fit 64 bits, floats are finite (integers pass), texts can be written as
    UTF-8. Raises DataError naming `place`, the field and what was expected, also where
    the field is missing and no default is given.
    """
    if not isinstance(entry, dict):
        raise DataError(f"is {short(entry)}, expected {_NAMES[dict]}", place=place)
    value = entry.get(name, _REQUIRED)
    if value is _REQUIRED or (value is None and default is not _REQUIRED):
        if default is _REQUIRED:
            names = shorten(", ".join(map(str, entry)))
            raise DataError(f"has no field {name!r}; it has: {names}", place=place)
        return default
    return check(value, kind, place, name)


def check(value: Any, kind: type[T], place: str, name: str) -> T:
    """The value of field `name` as `kind`, under the rules of `get`."""
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value) if abs(value) < 2**63 else math.inf
    fits = type(value) is kind
    if fits and kind is int:
        fits = -(2**63) <= value < 2**63
    elif fits and kind is float:
        fits = math.isfinite(value)
    elif fits and kind is str:
        fits = _is_utf8(value)
    if not fits:
        raise DataError(
            f"{name} is {short(value)}, expected {_NAMES[kind]}", place=place
        )
    return value


def is_key(value: Any) -> bool:
    """Whether a value is a number that a dict takes as a key in no time.

    Chosen integers beyond 64 bits share one hash: a dict of them takes quadratic time.
    """
    return type(value) is int and abs(value) < limits.INTEGER


def numbers(value: Any, count: int, place: str, name: str) -> tuple[float, ...]:
    """A list of exactly `count` finite numbers."""
    items = check(value, list, place, name)
    if len(items) != count:
        raise DataError(
            f"{name} has {len(items)} numbers, expected {count}", place=place
        )
    return tuple(check(v, float, place, name) for v in items)


def short(value: Any) -> str:
    """A value in an error message: short, whatever it is."""
    if isinstance(value, (list, dict, tuple)):
        return f"a {type(value).__name__} of {len(value)}"
    if isinstance(value, int) and abs(value) >= 2**64:
        return f"an integer of {value.bit_length()} bits"
    return reprlib.repr(value)


class Remembered(Generic[K, T]):
    """A reading that is done once for each key, its DataError included."""

    def __init__(self, read: Callable[[K], T]) -> None:
        self._read, self._results = read, dict[K, T | DataError]()

    def __call__(self, key: K) -> T:
        """What the reading of a key gave. Raises the DataError that it raised."""
        if key not in self._results:
            try:
                self._results[key] = self._read(key)
            except DataError as error:
                self._results[key] = error
        result = self._results[key]
        if isinstance(result, DataError):
            raise DataError(result.text, place=result.place, kind=result.kind)
        return result


def _is_utf8(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
