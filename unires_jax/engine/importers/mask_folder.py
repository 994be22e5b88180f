"""A folder of pictures, masks and sentences, as scripts and tools leave them.

Two layouts are read. A table beside the pictures (`metadata.jsonl`, `captions.csv`,
...) whose rows name a picture, a mask and a sentence. Or files that their names pair:

    images/dog.jpg    masks/dog.png, or dog_0.png, dog_1.png, or dog/0.png, ...
    captions/dog.txt  of the one mask; else captions/dog_0.txt: a sentence a line

A caption may also lie beside its mask or picture, or stand in a table (of the name of a
mask, or of a picture with one mask, and the sentence). Without one, words in the name
of a mask behind that of its picture are the sentence: masks/dog_left_ear.png. In one
folder masks are told by their ends: dog.jpg, dog_mask.png, dog.txt. Source: ours.
"""

import contextlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from unires_jax.engine.importers import cells, columns, splits, tables
from unires_jax.engine.importers.columns import IMAGE, LABEL, MASK, TEXT
from unires_jax.engine.importers.things import Things
from unires_jax.engine.part_sources.form import Asked, Form, Opened, WrongForm
from unires_jax.engine.part_sources.regions import AnnotatedPicture
from unires_jax.errors import DataError, Kind, shorten
from unires_jax.files import read_bytes
from unires_jax.pixels.images import image_size
from unires_jax.prepare.rejects import Rejects
from unires_jax.prepare.sources.coco import Image
from unires_jax.prepare.sources.pictures import ImageFolder, coco_id
from unires_jax.texts import decoded

TABLES = tables.SUFFIXES
PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif")
_PICTURE_FOLDERS = (
    *("images", "image", "imgs", "img", "pictures", "photos", "jpegimages", "rgb"),
)
_MASK_FOLDERS = ("masks", "mask", "segmentations", "segmentation", "segs")
_CAPTION_FOLDERS = ("captions", "caption", "texts", "text", "sentences", "prompts")
_NAMES = (
    *("metadata", "captions", "caption", "sentences", "texts", "prompts"),
    *("expressions", "annotations", "labels", "data", "index"),
)
_END = re.compile(r"[-_. ](?:mask|seg|segmentation)[-_]?\d*$", re.IGNORECASE)
# What stands in the name of a mask and is no part of a sentence.
_NO_WORDS = {"mask", "masks", "seg", "segmentation", "gt", "label", "binary", "matte"}
_CAPTION_BYTES = 1 << 20  # of a .txt; ours
_EACH = 300  # bytes that Python takes for a row or a file's name, about

EXPECTED = (
    "expected a table of pictures, masks and sentences (metadata.jsonl, captions.csv), "
    "or the folders images and masks with captions/NAME.txt, captions.json or "
    "sentences in the names of masks; see docs/engine.md"
)


class Row(NamedTuple):
    """What is said of a picture in one place."""

    place: str
    masks: Any  # a cell of masks: a file's name, RLE, polygons
    texts: tuple[str, ...]
    label: str = ""


@contextlib.contextmanager
def open_source(path: Path, rejects: Rejects, asked: Asked) -> Iterator[Opened]:
    """The pictures of a folder, or of a table's rows."""
    if not path.is_dir() and path.suffix not in TABLES:
        raise WrongForm(EXPECTED, place=str(path))
    root = path if path.is_dir() else path.parent
    folder = _Folder(root, asked, rejects)
    found = folder.rows(path)
    rejects.expect(sum(map(len, found.values())))
    yield Opened(len(found), folder.pictures(found))


def matches(path: Path) -> bool:
    """Whether a folder has one of the layouts, or a file is such a table."""
    try:
        if not path.is_dir():
            return path.suffix in TABLES and _is_table(path)
        return bool(_table_of(path)) or _Layout.find(path) is not None
    except (DataError, OSError):
        return False


def _is_table(path: Path) -> bool:
    chosen = columns.choose(tables.names(path), {})
    return {IMAGE, MASK} <= chosen.keys() and not {TEXT, LABEL}.isdisjoint(chosen)


def _table_of(folder: Path) -> Path | None:
    """The table of rows in a folder, if there is one."""
    for path in _tables(folder):
        with contextlib.suppress(DataError, OSError):
            if _is_table(path):
                return path
    return None


def _tables(folder: Path) -> list[Path]:
    """The files of a folder that may be tables, the likeliest first."""
    there = {p.name.lower(): p for p in sorted(folder.iterdir()) if p.is_file()}
    names = (f"{stem}{suffix}" for stem in _NAMES for suffix in TABLES)
    return [there[name] for name in names if name in there]


class _Layout(NamedTuple):
    """Where the pictures, masks and captions of a folder of pairs are."""

    pictures: Path
    masks: Path  # the same, where the ends of names tell them
    captions: Path | None

    @classmethod
    def find(cls, root: Path, elsewhere: Path | None = None) -> "_Layout | None":
        """The layout of a folder, its pictures `elsewhere`; None where it has none."""
        folders = {p.name.lower(): p for p in sorted(root.iterdir()) if p.is_dir()}

        def first(names: Sequence[str]) -> Path | None:
            return next((folders[name] for name in names if name in folders), None)

        masks, captions = first(_MASK_FOLDERS), first(_CAPTION_FOLDERS)
        pictures = elsewhere or first(_PICTURE_FOLDERS)
        if masks is not None:
            has_own = any(p.suffix.lower() in PICTURES for p in root.iterdir())
            if pictures is None and has_own:
                pictures = root
            return cls(pictures, masks, captions) if pictures else None
        place = pictures or root
        names = [p.stem for p in place.iterdir() if p.suffix.lower() == ".png"]
        told = any(_END.search(name) for name in names)
        return cls(place, place, captions) if told else None


class _Folder:
    """The rows of a folder, and the pictures that they make."""

    def __init__(self, root: Path, asked: Asked, rejects: Rejects) -> None:
        self._root, self._asked, self._rejects = root, asked, rejects
        more, follow = (rejects.notes, "--pictures"), asked.follow_links
        self._find = ImageFolder(root, *more, follow_links=follow)
        self._find_picture = ImageFolder(asked.pictures, *more, follow_links=follow)

    def rows(self, path: Path) -> dict[str, list[Row]]:
        """What is said of each picture, by its name. Raises DataError and WrongForm."""
        table = path if path.is_file() else _table_of(path)
        if table is not None:
            return self._table_rows(table)
        others = self._asked.pictures
        layout = _Layout.find(path, others if others != path else None)
        if layout is None:
            inner = [
                p.name for p in sorted(path.iterdir()) if p.is_dir() and matches(p)
            ]
            hint = f"; name one of its folders {', '.join(inner)}" if inner else ""
            raise WrongForm(f"{EXPECTED}{hint}", place=str(path))
        return self._pairs(layout)

    def _table_rows(self, table: Path) -> dict[str, list[Row]]:
        names = tables.names(table)
        try:
            chosen = columns.choose(names, self._asked.columns, self._rejects.notes)
            columns.require(chosen, (IMAGE, MASK), names)
            if LABEL not in chosen:
                columns.require(chosen, (TEXT,), names)
        except DataError as error:
            raise WrongForm(error.text, place=str(table)) from None
        found: dict[str, list[Row]] = {}
        for place, row in tables.rows(table):
            name, label = (row.get(chosen.get(role, "")) for role in (IMAGE, LABEL))
            if not isinstance(name, str) or not name.strip():
                self._refuse(place, "names no picture")
                continue
            masks = row.get(chosen[MASK])
            said = cells.texts(row.get(chosen.get(TEXT, "")))
            self._rejects.hold(_EACH + 4 * len(str(row)))
            word = label.strip() if isinstance(label, str) else ""
            found.setdefault(name, []).append(Row(place, masks, said, word))
        return found

    def _pairs(self, layout: _Layout) -> dict[str, list[Row]]:
        pictures, masks = self._files(layout)
        captions = _Captions(layout, self._root, self._rejects)
        owners: dict[str, list[tuple[str, Path]]] = {}  # masks by picture's stem
        for stem, mask in masks.items():
            owner = _owner(stem, pictures)
            if owner is None:
                text = f"no picture is called as the mask {mask.name} or its beginning"
                self._refuse(str(mask), text)
                continue
            owners.setdefault(owner, []).append((stem, mask))
        if not owners:
            raise WrongForm(
                f"no mask in {layout.masks} has the name of a picture in "
                f"{layout.pictures}; {EXPECTED}",
                place=str(self._root),
            )
        wanted = self._wanted(layout, pictures)
        unmasked = len(wanted.keys() - owners.keys())
        if unmasked:
            self._rejects.notes.add("pictures without a mask", count=unmasked)
        found: dict[str, list[Row]] = {}
        for owner, group in owners.items():
            if owner not in wanted:
                continue
            name = wanted[owner].relative_to(self._asked.pictures).as_posix()
            for stem, mask in group:
                said = captions.of(stem, owner, alone=len(group) == 1)
                relative = mask.relative_to(self._root).as_posix()
                self._rejects.hold(_EACH + sum(map(len, said)))
                found.setdefault(name, []).append(Row(str(mask), relative, said))
        return found

    def _refuse(self, place: str, text: str) -> None:
        """Note what is of no picture."""
        self._rejects.expect(1)
        self._rejects.note(place, DataError(text, kind=Kind.IMAGE_ABSENT))

    def _files(self, layout: _Layout) -> tuple[dict[str, Path], dict[str, Path]]:
        """Pictures and masks by their names without suffix, below their folders."""
        pictures = _by_stem(layout.pictures, PICTURES)
        masks = _by_stem(layout.masks, (".png",))
        if layout.pictures == layout.masks:
            masks = {s: p for s, p in masks.items() if _END.search(s)}
            pictures = {s: p for s, p in pictures.items() if s not in masks}
        elif layout.masks.is_relative_to(layout.pictures):  # pictures in the root
            pictures = {s: p for s, p in pictures.items() if "/" not in s}
        return pictures, masks

    def _wanted(self, layout: _Layout, pictures: dict[str, Path]) -> dict[str, Path]:
        """Those of the split that is asked for, by the names of their folders."""
        folders = {s: PurePosixPath(s).parent for s in pictures}
        kept = splits.of(layout.pictures, {*folders.values()}, self._asked.split)
        return {s: p for s, p in pictures.items() if folders[s] in kept}

    def pictures(self, found: dict[str, list[Row]]) -> Iterator[AnnotatedPicture]:
        """The pictures of rows, read one at a time; what cannot be used is refused."""
        for number, (name, rows) in enumerate(found.items()):
            try:
                data = self._find_picture(name)
                stated = image_size(data)
            except DataError as error:
                for row in rows:
                    self._rejects.note(row.place, error)
                continue
            things = Things()
            for row in rows:
                try:
                    masks = cells.masks(row.masks, stated, self._find)
                    things.add(masks, row.texts, row.label)
                except DataError as error:
                    self._rejects.note(row.place, error)
            if things.size is not None:
                yield AnnotatedPicture(
                    image=Image(number, name, *things.size),
                    annotations=things.annotations,
                    coco_id=coco_id(name),
                )


def _by_stem(folder: Path, suffixes: Sequence[str]) -> dict[str, Path]:
    """The files below a folder by their names there, without the suffix."""
    files: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in name.parts)
        if path.suffix.lower() in suffixes and not hidden and path.is_file():
            stem = name.with_suffix("").as_posix()
            if stem in files:
                raise DataError(
                    f"holds {files[stem].name} and {path.name}, which only their ends "
                    "tell apart; rename or remove one",
                    place=str(path.parent),
                )
            files[stem] = path
    return files


def _owner(stem: str, pictures: dict[str, Path]) -> str | None:
    """The picture whose name is that of a mask, or the longest beginning of it."""
    if stem in pictures:
        return stem
    for end in range(len(stem) - 1, 0, -1):
        if not stem[end].isalnum() and stem[:end] in pictures:
            return stem[:end]
    return None


class _Captions:
    """The sentences of masks: in files of their names, in a table, in names."""

    def __init__(self, layout: _Layout, root: Path, rejects: Rejects) -> None:
        self._layout, self._notes = layout, rejects.notes
        self._table = _table_captions(root, rejects)

    def of(self, stem: str, owner: str, *, alone: bool) -> tuple[str, ...]:
        """The sentences of a mask; `alone`: its picture has no other."""
        for name in (stem, owner) if alone else (stem,):
            if said := self._table.get(name):
                return said
            for folder in (
                self._layout.captions,
                self._layout.masks,
                self._layout.pictures,
            ):
                if folder and (said := _read(folder / f"{name}.txt")):
                    return said
        words = re.split(r"[^\w']+|_+", stem.removeprefix(owner))
        named = " ".join(w for w in words if w and _is_word(w))
        if named:
            text = "sentences are taken from the names of masks"
            self._notes.add(text, f"{named!r} of {shorten(stem)}")
        return cells.texts(named)


def _is_word(text: str) -> bool:
    return not text.isdigit() and text.lower().rstrip("0123456789") not in _NO_WORDS


def _read(path: Path) -> tuple[str, ...]:
    """The sentences of a text file, a line each; () where there is none."""
    if not path.is_file():
        return ()
    try:
        text = decoded(read_bytes(path, _CAPTION_BYTES))
    except DataError as error:
        raise error.at(str(path)) from None
    return cells.texts(text.splitlines())


def _table_captions(root: Path, rejects: Rejects) -> dict[str, tuple[str, ...]]:
    """The sentences that a table of a folder holds, by name without suffix."""
    said: dict[str, tuple[str, ...]] = {}
    for path in _tables(root):
        names = tables.names(path)
        chosen = columns.choose(names, {})
        key = chosen.get(MASK, chosen.get(IMAGE, ""))
        if not key or TEXT not in chosen:
            continue
        for _, row in tables.rows(path):
            if isinstance(name := row.get(key), str):
                words = cells.texts(row.get(chosen[TEXT]))
                rejects.hold(_EACH + sum(map(len, words)))
                known = said.get(_plain(name), ())
                said[_plain(name)] = (*known, *words)
        return said
    return said


def _plain(name: str) -> str:
    """A name in a table as files are kept by: below its folder, without the suffix."""
    parts = name.replace("\\", "/").removeprefix("./").split("/")
    if len(parts) > 1 and parts[0].lower() in (*_PICTURE_FOLDERS, *_MASK_FOLDERS):
        parts = parts[1:]
    last = parts[-1]
    stem, dot, end = last.rpartition(".")
    if dot and f".{end.lower()}" in PICTURES:
        last = stem
    return "/".join((*parts[:-1], last))


def _split(path: Path) -> str:
    """The one split that the names of a folder's pictures say."""
    if not path.is_dir():
        return ""
    with contextlib.suppress(OSError):
        layout = _Layout.find(path)
        inner = layout.pictures if layout else path
        return splits.only([Path(p.name) for p in inner.iterdir() if p.is_dir()])
    return ""


FORM = Form(
    "masks",
    "masks with captions",
    "a folder of pictures, masks (PNG) and sentences, by a table or by names",
    "its own",
    True,
    open_source,
    asks=True,
    split=_split,
)
