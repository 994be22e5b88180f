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
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from unires_jax.engine.importers import cells, columns, mask_layout, splits, tables
from unires_jax.engine.importers.columns import IMAGE, LABEL, MASK, TEXT
from unires_jax.engine.importers.mask_captions import Captions
from unires_jax.engine.importers.mask_layout import Layout
from unires_jax.engine.importers.things import Things
from unires_jax.engine.part_sources.form import (
    Asked,
    Form,
    Opened,
    SourceFiles,
    WrongForm,
)
from unires_jax.engine.part_sources.regions import AnnotatedPicture
from unires_jax.errors import DataError, Kind
from unires_jax.pixels.images import image_size
from unires_jax.prepare.rejects import Rejects
from unires_jax.prepare.sources.coco import Image
from unires_jax.prepare.sources.pictures import ImageFolder, coco_id

_EACH = 300  # bytes that Python takes for a row, about
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
    if not path.is_dir() and path.suffix not in tables.SUFFIXES:
        raise WrongForm(EXPECTED, place=str(path))
    folder = _Folder(SourceFiles(path, asked.follow_links), asked, rejects)
    rows = folder.rows(path)
    rejects.expect(sum(map(len, rows.values())))
    yield Opened(len(rows), folder.pictures(rows))


def matches(path: Path) -> bool:
    """Whether a folder has one of the layouts, or a file is such a table."""
    try:
        if not path.is_dir():
            return path.suffix in tables.SUFFIXES and _is_table(path, {})
        return bool(_table_of(path, {})) or Layout.find(path) is not None
    except (DataError, OSError):
        return False


def _is_table(path: Path, asked: Mapping[str, str]) -> bool:
    chosen = columns.choose(tables.names(path), asked)
    return {IMAGE, MASK} <= chosen.keys() and not {TEXT, LABEL}.isdisjoint(chosen)


def _table_of(folder: Path, asked: Mapping[str, str]) -> Path | None:
    """The table of rows in a folder, if there is one."""
    for path in tables.beside(folder):
        with contextlib.suppress(DataError):
            if _is_table(path, asked):
                return path
    return None


class _Folder:
    """The rows of a folder, and the pictures that they make."""

    def __init__(self, source: SourceFiles, asked: Asked, rejects: Rejects) -> None:
        self._source, self._root = source, source.root
        self._asked, self._rejects = asked, rejects
        more, follow = (rejects.notes, "--pictures"), asked.follow_links
        self._find = ImageFolder(self._root, *more, follow_links=follow)
        self._find_picture = ImageFolder(asked.pictures, *more, follow_links=follow)

    def rows(self, path: Path) -> dict[str, list[Row]]:
        """What is said of each picture, by its name. Raises DataError and WrongForm."""
        asked = self._asked
        table = path if path.is_file() else _table_of(path, asked.columns)
        if table is not None:
            return self._of_table(table)
        elsewhere = asked.pictures if asked.pictures != path else None
        layout = Layout.find(path, elsewhere)
        if layout is not None:
            return self._of_pairs(layout)
        for other in tables.beside(path):
            return self._of_table(other)  # which says what it lacks
        inner = [p.name for p in sorted(path.iterdir()) if p.is_dir() and matches(p)]
        hint = f"; name one of its folders {', '.join(inner)}" if inner else ""
        raise WrongForm(f"{EXPECTED}{hint}", place=str(path))

    def _of_table(self, table: Path) -> dict[str, list[Row]]:
        names = tables.names(self._source.checked(table))
        try:
            chosen = columns.choose(names, self._asked.columns, self._rejects.notes)
            columns.require(chosen, (IMAGE, MASK), names)
            if LABEL not in chosen:
                columns.require(chosen, (TEXT,), names)
        except DataError as error:
            raise WrongForm(error.text, place=str(table)) from None
        rows: dict[str, list[Row]] = {}
        for place, row in tables.rows(table):
            name, label = (row.get(chosen.get(role, "")) for role in (IMAGE, LABEL))
            if not isinstance(name, str) or not name.strip():
                self._refuse(place, "names no picture")
                continue
            masks = row.get(chosen[MASK])
            said = cells.texts(row.get(chosen.get(TEXT, "")), self._rejects.notes)
            self._rejects.hold(_EACH + 4 * len(str(row)))
            word = label.strip() if isinstance(label, str) else ""
            rows.setdefault(name, []).append(Row(place, masks, said, word))
        return rows

    def _of_pairs(self, layout: Layout) -> dict[str, list[Row]]:
        pictures, masks = layout.files()
        groups: dict[str, list[tuple[str, Path]]] = {}  # masks by picture
        for stem, mask in masks.items():
            owner = mask_layout.owner(stem, pictures)
            if owner is None:
                text = f"no picture is called as the mask {mask.name} or its beginning"
                self._refuse(str(mask), text)
            else:
                groups.setdefault(owner, []).append((stem, mask))
        if not groups:
            raise WrongForm(
                f"no mask in {layout.masks} has the name of a picture in "
                f"{layout.pictures}; {EXPECTED}",
                place=str(self._root),
            )
        wanted = self._wanted(layout, pictures)
        if unmasked := len(wanted.keys() - groups.keys()):
            self._rejects.notes.add("pictures without a mask", count=unmasked)
        captions = Captions(self._source, layout, self._rejects)
        rows: dict[str, list[Row]] = {}
        for owner, group in groups.items():
            for stem, mask in group if owner in wanted else ():
                said = captions.of(stem, owner, alone=len(group) == 1)
                relative = mask.relative_to(self._root).as_posix()
                name = wanted[owner].relative_to(self._asked.pictures).as_posix()
                self._rejects.hold(_EACH + sum(map(len, said)))
                rows.setdefault(name, []).append(Row(str(mask), relative, said))
        return rows

    def _refuse(self, place: str, text: str) -> None:
        """Note what is of no picture."""
        self._rejects.expect(1)
        self._rejects.note(place, DataError(text, kind=Kind.IMAGE_ABSENT))

    def _wanted(self, layout: Layout, pictures: dict[str, Path]) -> dict[str, Path]:
        """Those of the split that is asked for, by the names of their folders."""
        folders = {s: PurePosixPath(s).parent for s in pictures}
        kept = splits.of(layout.pictures, {*folders.values()}, self._asked.split)
        return {s: p for s, p in pictures.items() if folders[s] in kept}

    def pictures(self, rows: dict[str, list[Row]]) -> Iterator[AnnotatedPicture]:
        """The pictures of rows, read one at a time; what cannot be used is refused."""
        for number, (name, own) in enumerate(rows.items()):
            try:
                stated = image_size(self._find_picture(name))
            except DataError as error:
                for row in own:
                    self._rejects.note(row.place, error)
                continue
            things = Things()
            for row in own:
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


def _split(path: Path) -> str:
    """The one split that the names of a folder's pictures say."""
    if not path.is_dir():
        return ""
    layout = Layout.find(path)
    inner = layout.pictures if layout else path
    return splits.only([Path(p.name) for p in inner.iterdir() if p.is_dir()])


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
