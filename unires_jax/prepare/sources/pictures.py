"""Pictures of a raw data set: found by name within a folder, never outside it."""

import hashlib
import os
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from unires_jax.errors import DataError, Kind
from unires_jax.files import local, read_content, require_inside, stays_inside
from unires_jax.prepare.notes import Notes
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
_COCO = re.compile(r"(?:COCO_(?:train|val|test)\d{4}_)?\d{12}\.jpg", re.IGNORECASE)
_COCO_FOLDERS = {part for folder in FOLDERS for part in folder.split("/")}
_COCO_FOLDERS |= {"val2014", "test2014", "val2017", "test2017"}
SPOOL = ".pictures"  # how the folder of a Spool begins


class ImageFolder:
    """The bytes of images by name: `folder(name) -> bytes`.

    A name that only its case or its Unicode form parts from a file's finds it, and is
    noted, unless two files are as near. A link may lead out of the folder only where
    `follow_links` permits it, or to the blobs of a Hugging Face cache.
    """

    def __init__(
        self,
        folder: str | Path,
        notes: Notes | None = None,
        option: str = "--images",
        *,
        follow_links: bool = False,
    ) -> None:
        """`option` is what names the folder on the command line, for messages."""
        self.folder, self._notes = local(folder), notes or Notes()
        self._option, self._follow_links = option, follow_links
        if not self.folder.is_dir():
            raise DataError(
                "no such folder of images",
                place=str(self.folder),
                kind=Kind.FILE_MISSING,
            )
        self._names: dict[Path, dict[str, list[str]]] = {}
        self._loose: set[Path] = set()  # files taken under another name

    def path(self, name: str) -> Path:
        """The file of an image name.

        COCO's names are its pictures' own: they are also found without the folders
        that COCO and its users put before them, and under the shorter names of the 2017
        release (the same bytes). Of other names every part counts. Raises DataError if
        it is not there, if two files are as near, or if the name is absolute, climbs
        out of the folder or is a link that does.
        """
        parts = safe_parts(name)
        for candidate in _names_of(parts):
            path = self._find(candidate)
            if path is not None:
                real = path.resolve()
                require_inside(self.folder, real, name, self._follow_links)
                return path
        raise DataError(
            f"no such image{self._hint(parts)}; add it, or name another folder with "
            f"{self._option}",
            place=str(self.folder.joinpath(*parts)),
            kind=Kind.IMAGE_ABSENT,
        )

    def __call__(self, name: str) -> bytes:
        """The encoded image. Raises DataError if it is absent or cannot be read."""
        return read_content(self.path(name))

    def _find(self, parts: Sequence[str]) -> Path | None:
        exact = self.folder.joinpath(*parts)
        if os.path.isfile(exact):  # also of a name that no file system can hold
            return exact
        at = self.folder
        for part in parts:
            names = self._listing(at).get(_folded(part), [])
            if len(names) > 1 and part not in names:
                raise DataError(
                    f"is called {' and '.join(names)}, {part!r} is asked for; rename "
                    "the one that is meant",
                    place=str(at),
                    kind=Kind.IMAGE_ABSENT,
                )
            if not names:
                return None
            at = at / (part if part in names else names[0])
        if not at.is_file():
            return None
        if at not in self._loose:
            self._loose.add(at)
            text = "pictures whose files' names differ in case or Unicode form"
            self._notes.add(text, f"{at} for {'/'.join(parts)!r}")
        return at

    def _hint(self, parts: Sequence[str]) -> str:
        """What is there under a name that is near, for messages."""
        at = self.folder.joinpath(*parts[:-1])
        stem = _folded(parts[-1]).rpartition(".")[0]
        near = [name for names in self._listing(at).values() for name in names]
        same = [n for n in near if stem and _folded(n).rpartition(".")[0] == stem]
        if same:
            return f" (there is {same[0]!r})"
        if parts[:-1] and os.path.isfile(self.folder / parts[-1]):
            return f" ({parts[-1]!r} lies in {self.folder}, which may be another one)"
        return ""

    def _listing(self, folder: Path) -> dict[str, list[str]]:
        """The names in a folder by their folded form."""
        if folder not in self._names:
            listing: dict[str, list[str]] = {}
            for name in sorted(os.listdir(folder)) if folder.is_dir() else []:
                listing.setdefault(_folded(name), []).append(name)
            self._names[folder] = listing
        return self._names[folder]


def _folded(name: str) -> str:
    """A name without what file systems change: case, and Unicode's normal form."""
    return unicodedata.normalize("NFC", name).casefold()


def _names_of(parts: list[str]) -> list[list[str]]:
    """Under which names the picture of a name may lie."""
    *folders, last = parts
    names = [parts]
    if not _COCO.fullmatch(last):
        return names
    shorter = last.rpartition("_")[2]
    if shorter != last:
        names.append([*folders, shorter])
    if folders and {_folded(f) for f in folders} <= _COCO_FOLDERS:
        names += [[last], [shorter]]
    return names


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


def coco_id(name: str) -> int:
    """COCO's id of a picture that is called as COCO calls its own; else -1."""
    last = name.replace("\\", "/").rpartition("/")[2]
    return int(last[-16:-4]) if _COCO.fullmatch(last) else -1


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
    """The first of some files or folders below root that is there, in any case.

    A file may be packed, with .gz behind its name. Raises DataError if two differ in
    nothing but case.
    """
    places = (_find_any_case(Path(root), path) for path in paths)
    return next((place for place in places if place), None)


def _find_any_case(at: Path, relative: str) -> Path | None:
    for part in (p for p in relative.split("/") if p != "."):
        names = os.listdir(at) if at.is_dir() else []
        if part not in names:
            near = [n for n in sorted(names) if n.lower() == part.lower()]
            packed = f"{part.lower()}.gz"
            near = near or [n for n in sorted(names) if n.lower() == packed]
            if not near:
                return None
            if len(near) > 1:
                raise DataError(
                    f"holds {' and '.join(near)}, {part} is looked for; rename one",
                    place=str(at),
                )
            part = near[0]
        at = at / part
    return at


def find_images(
    root: str | Path,
    folder: str | Path = "",
    notes: Notes | None = None,
    *,
    follow_links: bool = False,
) -> ImageFolder:
    """The folder of images: the one named, else the first of FOLDERS below root.

    Raises DataError naming where it was looked for.
    """
    if folder:
        return ImageFolder(folder, notes, follow_links=follow_links)
    for base in (Path(root), Path(root).parent):
        for relative in FOLDERS:
            path = find_any_case(base, relative)
            if path is not None and path.is_dir():
                return ImageFolder(path, notes, follow_links=follow_links)
    raise DataError(
        f"no such folder, nor {_LIST} in {root} or beside it; name it with --images",
        place=str(Path(root) / FOLDERS[0]),
        kind=Kind.FILE_MISSING,
    )
