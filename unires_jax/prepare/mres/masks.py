"""One mask of MRES JSONL, in any of its three forms, as compressed RLE counts."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from unires_jax.errors import DataError
from unires_jax.pixels.masks import check_rle, encode_mask
from unires_jax.prepare.mres import files as mres_files
from unires_jax.prepare.mres.fields import Fields, fault, finite
from unires_jax.prepare.sources.fields import shorten

FORMS = ("rle", "polygons", "png")
_OUTSIDE = 1.0  # pixels by which a polygon or box may leave the picture; rounding


def read_rle(fields: Fields, folder: Path, height: int, width: int) -> str:
    """The compressed counts of the one form a mask is given in. Raises DataError."""
    given = [form for form in FORMS if fields.get(form) is not None]
    if len(given) != 1:
        raise fault(
            fields.place("rle"),
            "exactly one of rle, polygons, png",
            given,
            "give the mask once",
        )
    form = given[0]
    value, place = fields.get(form), fields.place(form)
    try:
        if form == "rle":
            counts = _from_rle(value, place, height, width)
        elif form == "polygons":
            counts = _from_polygons(value, place, height, width)
        else:
            counts = _from_png(fields.text("png"), folder, height, width)
    except DataError as error:
        named = str(error).startswith(place)
        raise error if named else DataError(f"{place}: {error}") from None
    if not coco_mask.area({"size": [height, width], "counts": counts.encode()}):
        raise fault(place, "at least one pixel", "none", "drop the mask, or redraw it")
    return counts


def read_polygons(fields: Fields) -> str:
    """The polygons, if the mask is given so, as JSON: some protocols redraw them."""
    found = fields.get("polygons")
    return "" if found is None else json.dumps(found)


def _from_rle(value: Any, place: str, height: int, width: int) -> str:
    fields = Fields(value, place, ("size", "counts"))
    if fields.get("size") != [height, width]:
        raise fields.fault(
            "size",
            f"the picture's [height, width] [{height}, {width}]",
            "masks are stored at the size of their picture",
        )
    counts = fields.get("counts")
    if isinstance(counts, list):
        return _compressed(fields, counts, height, width)
    if not isinstance(counts, str) or not counts.isascii():
        raise fields.fault(
            "counts", "COCO's compressed text or a list of runs", "use pycocotools"
        )
    check_rle(counts, height, width)
    return counts


def _compressed(fields: Fields, runs: list[Any], height: int, width: int) -> str:
    whole = all(type(n) is int and n >= 0 for n in runs)
    if not whole or sum(runs) != height * width:
        raise fields.fault(
            "counts",
            f"runs from 0 up whose sum is {height} x {width} = {height * width}",
            "the mask belongs to another size, or is cut",
        )
    item = {"size": [height, width], "counts": runs}
    return coco_mask.frPyObjects(item, height, width)["counts"].decode()


def _from_polygons(value: Any, place: str, height: int, width: int) -> str:
    if not isinstance(value, list) or not value:
        raise fault(
            place, "a list of polygons", value, "write [[x, y, x, y, ...], ...]"
        )
    for i, polygon in enumerate(value):
        _check_polygon(polygon, f"{place}[{i}]", height, width)
    merged = coco_mask.merge(coco_mask.frPyObjects(value, height, width))
    return merged["counts"].decode()


def _check_polygon(points: Any, place: str, height: int, width: int) -> None:
    flat = isinstance(points, list) and len(points) >= 6 and len(points) % 2 == 0
    if not flat or not finite(points):
        raise fault(
            place,
            "x, y of at least three points as one flat list of finite numbers",
            points,
            "write [x, y, x, y, x, y, ...]",
        )
    sides = ((points[::2], width), (points[1::2], height))
    if any(min(v) < -_OUTSIDE or max(v) > n + _OUTSIDE for v, n in sides):
        raise fault(
            place,
            f"points within the picture of {width} wide, {height} high",
            points,
            "cut the polygon at the border, or correct the size",
        )


def _from_png(name: str, folder: Path, height: int, width: int) -> str:
    data = mres_files.read_inside(folder, name)
    mres_files.check_size(data, height, width)
    grey = data.startswith(b"\x89PNG") and data[25:26] == b"\0"
    pixels = (
        cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        if grey and data.rfind(b"IEND") > 0
        else None
    )
    if pixels is None or pixels.shape != (height, width):
        raise DataError(
            "expected a whole greyscale PNG (0 = not the target), found something else "
            f"in {shorten(name)!r}; save the mask with one channel"
        )
    return encode_mask(pixels != 0)


def read_box(
    fields: Fields, rle: str, height: int, width: int
) -> tuple[float, float, float, float]:
    """The given box (x, y, width, height in pixels), or the mask's own extent."""
    if fields.get("bbox") is None:
        item = {"size": [height, width], "counts": rle.encode()}
        x, y, w, h = map(float, coco_mask.toBbox(item))
        return x, y, w, h
    x, y, w, h = fields.numbers("bbox", 4)
    right, bottom = width + _OUTSIDE, height + _OUTSIDE
    if min(x, y) < -_OUTSIDE or min(w, h) < 0 or x + w > right or y + h > bottom:
        raise fields.fault(
            "bbox",
            f"x, y, width, height within the picture of {width} wide, {height} high",
            "a box is not two corners; correct it or leave it out",
        )
    return x, y, w, h
