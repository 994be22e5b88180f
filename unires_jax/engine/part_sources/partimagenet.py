"""PartImageNet: parts of the one thing in a picture of ImageNet, as COCO JSON.

Source of the format: VLPart's reader. A category is "Quadruped Head"; objects are not
marked, but the parts cover them: an object is the union of its parts (ours).
"""

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path

from unires_jax.engine.part_sources.coco_file import CocoFile, Names
from unires_jax.engine.part_sources.form import Form, Opened, WrongForm
from unires_jax.engine.part_sources.json_lists import JsonLists
from unires_jax.engine.part_sources.regions import AnnotatedPicture, Annotation
from unires_jax.pixels.masks import RunMask
from unires_jax.prepare.rejects import Rejects

THINGS = frozenset(
    ("aeroplane", "bicycle", "biped", "bird", "boat", "bottle", "car", "fish")
) | {"quadruped", "reptile", "snake"}


def matches(file: CocoFile) -> bool:
    """Whether a COCO JSON is PartImageNet's."""
    words = [c.name.lower().split(" ") for c in file.categories.values()]
    return bool(words) and all(len(w) > 1 and w[0] in THINGS for w in words)


@contextlib.contextmanager
def open_source(path: Path, rejects: Rejects) -> Iterator[Opened]:
    """The pictures of train.json, as published or with VLPart's file names."""
    with JsonLists.open(path) as lists:
        file = CocoFile(lists, rejects)
        if not matches(file):
            raise WrongForm(
                'categories are not called "Quadruped Head" and the like',
                place=str(path),
            )
        names = {}
        for key, category in file.categories.items():
            whole, _, part = category.name.partition(" ")
            names[key] = Names(whole, part)
        yield Opened(len(file.images), map(with_objects, file.pictures(names)))


def with_objects(picture: AnnotatedPicture) -> AnnotatedPicture:
    """The picture with an object for the parts of each kind of thing."""
    kinds: dict[str, list[Annotation]] = {}
    for annotation in picture.annotations:
        kinds.setdefault(annotation.category, []).append(annotation)
    annotations: list[Annotation] = []
    size = picture.image.height, picture.image.width
    for kind, parts in kinds.items():
        mask = RunMask.union([p.mask for p in parts], *size)
        annotations.append(Annotation(f"the {kind}", mask, kind))
        annotations += [dataclasses.replace(p, parent=f"the {kind}") for p in parts]
    return dataclasses.replace(picture, annotations=tuple(annotations))


FORM = Form(
    "partimagenet",
    "PartImageNet",
    "its JSON (train.json)",
    "none is stated; pictures under ImageNet's terms",
    True,
    open_source,
)
