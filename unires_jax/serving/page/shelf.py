"""The examples that come with the page: pictures, and sentences about them."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from unires_jax.errors import DataError
from unires_jax.serving.page.desk import digest_of

EXAMPLES = Path(__file__).parent / "examples"


class Credit(NamedTuple):
    """Whose a photograph is, and by which licence it may come with the page."""

    source: str  # its address, which names the photographer
    licence: str
    licence_source: str  # the licence's address
    changes: str  # what was done to it


class Example(NamedTuple):
    """A picture that comes with the page, and sentences about it."""

    path: Path
    object: tuple[str, ...]
    part: tuple[str, ...]
    credit: Credit | None = None  # of a photograph; None: drawn here

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

    def credit_of(self, digest: bytes) -> Credit | None:
        """Whose the picture of this `digest_of` is, if it is one of the photographs."""
        photographs = (x for x in self if x.credit)
        return next(
            (x.credit for x in photographs if digest_of(x.path.read_bytes()) == digest),
            None,
        )

    def says(self, text: Any) -> bool:
        """Whether a text is an example's, as it stands."""
        return text in {x.text(parts) for x in self for parts in (False, True)}


def read_shelf(folder: Path = EXAMPLES) -> Shelf:
    """The examples of a folder (docs/examples.py writes it)."""
    listed = json.loads((folder / "examples.json").read_text())
    return Shelf(
        Example(
            folder / x["image"],
            tuple(x["object"]),
            tuple(x["part"]),
            Credit(**x["credit"]) if "credit" in x else None,
        )
        for x in listed
    )
