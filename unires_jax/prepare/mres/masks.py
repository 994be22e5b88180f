"""One mask of MRES JSONL, in any of its three forms."""

import json
from pathlib import Path
from typing import Any

from unires_jax import files
from unires_jax.errors import DataError, Kind, shorten
from unires_jax.pixels.images import check_size, decode_png_mask, is_grey_png
from unires_jax.pixels.masks import RunMask
from unires_jax.prepare.mres.fields import Fields, fault, finite

FORMS = ("rle", "polygons", "png")
_OUTSIDE = 1.0  # pixels by which a polygon or box may leave the picture; rounding


def read_mask(fields: Fields, folder: Path, height: int, width: int) -> RunMask:
    """The mask from the one form it is given in. Raises DataError."""
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
            mask = _from_rle(value, place, height, width)
        elif form == "polygons":
            mask = _from_polygons(value, place, height, width)
        else:
            mask = _from_png(fields.text("png"), folder, height, width)
    except DataError as error:
        raise error if str(error).startswith(place) else error.at(place) from None
    if not mask.area:
        raise fault(place, "at least one pixel", "none", "drop the mask, or redraw it")
    return mask


def read_polygons(fields: Fields) -> str:
    """The polygons, if the mask is given so, as JSON: some protocols redraw them."""
    found = fields.get("polygons")
    return "" if found is None else json.dumps(found)


def _from_rle(value: Any, place: str, height: int, width: int) -> RunMask:
    fields = Fields(value, place, ("size", "counts"))
    if fields.get("size") != [height, width]:
        raise fields.fault(
            "size",
            f"the picture's [height, width] [{height}, {width}]",
            "masks are stored at the size of their picture",
        )
    counts = fields.get("counts")
    if isinstance(counts, list):
        return _from_runs(fields, counts, height, width)
    if not isinstance(counts, str) or not counts.isascii():
        raise fields.fault(
            "counts", "COCO's compressed text or a list of runs", "use pycocotools"
        )
    return RunMask.from_counts(counts, height, width)


def _from_runs(fields: Fields, runs: list[Any], height: int, width: int) -> RunMask:
    whole = all(type(n) is int and n >= 0 for n in runs)
    if not whole or sum(runs) != height * width:
        raise fields.fault(
            "counts",
            f"runs from 0 up whose sum is {height} x {width} = {height * width}",
            "the mask belongs to another size, or is cut",
        )
    return RunMask.from_runs(runs, height, width)


def _from_polygons(value: Any, place: str, height: int, width: int) -> RunMask:
    if not isinstance(value, list) or not value:
        raise fault(
            place, "a list of polygons", value, "write [[x, y, x, y, ...], ...]"
        )
    for i, polygon in enumerate(value):
        _check_polygon(polygon, f"{place}[{i}]", height, width)
    masks = [RunMask.from_polygon(polygon, height, width) for polygon in value]
    return RunMask.union(masks, height, width)


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


def _from_png(name: str, folder: Path, height: int, width: int) -> RunMask:
    data = files.read_inside(folder, name)
    check_size(data, height, width, field="")
    try:
        if is_grey_png(data):
            return RunMask.from_pixels(decode_png_mask(data))
    except DataError:
        pass
    raise DataError(
        f"expected a whole greyscale PNG (0 = not the target), found something else in "
        f"{shorten(name)!r}; save the mask with one channel",
        kind=Kind.IMAGE_UNREADABLE,
    )


def read_box(fields: Fields, mask: RunMask) -> tuple[float, float, float, float]:
    """The given box (x, y, width, height in pixels), or the mask's own extent."""
    if fields.get("bbox") is None:
        x, y, w, h = map(float, mask.box)
        return x, y, w, h
    x, y, w, h = fields.numbers("bbox", 4)
    height, width = mask.height, mask.width
    right, bottom = width + _OUTSIDE, height + _OUTSIDE
    if min(x, y) < -_OUTSIDE or min(w, h) < 0 or x + w > right or y + h > bottom:
        raise fields.fault(
            "bbox",
            f"x, y, width, height within the picture of {width} wide, {height} high",
            "a box is not two corners; correct it or leave it out",
        )
    return x, y, w, h
