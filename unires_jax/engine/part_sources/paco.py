"""PACO: objects of LVIS and Ego4D with their parts, one JSON in COCO's manner.

Source of the format: PACO's docs/PACO_DATASET.md. Categories are objects and, as
"car_(automobile):wheel", their parts; `obj_ann_id` of a part is its object. All parts
of one name on an object are one mask. A picture lists the categories that are not
marked everywhere in it.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from unires_jax.engine.part_sources.coco_file import CocoFile, Names
from unires_jax.engine.part_sources.form import Form, Opened, WrongForm
from unires_jax.engine.part_sources.json_lists import JsonLists
from unires_jax.prepare.rejects import Rejects

PARENT = "obj_ann_id"


def matches(file: CocoFile) -> bool:
    """Whether a COCO JSON is PACO's."""
    return "part_categories" in file.fields or PARENT in file.first


@contextlib.contextmanager
def open_source(path: Path, rejects: Rejects) -> Iterator[Opened]:
    """The pictures of paco_lvis_v1_train.json and its like."""
    with JsonLists.open(path) as lists:
        file = CocoFile(lists, rejects)
        if not matches(file):
            raise WrongForm(f"annotations have no {PARENT}", place=str(path))
        names = {}
        for key, category in file.categories.items():
            whole, _, part = category.name.partition(":")
            names[key] = Names(whole, part)
        yield Opened(len(file.images), file.pictures(names, PARENT))


FORM = Form(
    "paco", "PACO", "its JSON (paco_lvis_v1_train.json)", "MIT", True, open_source
)
