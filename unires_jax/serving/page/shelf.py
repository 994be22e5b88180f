"""The examples that come with the page: pictures, and sentences about them."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from unires_jax.errors import DataError

EXAMPLES = Path(__file__).parent / "examples"


class Example(NamedTuple):
    """A picture that comes with the page, and sentences about it."""

    path: Path
    object: tuple[str, ...]
    part: tuple[str, ...]

    def text(self, parts: Any) -> str:
        """Its sentences about parts, or about whole objects, one a line."""
        return "\n".join(self.part if parts is True else self.object)


class Shelf(tuple[Example, ...]):
    """All examples, in order. The page opens with the first and its parts."""

    def take(self, number: Any) -> Example:
        """The example of this number. Raises DataError if there is none."""
        if type(number) is not int or not 0 <= number < len(self):
            raise DataError("There is no such example.")
        return self[number]

    def says(self, text: Any) -> bool:
        """Whether a text is an example's, as it stands."""
        return text in {x.text(parts) for x in self for parts in (False, True)}


def read_shelf(folder: Path = EXAMPLES) -> Shelf:
    """The examples of a folder (docs/examples.py writes it)."""
    listed = json.loads((folder / "examples.json").read_text())
    return Shelf(
        Example(folder / x["image"], tuple(x["object"]), tuple(x["part"]))
        for x in listed
    )
