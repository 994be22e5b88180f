"""A unit of work that is no conversion: halves of the even numbers of a range."""

import dataclasses
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from unires_jax.errors import DataError
from unires_jax.prepare.shards import Refusal


@dataclasses.dataclass(frozen=True)
class Halving:
    """Writes the halves to one file and their squares to another; odd ones cannot."""

    start: int
    end: int
    noun: ClassVar[str] = "numbers"
    suffixes: ClassVar[tuple[str, ...]] = (".halves", ".squares")

    @property
    def name(self) -> str:
        """The range."""
        return f"{self.start}-{self.end}"

    @property
    def entries(self) -> int:
        """How many numbers."""
        return self.end - self.start

    @property
    def identity(self) -> dict[str, Any]:
        """The range."""
        return {"range": [self.start, self.end]}

    def write(
        self, paths: Mapping[str, Path], figures: dict[str, Any]
    ) -> Generator[Refusal | None, None, None]:
        """Write both files; the marker gets the sum."""
        figures["sum"] = 0
        with paths[".halves"].open("w") as halves, paths[".squares"].open("w") as file:
            for number in range(self.start, self.end):
                if number % 2:
                    yield Refusal(str(number), DataError("is odd", place=str(number)))
                    continue
                print(number // 2, file=halves)
                print(number**2, file=file)
                figures["sum"] += number
                yield None
