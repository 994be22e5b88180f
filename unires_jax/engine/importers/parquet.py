"""Rows of Hugging Face parquet: a picture, its sentences, a mask; read in two passes.

The first finds the last row of each picture, told by its bytes, so that in the second
no more than the masks of unfinished pictures are held. Source: ours.
"""

import contextlib
import functools
import hashlib
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from unires_jax import limits
from unires_jax.engine.importers import cells, columns, splits
from unires_jax.engine.importers.columns import IMAGE, LABEL, MASK, TEXT
from unires_jax.engine.importers.things import Things
from unires_jax.engine.part_sources.form import (
    Asked,
    Form,
    Opened,
    SourceFiles,
    WrongForm,
)
from unires_jax.engine.part_sources.regions import AnnotatedPicture
from unires_jax.errors import DataError
from unires_jax.pixels.images import image_size
from unires_jax.prepare.notes import Notes
from unires_jax.prepare.rejects import Rejects
from unires_jax.prepare.sources import parquet
from unires_jax.prepare.sources.coco import Image
from unires_jax.prepare.sources.pictures import ImageFolder, coco_id

_SECONDS = 2  # of reading before a bar shows it
_FORMATS = {b"\x89PNG": ".png", b"\xff\xd8\xff": ".jpg", b"RIFF": ".webp"}


@contextlib.contextmanager
def open_source(path: Path, rejects: Rejects, asked: Asked) -> Iterator[Opened]:
    """The pictures of a file, or of a folder's files of one split."""
    names = _names(path)
    if not names:
        raise WrongForm("holds no .parquet file", place=str(path))
    kept = splits.of(path, names.keys(), asked.split)
    source = SourceFiles(path, asked.follow_links)
    files = [source.checked(file) for name, file in names.items() if name in kept]
    tables = [_Table(file, asked, rejects) for file in files]
    last = _last_rows(tables)
    rejects.expect(sum(table.count for table in tables))
    yield Opened(len(last), _pictures(tables, last, rejects))


def parquet_files(path: Path) -> list[Path]:
    """The parquet files below a folder, or the one that it is."""
    if not path.is_dir():
        return [path] if path.suffix == ".parquet" else []
    files = sorted(path.rglob("*.parquet"))
    names = (file.relative_to(path).parts for file in files)
    return [f for f, n in zip(files, names, strict=True) if not _is_hidden(n)]


def _names(path: Path) -> dict[Path, Path]:
    """The files by their names below the folder."""
    root = path if path.is_dir() else path.parent
    return {file.relative_to(root): file for file in parquet_files(path)}


def _is_hidden(parts: Sequence[str]) -> bool:
    return any(part.startswith(".") for part in parts)


def matches(path: Path) -> bool:
    """Whether a file has columns whose names say picture, mask and sentence."""
    names = parquet.columns(path)
    chosen = columns.choose(names, {})
    return {IMAGE, MASK} <= chosen.keys() and not {TEXT, LABEL}.isdisjoint(chosen)


class _Table:
    """A file, and which of its columns hold what."""

    def __init__(self, path: Path, asked: Asked, rejects: Rejects) -> None:
        names = parquet.columns(path)
        try:
            self.columns = columns.choose(names, asked.columns, rejects.notes)
            columns.require(self.columns, (IMAGE, MASK), names)
            if LABEL not in self.columns:
                columns.require(self.columns, (TEXT,), names)
        except DataError as error:
            raise error.at(str(path)) from None
        self.path, self.count = path, parquet.count(path)
        self._pictures = asked.pictures
        self._follow_links = asked.follow_links

    def rows(self, *roles: str) -> Iterator[dict[str, Any]]:
        """What the columns of these roles hold in each row, by role."""
        names = {role: self.columns[role] for role in roles if role in self.columns}
        for row in parquet.rows(self.path, sorted(set(names.values()))):
            yield {role: row.get(name) for role, name in names.items()}

    def find(self, name: str) -> bytes:
        """A file that a row names, below the folder of pictures."""
        return self._folder(name)

    @functools.cached_property
    def _folder(self) -> ImageFolder:
        return ImageFolder(
            self._pictures, option="--pictures", follow_links=self._follow_links
        )


def _last_rows(tables: Sequence[_Table]) -> dict[bytes, list[int]]:
    """The number that each picture gets and its last row, by what tells it."""
    last: dict[bytes, list[int]] = {}
    total, number = sum(table.count for table in tables), 0
    with tqdm(total=total, unit=" rows", leave=False, delay=_SECONDS) as bar:
        for table in tables:
            for row in table.rows(IMAGE):
                if key := _key(row.get(IMAGE)):
                    known = last.setdefault(key, [len(last), number])
                    known[1] = number
                number += 1
                bar.update()
    return last


def _key(value: Any) -> bytes:
    """What tells a picture from others: its bytes, else its name; b"" without both."""
    if isinstance(value, dict):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, str):
        value = value.encode(errors="surrogatepass")
    if not isinstance(value, bytes) or not value:
        return b""
    return hashlib.blake2b(value, digest_size=16).digest()


def _pictures(
    tables: Sequence[_Table], last: Mapping[bytes, list[int]], rejects: Rejects
) -> Iterator[AnnotatedPicture]:
    waiting: dict[bytes, Things] = {}  # what is known of pictures with more rows
    number, held = 0, 0
    for table in tables:
        for index, row in enumerate(table.rows(IMAGE, MASK, TEXT, LABEL)):
            key, place = _key(row.get(IMAGE)), f"{table.path}: row {index}"
            things = waiting.setdefault(key, Things())
            held -= things.bytes
            name, data = "", b""
            try:
                name, data = cells.picture(row.get(IMAGE), table.find)
                _add(things, row, data, table, rejects.notes)
            except DataError as error:
                rejects.note(place, error)
            held += things.bytes
            _require_room(held, table.path)
            image_id, end = last.get(key, (0, number))
            if end == number:
                held -= waiting.pop(key).bytes
                if things.size and data:
                    yield _picture(image_id, name, data, things)
            number += 1


def _require_room(held: int, path: Path) -> None:
    if held > limits.REFERENTS_MEMORY:
        raise DataError(
            f"masks of {held >> 20} MB wait for further rows of their pictures, the "
            f"limit is {limits.REFERENTS_MEMORY >> 20} MB; sort the rows by picture",
            place=str(path),
        )


def _add(
    things: Things, row: dict[str, Any], data: bytes, table: _Table, notes: Notes
) -> None:
    label = row.get(LABEL)
    things.add(
        cells.masks(row.get(MASK), image_size(data), table.find),
        cells.texts(row.get(TEXT), notes),
        label.strip() if isinstance(label, str) else "",
    )


def _picture(image_id: int, name: str, data: bytes, things: Things) -> AnnotatedPicture:
    """A picture with all that its rows say; several may be called alike: numbered."""
    height, width = things.size or (0, 0)
    own = posixpath.basename(name.replace("\\", "/"))
    suffix = next((s for sign, s in _FORMATS.items() if data.startswith(sign)), ".img")
    # A name of files has at most 255 bytes.
    stem = (
        posixpath.splitext(own)[0].encode(errors="ignore")[:100].decode(errors="ignore")
    )
    plain = "".join(c if c.isalnum() or c in "-_." else "_" for c in stem).strip(".")
    filename = f"{image_id:08}{'-' * bool(plain)}{plain}{suffix}"
    return AnnotatedPicture(
        image=Image(image_id, filename, height, width),
        annotations=things.annotations,
        coco_id=coco_id(own),
        data=data,
    )


FORM = Form(
    "parquet",
    "Hugging Face parquet",
    "files or a folder of rows with a picture, sentences and a mask; --column says "
    "which are which",
    "its own",
    True,
    open_source,
    asks=True,
    split=lambda path: splits.only(_names(path).keys()),
)
