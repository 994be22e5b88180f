"""ADE20K-Part-234: 44 kinds of things as COCO JSON, their parts as PNG beside it.

Source of the format: OV-PARTS. `annotations_detectron2_part/<split>/<name>.png` has at
each pixel the number of one of 234 parts ("person's arm"), counted from 0; a part of a
thing is what lies within its mask.
"""

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import cv2
import numpy as np

from unires_jax.engine import vocabulary
from unires_jax.engine.part_sources.coco_file import CocoFile, Names
from unires_jax.engine.part_sources.form import (
    Asked,
    Opened,
    SourceFiles,
    WrongForm,
)
from unires_jax.engine.part_sources.json_lists import JsonLists
from unires_jax.engine.part_sources.names import clean_category
from unires_jax.engine.part_sources.regions import AnnotatedPicture, Annotation
from unires_jax.errors import DataError, Kind
from unires_jax.pixels.images import check_size
from unires_jax.pixels.masks import RunMask
from unires_jax.prepare.rejects import Rejects

FOLDER = "annotations_detectron2_part"


def matches(file: CocoFile) -> bool:
    """Whether a COCO JSON is ADE20K-Part-234's."""
    return "part_category_id" in file.first


@contextlib.contextmanager
def open_source(path: Path, rejects: Rejects, asked: Asked) -> Iterator[Opened]:
    """The pictures of ade20k_instance_train.json, the folder of PNGs beside it."""
    with JsonLists.open(path) as lists:
        file = CocoFile(lists, rejects)
        if not matches(file):
            raise WrongForm("annotations have no part_category_id", place=str(path))
        folder = path.parent / FOLDER
        pngs = {p.stem: p for p in sorted(folder.rglob("*.png"))}
        if not pngs:
            raise DataError(
                "no such folder of PNGs, which hold the parts",
                place=str(folder),
                kind=Kind.FILE_MISSING,
            )
        names = {k: Names(c.name) for k, c in file.categories.items()}
        source = SourceFiles(path, asked.follow_links)
        pictures = _with_parts(file.pictures(names), source, pngs, rejects)
        yield Opened(len(file.images), pictures)


def _with_parts(
    pictures: Iterator[AnnotatedPicture],
    source: SourceFiles,
    pngs: dict[str, Path],
    rejects: Rejects,
) -> Iterator[AnnotatedPicture]:
    for picture in pictures:
        path = pngs.get(PurePosixPath(picture.image.filename).stem)
        if path is None:
            rejects.notes.add("pictures without a PNG of parts", picture.image.filename)
            yield picture
            continue
        try:
            parts = list(_parts(picture, source.read(path)))
        except DataError as error:
            rejects.note(str(path), error)
            continue
        annotations = (*picture.annotations, *parts)
        yield dataclasses.replace(picture, annotations=annotations)


def _parts(picture: AnnotatedPicture, data: bytes) -> Iterator[Annotation]:
    height, width = picture.image.height, picture.image.width
    check_size(data, height, width)
    values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None or values.shape != (height, width):
        raise DataError("is no PNG of one channel", kind=Kind.IMAGE_UNREADABLE)
    names = vocabulary.pairs(vocabulary.ADE20K)
    for number in np.unique(values).tolist():
        if number >= len(names):  # 255 and 65535: no part
            continue
        mask = RunMask.from_pixels(values == number)
        category, part = names[number]
        for whole in picture.annotations:
            if clean_category(whole.category) != clean_category(category):
                continue
            own = _intersection(mask, whole.mask)
            if own.area:
                key = f"{whole.key}/{number}"
                yield Annotation(key, own, whole.category, part, whole.key)


def _intersection(one: RunMask, other: RunMask) -> RunMask:
    return RunMask.from_pixels(one.pixels() & other.pixels())
