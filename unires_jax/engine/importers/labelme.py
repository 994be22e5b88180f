"""LabelMe: a JSON a picture, outlines as shapes, the picture within it or beside it.

Source of the format: labelme's own reader and `shape_to_mask`. Shapes of one label and
`group_id` are one thing; a part ("dog:head") belongs to the thing of its group.
"""

import base64
import binascii
import contextlib
import dataclasses
import math
import posixpath
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unires_jax.engine.importers import outlines
from unires_jax.engine.part_sources.coco import split_name
from unires_jax.engine.part_sources.coco_file import sentences
from unires_jax.engine.part_sources.form import (
    Asked,
    Form,
    Opened,
    SourceFiles,
    WrongForm,
)
from unires_jax.engine.part_sources.json_lists import json_files
from unires_jax.engine.part_sources.regions import AnnotatedPicture, Annotation, Key
from unires_jax.errors import DataError, Kind
from unires_jax.limits import MASKS, plausible
from unires_jax.pixels.images import decode_png_mask, image_size
from unires_jax.pixels.masks import RunMask
from unires_jax.prepare.notes import Notes
from unires_jax.prepare.rejects import Rejects
from unires_jax.prepare.sources.coco import Image
from unires_jax.prepare.sources.fields import check, get, numbers, read_json, short

_NO_REGION = ("point", "points", "line", "linestrip")


@contextlib.contextmanager
def open_source(path: Path, rejects: Rejects, asked: Asked) -> Iterator[Opened]:
    """The pictures of a folder of JSON files, however deep, or of one."""
    files = json_files(path) if path.is_dir() else [path]
    if not files:
        raise WrongForm("holds no .json file", place=str(path))
    if not path.is_dir() and not is_labelme(path):
        raise WrongForm("has no shapes", place=str(path))
    source = SourceFiles(path, asked.follow_links)
    yield Opened(len(files), _pictures(source, files, rejects))


def is_labelme(path: Path) -> bool:
    """Whether a JSON file is one picture of LabelMe's."""
    content = read_json(path)
    return isinstance(content, dict) and "shapes" in content


def _pictures(
    source: SourceFiles, files: Sequence[Path], rejects: Rejects
) -> Iterator[AnnotatedPicture]:
    for number, path in enumerate(files):
        rejects.expect(1)
        try:
            yield read_picture(source, path, number, rejects)
        except DataError as error:
            rejects.note(str(path), error)


def read_picture(
    source: SourceFiles, path: Path, number: int, rejects: Rejects
) -> AnnotatedPicture:
    """The picture of a file; `number` is its id. Raises DataError."""
    content = read_json(source.checked(path))
    shapes = get(content, "shapes", list, "")
    if len(shapes) > MASKS:
        raise DataError(f"{len(shapes)} shapes, the limit is {MASKS}")
    data = _embedded(content)
    height, width = _size(content, data)
    things: dict[Key, list[Annotation]] = {}
    rejects.expect(len(shapes))
    for i, shape in enumerate(shapes):
        place = f"shapes[{i}]"
        try:
            thing = _annotation(shape, i, height, width, rejects.notes)
        except DataError as error:
            rejects.note(f"{path}: {place}", error)
            continue
        if thing is not None:
            things.setdefault(thing.key, []).append(thing)
    own = path.relative_to(source.root).as_posix()
    name = get(content, "imagePath", str, "", "") or f"{path.stem}.png"
    names = _names(posixpath.dirname(own), name.replace("\\", "/"))
    if data is not None:
        names = (posixpath.splitext(own)[0] + posixpath.splitext(names[0])[1], *names)
    return AnnotatedPicture(
        image=Image(number, names[0], height, width),
        annotations=tuple(map(_union, things.values())),
        merged=True,
        data=data,
        also=names[1:],
    )


def _names(folder: str, name: str) -> tuple[str, ...]:
    """Under which names the picture may lie, that beside the JSON first."""
    beside = posixpath.normpath(posixpath.join(folder, name))
    while beside.startswith("../"):
        beside = beside.removeprefix("../")
    return beside.lstrip("/"), posixpath.basename(name)


def _embedded(content: Any) -> bytes | None:
    text = get(content, "imageData", str, "", "")
    return _from_base64(text, "imageData") if text else None


def _from_base64(text: str, place: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise DataError(f"is no base64: {error}; save it again", place=place) from None


def _size(content: Any, data: bytes | None) -> tuple[int, int]:
    if data is not None:
        return image_size(data)
    height, width = (
        get(content, name, int, "") for name in ("imageHeight", "imageWidth")
    )
    if not plausible(height, width):
        raise DataError(f"imageHeight, imageWidth {height}, {width}: no picture's size")
    return height, width


def _annotation(
    shape: Any, index: int, height: int, width: int, notes: Notes
) -> Annotation | None:
    """A shape; None for one that is no region."""
    kind = get(shape, "shape_type", str, "", "polygon")
    if kind in _NO_REGION:
        notes.add(f"shapes that are no region are passed over: {kind}")
        return None
    label = get(shape, "label", str, "")
    group = get(shape, "group_id", int, "", -1)
    named = split_name(label)
    whole = _key(named.category, group) if named.part and group >= 0 else None
    return Annotation(
        key=_key(label, group) if group >= 0 else index,
        mask=_mask(shape, kind, height, width),
        category=named.category,
        part=named.part,
        parent=whole,
        captions=sentences([shape.get("description")], notes),
    )


def _key(label: str, group: int) -> str:
    return f"{label}#{group}"


def _mask(shape: Any, kind: str, height: int, width: int) -> RunMask:
    points = [
        (x, y)
        for x, y in (
            numbers(p, 2, "", "points") for p in get(shape, "points", list, "")
        )
    ]
    if kind in ("rectangle", "circle", "mask") and len(points) != 2:
        raise DataError(f"{len(points)} points of a {kind}, expected 2", place="points")
    if kind == "mask":
        return _pasted(shape, points[0], height, width)
    if kind == "rectangle":
        points = outlines.rectangle(*points)
    elif kind == "circle":
        radius = math.dist(*points)
        points = outlines.ellipse(points[0], radius, radius)
    elif kind not in ("polygon", "oriented_rectangle"):
        raise DataError(f"shape_type {short(kind)} is not known")
    return outlines.filled(points, height, width)


def _pasted(
    shape: Any, corner: tuple[float, float], height: int, width: int
) -> RunMask:
    """A mask of its own size, put where its first point is."""
    text = check(shape.get("mask"), str, "", "mask")
    patch = decode_png_mask(_from_base64(text, "mask"))
    x, y = (round(v) for v in corner)
    if not (-width <= x <= width and -height <= y <= height):
        raise DataError("lies outside the picture", place="points")
    pixels = np.zeros((height, width), bool)
    inside = patch[max(-y, 0) : height - y, max(-x, 0) : width - x]
    top, left = max(y, 0), max(x, 0)
    pixels[top : top + inside.shape[0], left : left + inside.shape[1]] = inside
    if not pixels.any():
        raise DataError("its mask holds no pixel; redraw it", kind=Kind.MASK_EMPTY)
    return RunMask.from_pixels(pixels)


def _union(shapes: Sequence[Annotation]) -> Annotation:
    """The thing that several shapes are."""
    first = shapes[0]
    if len(shapes) == 1:
        return first
    masks = [shape.mask for shape in shapes]
    return dataclasses.replace(
        first,
        mask=RunMask.union(masks, first.mask.height, first.mask.width),
        captions=tuple(dict.fromkeys(c for shape in shapes for c in shape.captions)),
    )


FORM = Form(
    "labelme",
    "LabelMe",
    "a folder of its JSON files, `description` as the sentence of a shape",
    "its own",
    True,
    open_source,
    upright=True,
    asks=True,
)
