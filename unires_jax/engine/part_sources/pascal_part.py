"""Pascal-Part: parts of VOC 2010's things, as .mat or as COCO JSON made of them.

Source of the formats: Pascal-Part's .mat (`anno.objects[].parts[]`), and the JSON of
VLPart and Osprey, whose categories are "dog:head" or "dog's head" and which marks no
object: a part is then named only where the picture has one of it.
"""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from unires_jax.engine.part_sources import mat5
from unires_jax.engine.part_sources.coco import split_name
from unires_jax.engine.part_sources.coco_file import CocoFile
from unires_jax.engine.part_sources.form import (
    Asked,
    Form,
    Opened,
    SourceFiles,
    WrongForm,
)
from unires_jax.engine.part_sources.json_lists import JsonLists
from unires_jax.engine.part_sources.mat_names import full_name
from unires_jax.engine.part_sources.regions import AnnotatedPicture, Annotation
from unires_jax.errors import DataError
from unires_jax.limits import plausible
from unires_jax.pixels.masks import RunMask
from unires_jax.prepare.rejects import Rejects
from unires_jax.prepare.sources.coco import Image
from unires_jax.prepare.sources.fields import get

_THINGS = """
aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike
person pottedplant sheep sofa train tvmonitor
"""
THINGS = frozenset(_THINGS.split())
MAT_BYTES = 1 << 28  # of one file, unpacked; the largest has some 30 MB
Struct = dict[str, Any]  # of a .mat file, by field


def matches(file: CocoFile) -> bool:
    """Whether a COCO JSON is made of Pascal-Part: only VOC's things, with parts."""
    names = [split_name(c.name) for c in file.categories.values()]
    things = {n.category.replace(" ", "") for n in names}
    return any(n.part for n in names) and things <= THINGS


@contextlib.contextmanager
def open_source(path: Path, rejects: Rejects, asked: Asked) -> Iterator[Opened]:
    """The pictures of a folder of .mat files, or of a JSON."""
    if path.is_dir():
        files = sorted(path.glob("*.mat")) or sorted(path.rglob("*.mat"))
        if not files:
            raise WrongForm("holds no .mat file", place=str(path))
        rejects.expect(len(files))
        source = SourceFiles(path, asked.follow_links)
        yield Opened(len(files), _mats(source, files, rejects))
        return
    with JsonLists.open(path) as lists:
        file = CocoFile(lists, rejects)
        if not matches(file):
            raise WrongForm(
                'categories are not "dog:head" or "dog\'s head" of VOC\'s things',
                place=str(path),
            )
        names = {k: split_name(c.name) for k, c in file.categories.items()}
        yield Opened(len(file.images), file.pictures(names))


def _mats(
    source: SourceFiles, files: list[Path], rejects: Rejects
) -> Iterator[AnnotatedPicture]:
    for path in files:
        try:
            yield read_mat(path.stem, source.read(path))
        except DataError as error:
            rejects.note(str(path), error)


def read_mat(name: str, content: bytes) -> AnnotatedPicture:
    """The picture of a .mat file; VOC's number in its name is its id (2008_000002).

    Raises DataError for another file.
    """
    number = re.sub(r"\D", "", name)
    if not number or len(number) > 18:
        raise DataError("expected a name as 2008_000002.mat")
    variables = mat5.read(content, MAT_BYTES)
    if len(anno := _structs(variables.get("anno"), "anno")) != 1:
        raise DataError(f"{len(anno)} of them, expected one", place="anno")
    return _picture(anno[0], int(number), name)


def _picture(anno: Struct, number: int, name: str) -> AnnotatedPicture:
    annotations: list[Annotation] = []
    for i, thing in enumerate(_structs(anno.get("objects"), "objects")):
        category = get(thing, "class", str, "objects")
        whole = _mask(thing, "objects")
        annotations.append(Annotation(f"o{i}", whole, category))
        for j, part in enumerate(_structs(thing.get("parts"), "parts")):
            mask = _mask(part, "parts")
            named = full_name(get(part, "part_name", str, "parts"))
            if mask.area:
                annotations.append(
                    Annotation(f"o{i}p{j}", mask, category, named, f"o{i}")
                )
    if not annotations:
        raise DataError("marks nothing")
    first = annotations[0].mask
    if len({(a.mask.height, a.mask.width) for a in annotations}) > 1:
        raise DataError("its masks have several sizes")
    image = Image(number, f"{name}.jpg", first.height, first.width)
    return AnnotatedPicture(image, tuple(annotations))


def _structs(value: Any, field: str) -> list[Struct]:
    """The structs of a field: an array of them, cells of one each, or nothing."""
    if isinstance(value, np.ndarray) and not value.size:
        return []
    structs: list[Struct] = []
    for cell in value if isinstance(value, list) else [value]:
        for one in cell if isinstance(cell, list) else [cell]:
            if not isinstance(one, dict):
                raise DataError("expected structs; is it of Pascal-Part?", place=field)
            structs.append(one)
    return structs


def _mask(thing: Struct, field: str) -> RunMask:
    pixels = thing.get("mask")
    if not isinstance(pixels, np.ndarray) or pixels.ndim != 2:
        raise DataError("expected a mask of height and width", place=field)
    if not plausible(*pixels.shape):
        raise DataError(f"a mask of {pixels.shape} is none of a picture", place=field)
    return RunMask.from_pixels(pixels != 0)


FORM = Form(
    "pascal_part",
    "Pascal-Part",
    "the folder Annotations_Part of .mat files, or VLPart's or Osprey's JSON",
    "none is stated; pictures under Flickr's terms (VOC)",
    True,
    open_source,
    asks=True,
)
