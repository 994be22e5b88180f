"""What is told of raw data beside its faults: passed over, left out, taken otherwise.

A fault counts against the share of entries that may be lost; a note does not.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from unires_jax.errors import printable

NAMED = 5  # places that a note keeps; ours


@dataclasses.dataclass
class Note:
    """One thing to tell, how often, and where at first."""

    text: str
    count: int = 0
    places: list[str] = dataclasses.field(default_factory=list)

    def __str__(self) -> str:
        if self.count == len(self.places) == 1:
            return f"{self.places[0]}: {self.text}"
        where = f": {', '.join(self.places)}" if self.places else ""
        more = ", ..." if self.count > len(self.places) > 0 else ""
        times = f" ({self.count:,} times)" if self.count > 1 else ""
        return f"{self.text}{times}{where}{more}"


class Notes:
    """Notes by their text, in the order in which they came up."""

    def __init__(self) -> None:
        self._notes: dict[str, Note] = {}

    def __iter__(self) -> Iterator[Note]:
        return iter(self._notes.values())

    def add(self, text: str, place: str = "", count: int = 1) -> None:
        """Tell once more what is known by `text`; `place` is a file or a record."""
        note = self._notes.setdefault(text, Note(text))
        note.count += count
        if place and len(note.places) < NAMED and place not in note.places:
            note.places.append(place)

    def merge(self, notes: Iterable[Mapping[str, Any]]) -> None:
        """Add what `to_json` gave elsewhere."""
        for entry in notes:
            places = [str(place) for place in entry["places"]]
            self.add(str(entry["text"]), "", int(entry["count"]))
            kept = self._notes[str(entry["text"])].places
            kept.extend(places[: NAMED - len(kept)])

    def to_json(self) -> list[dict[str, Any]]:
        """As plain containers."""
        return [dataclasses.asdict(note) for note in self]

    def print(self) -> None:
        """Tell the user, a line each."""
        for note in self:
            print(f"note: {printable(str(note))}")
