"""One mask of MRES JSONL, in any of its three forms."""

from collections.abc import Callable
from typing import Any

from unires_jax.errors import DataError, Kind, shorten
from unires_jax.pixels.images import check_size, decode_png_mask, is_one_channel_png
from unires_jax.pixels.masks import RunMask
from unires_jax.prepare.mres.fields import Fields, fault, finite
from unires_jax.prepare.pieces import whole_pieces

Read = Callable[[str], bytes]  # a file by its name; raises DataError without one
FORMS = ("rle", "polygons", "png")
_OUTSIDE = 1.0  # pixels by which a polygon or box may leave the picture; rounding


def read_mask(fields: Fields, read: Read, height: int, width: int) -> RunMask:
    """The mask from the one form it is in. Raises DataError."""
    forms = [form for form in FORMS if fields.get(form) is not None]
    if len(forms) != 1:
        raise fault(
            fields.place("rle"),
            "exactly one of rle, polygons, png",
            forms,
            "give the mask once",
        )
    form = forms[0]
    value, place = fields.get(form), fields.place(form)
    if form == "rle":
        mask = _from_rle(value, place, height, width)
    elif form == "polygons":
        mask = from_polygons(value, place, height, width)
    else:
        mask = _from_png(fields.text("png"), place, read, height, width)
    if not mask.area:
        raise fault(
            place,
            "at least one pixel",
            "none",
            "drop the mask, or redraw it",
            Kind.MASK_EMPTY,
        )
    return mask


def _from_rle(value: Any, place: str, height: int, width: int) -> RunMask:
    fields = Fields(value, place, ("size", "counts"))
    if fields.get("size") != [height, width]:
        raise fields.fault(
            "size",
            f"the picture's [height, width] [{height}, {width}]",
            "masks are stored at the size of their picture",
            Kind.SIZE_DIFFERS,
        )
    counts = fields.get("counts")
    if isinstance(counts, list):
        return _from_runs(fields, counts, height, width)
    if not isinstance(counts, str) or not counts.isascii():
        raise fields.fault(
            "counts", "COCO's compressed text or a list of runs", "use pycocotools"
        )
    try:
        return RunMask.from_counts(counts, height, width)
    except DataError as error:
        raise error.at(place) from None


def _from_runs(fields: Fields, runs: list[Any], height: int, width: int) -> RunMask:
    whole = all(type(n) is int and n >= 0 for n in runs)
    if not whole or sum(runs) != height * width:
        raise fields.fault(
            "counts",
            f"runs from 0 up whose sum is {height} x {width} = {height * width}",
            "the mask belongs to another size, or is cut",
            Kind.SIZE_DIFFERS,
        )
    return RunMask.from_runs(runs, height, width)


def from_polygons(value: Any, place: str, height: int, width: int) -> RunMask:
    """The union of polygons, but for stray pieces.

    Raises DataError naming `place` unless they fit.
    """
    if not isinstance(value, list) or not value:
        raise fault(
            place, "a list of polygons", value, "write [[x, y, x, y, ...], ...]"
        )
    pieces = whole_pieces(value)
    for i, polygon in pieces.items():
        _check_polygon(polygon, f"{place}[{i}]", height, width)
    try:
        masks = RunMask.from_polygons(list(pieces.values()), height, width)
    except DataError as error:
        raise error.at(place) from None
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
            Kind.SIZE_DIFFERS,
        )


def _from_png(name: str, place: str, read: Read, height: int, width: int) -> RunMask:
    try:
        data = read(name)
        check_size(data, height, width, field="")
    except DataError as error:
        raise error.at(place) from None
    try:
        if is_one_channel_png(data):
            return RunMask.from_pixels(decode_png_mask(data))
    except DataError:
        pass
    raise DataError(
        "expected a whole PNG of one channel, grey or with a palette (0 = not the "
        f"target), found something else in {shorten(name)!r}; save the mask so",
        place=place,
    )


def read_box(fields: Fields, mask: RunMask) -> tuple[float, float, float, float]:
    """The box in the line (x, y, width, height in pixels), or the mask's extent."""
    if fields.get("bbox") is None:
        return mask.bbox
    x, y, w, h = fields.numbers("bbox", 4)
    height, width = mask.height, mask.width
    if not is_within((x, y, w, h), height, width):
        raise fields.fault(
            "bbox",
            f"x, y, width, height within the picture of {width} wide, {height} high",
            "a box is not two corners; correct it or leave it out",
            Kind.SIZE_DIFFERS,
        )
    return x, y, w, h


def is_within(box: tuple[float, float, float, float], height: int, width: int) -> bool:
    """Whether a box lies within a picture, but for rounding."""
    x, y, w, h = box
    right, bottom = width + _OUTSIDE, height + _OUTSIDE
    inside = min(x, y) >= -_OUTSIDE and x + w <= right and y + h <= bottom
    return inside and min(w, h) >= 0
