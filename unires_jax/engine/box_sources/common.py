"""What every source of boxes makes of an entry: a picture that nobody looked at yet."""

import codecs
import dataclasses
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import ClassVar, Protocol, runtime_checkable

from unires_jax import limits
from unires_jax.engine.markers import file_hash
from unires_jax.engine.part_sources.names import clean_category
from unires_jax.engine.record import Picture, Region
from unires_jax.errors import DataError, Kind
from unires_jax.prepare.mres.fields import is_plain
from unires_jax.prepare.notes import Notes
from unires_jax.texts import open_foreign_lines

LETTERS = 200  # of a category's name; ours
BAD_BOX = (
    "passed over: a box that is not four finite numbers and a category of at most "
    f"{LETTERS} letters, without control characters"
)
Box = tuple[float, float, float, float]  # x0, y0, x1, y1 in pixels, as it is given


@runtime_checkable
class BoxSource(Protocol):
    """Where boxes come from."""

    form: ClassVar[str]
    files: dict[str, str]  # SHA-256 of each
    count: int  # entries

    def entries(self) -> Iterator[Picture | DataError]:
        """Each entry in order: a picture, or why there is none.

        Its file is only named, and its size what the source states (0: nothing).
        """


def hashes(paths: Iterable[Path]) -> dict[str, str]:
    """SHA-256 of files by their names. Raises DataError for two of one name."""
    by_name: dict[str, str] = {}
    for path in paths:
        if path.name in by_name:
            raise DataError(
                "another file of the boxes has this name; rename one",
                place=str(path),
                kind=Kind.ID_TWICE,
            )
        by_name[path.name] = file_hash(path)
    return by_name


def lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Numbers and bytes of the lines that are not empty. Raises DataError."""
    try:
        with open_foreign_lines(path) as file:
            number = 0
            while text := file.readline(limits.LINE_BYTES + 1):
                number += 1
                if len(text) > limits.LINE_BYTES:
                    raise DataError(
                        f"a line of more than {limits.LINE_BYTES} bytes",
                        place=f"{path}:{number}",
                    )
                text = text.removeprefix(codecs.BOM_UTF8) if number == 1 else text
                if text.strip():
                    yield number, text
    except DataError as error:
        raise error.at(str(path)) from None
    except (OSError, EOFError, zlib.error, UnicodeError) as error:
        raise DataError(
            f"cannot be read: {error}; fetch or pack the file again", place=str(path)
        ) from None


def is_category(name: str) -> bool:
    """Whether a name may be a category's: it is written with every box of it."""
    return bool(name.strip()) and len(name) <= LETTERS and is_plain(name)


def region(index: int, box: Box, category: str, crowd: bool, src: str) -> Region:
    """The object of a box; `index` is its place in the entry."""
    return Region(
        id=f"o{index}",
        level="object",
        category=clean_category(category),
        category_raw=category,
        box=box,
        crowd=crowd,
        src={"box": src},
    )


def with_regions(picture: Picture, regions: Iterable[Region], notes: Notes) -> Picture:
    """The picture with the first limits.MASKS of its regions."""
    taken: list[Region] = []
    for one in regions:
        if len(taken) == limits.MASKS:
            text = f"passed over: boxes beyond {limits.MASKS} of one picture"
            notes.add(text, picture.file)
            break
        taken.append(one)
    return dataclasses.replace(picture, regions=tuple(taken))
