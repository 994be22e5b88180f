"""COCO JSON, with or without parts, a caption in an annotation or in its attributes."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from unires_jax.engine.part_sources.coco import name_categories
from unires_jax.engine.part_sources.coco_file import CocoFile
from unires_jax.engine.part_sources.form import Form, Opened
from unires_jax.engine.part_sources.json_lists import JsonLists
from unires_jax.prepare.rejects import Rejects


@contextlib.contextmanager
def open_source(path: Path, rejects: Rejects) -> Iterator[Opened]:
    """The pictures of a COCO JSON."""
    with JsonLists.open(path) as lists:
        file = CocoFile(lists, rejects)
        yield Opened(len(file.images), file.pictures(name_categories(file)))


FORM = Form(
    "coco",
    "COCO JSON",
    "a COCO JSON with masks, `caption` in annotations or attributes where there is one",
    "its own",
    True,
    open_source,
)
