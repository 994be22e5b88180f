"""What a form is: a way in which annotations are stored."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple

from unires_jax import files, limits
from unires_jax.engine.part_sources.regions import AnnotatedPicture
from unires_jax.errors import DataError


class WrongForm(DataError):
    """An input that is of no such form."""


class Opened(NamedTuple):
    """A source that is being read."""

    total: int  # pictures, or more
    pictures: Iterator[AnnotatedPicture]


class Asked(NamedTuple):
    """What a user says of a source of tables or folders, beside its place."""

    pictures: Path  # the folder of those that are named
    split: str = ""  # the one that is wanted; "": the only one
    columns: Mapping[str, str] = {}  # by role (`importers.columns`)
    follow_links: bool = False  # whether links may lead out of folders


class SourceFiles(NamedTuple):
    """The files of a source: what the user named, and what others put into a folder."""

    place: Path  # the file or folder that was named; a link itself, if it is one
    follow_links: bool = False

    @property
    def root(self) -> Path:
        """The folder."""
        return self.place if self.place.is_dir() else self.place.parent

    def checked(self, path: Path) -> Path:
        """A file below the folder, for a reader that opens it.

        Raises DataError for a link that leads out of the folder, where none may.
        """
        if path != self.place:
            real = Path(os.path.realpath(path))  # also of links in a circle
            name = path.relative_to(self.root).as_posix()
            files.require_inside(self.root, real, name, self.follow_links)
        return path

    def read(self, path: Path, limit: int = limits.PICTURE_BYTES) -> bytes:
        """Its bytes. Raises DataError as `checked`, and naming what cannot be read."""
        return files.read_content(self.checked(path), limit)


class Form(NamedTuple):
    """A row of `part_sources.command.FORMS` or `importers.command.FORMS`."""

    name: str
    title: str  # of the data set or tool
    takes: str  # what the input is, in words
    licence: str  # of the annotations
    every: bool  # whether it marks every thing of its categories, by default
    # Of (Path, Rejects), and of Asked where it `asks`. Raises WrongForm where the input
    # is of another form.
    open: Callable[..., AbstractContextManager[Opened]]
    upright: bool = False  # whether masks belong to the picture as EXIF turns it
    asks: bool = False
    # The one split that the names within a source say; "" if they do not.
    split: Callable[[Path], str] = lambda source: ""
