"""Fields of a strict JSON object, each taken with its type; others are refused.

An error reads `<place>: expected ..., found ...; <what to do>`.
"""

import codecs
import collections
import difflib
import math
import reprlib
from collections.abc import Collection
from typing import Any

from unires_jax import documents, limits
from unires_jax.errors import DataError, Kind

INT64 = 2**63 - 1
_ABSENT: Any = object()


def fault(
    place: str, expected: str, value: object, remedy: str, kind: Kind = Kind.UNUSABLE
) -> DataError:
    """The error of a value that is not what it should be."""
    text = f"expected {expected}, found {short(value)}; {remedy}"
    return DataError(text, place=place, kind=kind)


def short(value: object) -> str:
    """The value in a few words, however large it is."""
    return "nothing" if value is _ABSENT else reprlib.repr(value)


def load_json(text: bytes) -> object:
    """The value of UTF-8 JSON. Raises DataError, also for NaN and doubled fields."""
    try:
        return documents.load(
            text.decode(),
            limits.LINE_MEMORY,
            object_pairs_hook=_once,
            parse_constant=_constant,
        )
    except UnicodeDecodeError as error:
        byte = text[error.start]
        raise DataError(
            f"expected UTF-8, found byte {byte:#04x} at column {error.start + 1}; "
            "save the file as UTF-8",
            kind=Kind.ENCODING,
        ) from None
    except DataError:
        raise
    except ValueError as error:
        marked = text.startswith(codecs.BOM_UTF8)
        raise DataError(
            f"expected one JSON object on the line, found a fault: {error}; write each "
            "line with a JSON library",
            kind=Kind.ENCODING if marked else Kind.UNUSABLE,
        ) from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        counts = collections.Counter(name for name, _ in pairs)
        twice = next(name for name, count in counts.items() if count > 1)
        raise DataError(
            f"expected each field once, found {short(twice)} twice in one object; "
            "remove one",
            kind=Kind.ID_TWICE,
        )
    return values


def _constant(name: str) -> Any:
    raise DataError(
        f"expected numbers that JSON knows, found {name}; leave the field out or "
        "write a finite number"
    )


class Fields:
    """A JSON object of known fields at a place such as `masks[3]`."""

    def __init__(self, value: object, place: str, names: Collection[str]) -> None:
        """Raises DataError unless it is an object with no other than these fields."""
        if not isinstance(value, dict):
            raise fault(
                place or "line", "a JSON object", value, "see docs/mres_jsonl.md"
            )
        self._values: dict[str, Any] = value
        self._place = place
        if not value.keys() <= set(names):
            unknown = next(name for name in value if name not in names)
            near = difflib.get_close_matches(unknown[:99], names, n=1, cutoff=0.5)
            raise fault(
                self.place(reprlib.repr(unknown)),
                f"one of the fields {', '.join(names)}",
                unknown,
                f"did you mean {near[0]}?" if near else "remove it",
            )

    def place(self, name: str) -> str:
        """The place of a field, for messages."""
        return f"{self._place}.{name}" if self._place else name

    def get(self, name: str) -> Any:
        """The raw value, or None."""
        return self._values.get(name)

    def fault(
        self, name: str, expected: str, remedy: str, kind: Kind = Kind.UNUSABLE
    ) -> DataError:
        """The error of a field that is absent or not what it should be."""
        value = self._values.get(name, _ABSENT)
        return fault(self.place(name), expected, value, remedy, kind)

    def text(self, name: str, empty: Kind = Kind.UNUSABLE) -> str:
        """Words: not empty, storable as UTF-8, no control characters.

        `empty` is the kind of the fault where there are none.
        """
        value = self._values.get(name)
        if not isinstance(value, str) or not value.strip():
            raise self.fault(name, "a text that is not empty", "write it", empty)
        if not is_plain(value):
            raise self.fault(
                name,
                "plain Unicode",
                "remove control characters and lone surrogates",
                Kind.ENCODING,
            )
        return value

    def integer(
        self, name: str, low: int, high: int = INT64, default: int | None = None
    ) -> int:
        """A whole number within [low, high]; `default` where the field is absent."""
        value = self._values.get(name, default)
        if type(value) is not int or not low <= value <= high:
            most = "2^63 - 1" if high == INT64 else high
            raise self.fault(
                name, f"a whole number from {low} to {most}", "correct the number"
            )
        return value

    def flag(self, name: str) -> bool:
        """True or false; false where the field is absent."""
        value = self._values.get(name, False)
        if type(value) is not bool:
            raise self.fault(name, "true or false", "write one of them")
        return value

    def choice(self, name: str, choices: tuple[str, ...]) -> int:
        """The index of the value among the choices."""
        value = self._values.get(name)
        if not isinstance(value, str) or value not in choices:
            raise self.fault(name, f"one of {', '.join(choices)}", "choose one")
        return choices.index(value)

    def items(self, name: str) -> list[Any]:
        """A list."""
        value = self._values.get(name)
        if not isinstance(value, list):
            raise self.fault(name, "a list", "write [] where there is nothing")
        return value

    def numbers(self, name: str, count: int) -> tuple[float, ...]:
        """A list of `count` finite numbers."""
        value = self._values.get(name)
        if not isinstance(value, list) or len(value) != count or not finite(value):
            raise self.fault(name, f"{count} finite numbers", "correct them")
        return tuple(map(float, value))


def finite(values: list[Any]) -> bool:
    """Whether all are numbers that a float32 can hold."""
    return all(
        type(v) in (int, float) and -3e38 < v < 3e38 and math.isfinite(v)
        for v in values
    )


def is_plain(text: str) -> bool:
    """Whether a text can be stored as UTF-8 and has no control characters."""
    if any(c < " " or "\x7f" <= c < "\xa0" for c in text):
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
