"""Pictures of a raw data set: found by name within a folder, never outside it."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from unires_jax import limits
from unires_jax.errors import DataError, Kind
from unires_jax.files import read_bytes, stays_inside
from unires_jax.prepare.sources.fields import short

# Where the projects keep COCO's train2014, from the root of their data.
FOLDERS = (
    "images/mscoco/images/train2014",
    "images/train2014",
    "train2014",
    "coco_train2014",
    "mscoco/images/train2014",
    "coco/train2014",
    "images/mscoco/images/train2017",
    "images/train2017",
    "train2017",
    "images",
    "image",
)
_LIST = ", ".join(FOLDERS[1:])
SPOOL = ".pictures"  # how the folder of a Spool begins


class ImageFolder:
    """The bytes of images by name, whatever their case: `folder(name) -> bytes`."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise DataError(
                "no such folder of images",
                place=str(self.folder),
                kind=Kind.FILE_MISSING,
            )
        self._names: dict[Path, dict[str, str]] = {}

    def path(self, name: str) -> Path:
        """The file of an image name.

        Names of COCO's 2014 release also find the 2017 one (the same bytes under a
        shorter name). Raises DataError if it is not there, or if the name is absolute
        or climbs out of the folder.
        """
        parts = safe_parts(name)
        shorter = [*parts[:-1], parts[-1].rsplit("_", 1)[-1]]
        for candidate in (parts, parts[-1:], shorter, shorter[-1:]):
            path = self._find(candidate)
            if path is not None:
                return path
        raise DataError(
            "no such image; add it, or name another folder with --images",
            place=str(self.folder.joinpath(*parts)),
            kind=Kind.IMAGE_ABSENT,
        )

    def __call__(self, name: str) -> bytes:
        """The encoded image. Raises DataError if it is absent or cannot be read."""
        path = self.path(name)
        try:
            return read_bytes(path, limits.PICTURE_BYTES)
        except DataError as error:
            raise error.at(str(path)) from None
        except OSError as error:
            raise DataError(
                f"cannot be read: {error.strerror}", place=str(path)
            ) from None

    def _find(self, parts: Sequence[str]) -> Path | None:
        at = self.folder
        for part in parts:
            name = self._listing(at).get(part.lower())
            if name is None:
                return None
            at = at / name
        return at if at.is_file() else None

    def _listing(self, folder: Path) -> dict[str, str]:
        if folder not in self._names:
            names = os.listdir(folder) if folder.is_dir() else []
            self._names[folder] = {n.lower(): n for n in sorted(names)}
        return self._names[folder]


class Spool:
    """Pictures that came within rows, kept as files: `spool(name) -> bytes`.

    Rows come in any order and records in that of image ids; the bytes of a data set
    do not fit in memory.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def add(self, name: str, data: bytes) -> None:
        """Keep a picture; the first of a name stays."""
        path = self._path(name)
        if not path.exists():
            path.write_bytes(data)

    def __call__(self, name: str) -> bytes:
        """The picture. Raises DataError if none of that name came."""
        try:
            return self._path(name).read_bytes()
        except FileNotFoundError:
            raise DataError(
                "no row holds its picture; name a folder that does with --images",
                place=name,
                kind=Kind.IMAGE_ABSENT,
            ) from None

    def _path(self, name: str) -> Path:
        return self.folder / hashlib.sha256(name.encode()).hexdigest()[:32]


def safe_parts(name: str) -> list[str]:
    """The parts of a relative file name, written with either slash.

    Raises DataError for an absolute name, a drive, a `..` or a control character.
    """
    unified = name.replace("\\", "/")
    parts = [p for p in unified.split("/") if p not in ("", ".")]
    if not parts or not stays_inside(unified) or any(ord(c) < 32 for c in name):
        raise DataError(f"file name {short(name)}: expected a name within the folder")
    return parts


def find_any_case(root: str | Path, *paths: str) -> Path | None:
    """The first of some files or folders below root that is there, in any case."""
    places = (_find_any_case(Path(root), path) for path in paths)
    return next((place for place in places if place), None)


def _find_any_case(at: Path, relative: str) -> Path | None:
    for part in (p for p in relative.split("/") if p != "."):
        names = os.listdir(at) if at.is_dir() else []
        if part not in names:
            part = {n.lower(): n for n in sorted(names)}.get(part.lower(), "")
        if not part:
            return None
        at = at / part
    return at


def find_images(root: str | Path, folder: str | Path = "") -> ImageFolder:
    """The folder of images: the one named, else the first of FOLDERS below root.

    Raises DataError naming where it was looked for.
    """
    if folder:
        return ImageFolder(folder)
    for base in (Path(root), Path(root).parent):
        for relative in FOLDERS:
            path = find_any_case(base, relative)
            if path is not None and path.is_dir():
                return ImageFolder(path)
    raise DataError(
        f"no such folder, nor {_LIST} in {root} or beside it; name it with --images",
        place=str(Path(root) / FOLDERS[0]),
        kind=Kind.FILE_MISSING,
    )
