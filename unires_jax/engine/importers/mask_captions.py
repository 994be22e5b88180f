"""The sentences of masks in a folder: in files of their names, in a table, in names.

Source: ours.
"""

import os
import re

from unires_jax.engine.importers import cells, columns, mask_layout, tables
from unires_jax.engine.importers.columns import IMAGE, MASK, TEXT
from unires_jax.engine.importers.mask_layout import Layout
from unires_jax.engine.part_sources.form import SourceFiles
from unires_jax.errors import DataError, shorten
from unires_jax.prepare.rejects import Rejects
from unires_jax.texts import decoded

# What stands in the name of a mask and is no part of a sentence.
_NO_WORDS = {"mask", "masks", "seg", "segmentation", "gt", "label", "binary", "matte"}
_BYTES = 1 << 20  # of a .txt; ours
_EACH = 300  # bytes that Python takes for an entry, about


class Captions:
    """The sentences of the masks of a folder."""

    def __init__(self, source: SourceFiles, layout: Layout, rejects: Rejects) -> None:
        """Reads the table of captions. Raises DataError where it is damaged."""
        folders = (layout.captions, layout.masks, layout.pictures)
        self._folders = [folder for folder in folders if folder]
        self._source, self._notes = source, rejects.notes
        self._table = _of_table(source, rejects)

    def of(self, mask: str, picture: str, *, alone: bool) -> tuple[str, ...]:
        """The sentences of a mask by the names of both; () where there are none.

        `alone`: its picture has no other mask, so that what is said of it counts too.
        """
        for name in (mask, picture) if alone else (mask,):
            if said := self._table.get(name) or self._of_file(name):
                return said
        words = re.split(r"[^\w']+|_+", mask.removeprefix(picture))
        named = " ".join(word for word in words if word and _is_word(word))
        if named:
            text = "sentences are taken from the names of masks"
            self._notes.add(text, f"{named!r} of {shorten(mask)}")
        return cells.texts(named, self._notes)

    def _of_file(self, name: str) -> tuple[str, ...]:
        """The lines of a text file of that name. Raises DataError naming it."""
        for folder in self._folders:
            path = folder / f"{name}.txt"
            if os.path.lexists(path):
                # The folder may be a link itself; that of pictures may be elsewhere.
                inside = folder.is_relative_to(self._source.root)
                own = SourceFiles(folder, self._source.follow_links)
                data = (self._source if inside else own).read(path, _BYTES)
                try:
                    if said := cells.texts(decoded(data).splitlines(), self._notes):
                        return said
                except DataError as error:
                    raise error.at(str(path)) from None
        return ()


def _is_word(text: str) -> bool:
    return not text.isdigit() and text.lower().rstrip("0123456789") not in _NO_WORDS


def _of_table(source: SourceFiles, rejects: Rejects) -> dict[str, tuple[str, ...]]:
    """The sentences of the first table of a folder that has some, by plain name."""
    said: dict[str, list[str]] = {}
    for path in tables.beside(source.root):
        chosen = columns.choose(tables.names(source.checked(path)), {})
        column = chosen.get(MASK, chosen.get(IMAGE, ""))
        if not column or TEXT not in chosen:
            continue
        for _, row in tables.rows(path):
            if isinstance(name := row.get(column), str):
                words = cells.texts(row.get(chosen[TEXT]), rejects.notes)
                rejects.hold(_EACH + sum(map(len, words)))
                said.setdefault(mask_layout.plain(name), []).extend(words)
        break
    return {name: tuple(words) for name, words in said.items()}
