"""Boxes that somebody has drawn or found: COCO's JSON, JSONL of boxes, MRES JSONL.

A file is a form; `open_source` tells which a file has.
"""

from collections.abc import Sequence
from pathlib import Path

from unires_jax.engine.box_sources.coco import CocoBoxes
from unires_jax.engine.box_sources.common import BoxSource, lines
from unires_jax.engine.box_sources.jsonl import BoxLines
from unires_jax.engine.box_sources.mres import MresBoxes
from unires_jax.errors import DataError, Kind
from unires_jax.prepare.mres.fields import load_json
from unires_jax.prepare.notes import Notes


def open_source(
    paths: Sequence[Path],
    notes: Notes,
    pictures: Path,
    *,
    exhaustive: bool = False,
    follow_links: bool = False,
) -> BoxSource:
    """The source that files are, by their names and first line.

    MRES JSONL is read with its masks, and its pictures from the folder `pictures`;
    links may lead out where `follow_links` permits it. `exhaustive` says of its
    pictures that every instance of their categories has a box. `notes` takes what is
    passed over. Raises DataError for files that are none.
    """
    folder = len(paths) == 1 and paths[0].is_dir()
    for path in () if folder else paths:
        if not path.is_file():
            raise DataError("no such file", place=str(path), kind=Kind.FILE_MISSING)
    if not folder and paths[0].name.endswith((".json", ".json.gz")):
        if len(paths) > 1:
            raise DataError("expected one file of JSON", place=str(paths[1]))
        return CocoBoxes(paths[0], notes, exhaustive)
    if not folder and _has_boxes(paths[0]):
        return BoxLines(paths, notes, exhaustive)
    return MresBoxes(paths, notes, exhaustive, pictures, follow_links)


def _has_boxes(path: Path) -> bool:
    """Whether the first line is one of boxes, not of masks."""
    number, text = next(lines(path), (0, b"{}"))
    try:
        value = load_json(text)
    except DataError as error:
        raise error.at(f"{path}:{number}") from None
    return isinstance(value, dict) and "boxes" in value
