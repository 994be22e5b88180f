"""What a form is: a way in which part annotations are stored."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple

from unires_jax.engine.part_sources.regions import AnnotatedPicture
from unires_jax.errors import DataError
from unires_jax.prepare.rejects import Rejects


class WrongForm(DataError):
    """An input that is of no such form."""


class Opened(NamedTuple):
    """A source that is being read."""

    total: int  # pictures, or more
    pictures: Iterator[AnnotatedPicture]


class Form(NamedTuple):
    """A row of `part_sources.command.FORMS` or `importers.command.FORMS`."""

    name: str
    title: str  # of the data set or tool
    takes: str  # what the input is, in words
    licence: str  # of the annotations
    every: bool  # whether it marks every thing of its categories, by default
    # Raises WrongForm where the input is of another form.
    open: Callable[[Path, Rejects], AbstractContextManager[Opened]]
    upright: bool = False  # whether masks belong to the picture as EXIF turns it
