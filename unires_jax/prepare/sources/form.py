"""What a form is: how its files are found in a folder, and how they are read."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from unires_jax.data.catalogue import Benchmark
from unires_jax.prepare.notes import Notes
from unires_jax.prepare.rejects import Rejects
from unires_jax.prepare.sources.pictures import ImageFolder, Spool, find_images
from unires_jax.prepare.sources.referent import Referent


@dataclasses.dataclass(frozen=True)
class Raw:
    """A folder of raw files as the user names it."""

    root: Path
    spool: Spool  # takes the pictures that come within rows
    images: str = ""  # folder of the pictures; "": found below root or beside it
    follow_links: bool = False  # also of pictures, out of their folder

    def pictures(self, notes: Notes) -> ImageFolder:
        """The folder of pictures. Raises DataError naming where it was looked for.

        `notes` takes the names under which they are not quite there.
        """
        return find_images(
            self.root, self.images, notes, follow_links=self.follow_links
        )


class Files(NamedTuple):
    """The files of one form of a benchmark in a folder."""

    present: tuple[Path, ...] = ()
    missing: tuple[Path, ...] = ()  # without these it cannot be converted
    absent: tuple[Path, ...] = ()  # files of splits that are not there
    usual: tuple[Path, ...] = ()  # where a file of it belongs, to name what is missing
    passed: Mapping[Path, str] = {}  # files that look like it and are not, and why

    @classmethod
    def of_splits(
        cls, files: Mapping[str, Path], places: Mapping[str, Path], needed: Path
    ) -> "Files":
        """Those that are there of a file a split, and one that all of them need.

        `places` is where that of every split belongs.
        """
        return cls(
            present=tuple(files.values()),
            missing=(needed,) if files and not needed.exists() else (),
            absent=tuple(p for s, p in places.items() if files and s not in files),
            usual=tuple(places.values())[:1],
        )


class Source(NamedTuple):
    """What a folder holds of a benchmark, ready for `grouping.to_records`."""

    form: str
    referents: list[Referent]
    picture: Callable[[str], bytes]
    files: tuple[Path, ...] = ()  # that were read, pictures and masks aside


class Form(NamedTuple):
    """One form in which benchmarks circulate."""

    name: str
    loss: int  # how much is lost in it, where a folder holds several; 0: nothing
    find: Callable[[Path, Benchmark], Files]  # all empty: it has no such form
    # Raises DataError naming what is missing, or broken as a whole.
    read: Callable[[Raw, Benchmark, Rejects], Source]
