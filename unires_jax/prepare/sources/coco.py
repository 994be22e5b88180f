"""COCO's instances.json: images, categories, and annotations as masks.

Source of the format: the COCO data format; polygons, uncompressed and compressed RLE.
"""

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

from unires_jax import limits
from unires_jax.data.records import Mask
from unires_jax.errors import DataError, Kind
from unires_jax.limits import plausible
from unires_jax.pixels.masks import RunMask
from unires_jax.prepare.notes import Notes
from unires_jax.prepare.pieces import STRAY, whole_pieces
from unires_jax.prepare.sources.fields import (
    Remembered,
    check,
    get,
    is_key,
    numbers,
    read_json,
)

_NUMBER = re.compile(r"(\d{12})(?:_\d+)?\.\w+$")


class Image(NamedTuple):
    """An entry of an image list."""

    image_id: int  # COCO's own, in every form
    filename: str
    height: int  # pixels
    width: int


class Instances:
    """An index of instances.json; entries are checked when they are asked for."""

    def __init__(self, content: Any, where: str, notes: Notes | None = None) -> None:
        self.where = where
        self._notes, self._masks = notes, Remembered(self._mask)
        self._images = _by_id(content, "images", where)
        self._annotations = _by_id(content, "annotations", where)
        self._categories = _by_id(content, "categories", where)

    @classmethod
    def open(cls, path: str | Path, notes: Notes | None = None) -> "Instances":
        """The index of a file. Raises DataError if it is no instances.json."""
        return cls(read_json(path), str(path), notes)

    def image(self, image_id: int) -> Image:
        """The image of an id. Raises DataError if it is not listed."""
        entry = self._images.get(image_id)
        if entry is None:
            raise DataError(
                f"not among the images of {self.where}", place=f"image_id {image_id}"
            )
        return image(entry, f"{self.where}: image {image_id}")

    def category(self, category_id: int) -> str:
        """The name of a category; "" if the file does not list it."""
        entry = self._categories.get(category_id)
        if entry is None:
            return ""
        return get(entry, "name", str, f"{self.where}: category {category_id}", "")

    def mask(self, ann_id: int, image_id: int) -> Mask:
        """An annotation as a mask. Raises DataError unless it lies on that image.

        It is read once, however many referents name it: some cost seconds.
        """
        return self._masks((ann_id, image_id))

    def _mask(self, named: tuple[int, int]) -> Mask:
        ann_id, image_id = named
        entry = self._annotations.get(ann_id)
        if entry is None:
            raise DataError(
                f"not among the annotations of {self.where}; the referent's mask is "
                "lost",
                place=f"ann_id {ann_id}",
                kind=Kind.MASK_EMPTY,
            )
        place = f"{self.where}: annotation {ann_id}"
        on = get(entry, "image_id", int, place)
        if on != image_id:
            raise DataError(
                f"lies on image {on}, the referent on {image_id}", place=place
            )
        size = self.image(image_id)
        category = self.category(get(entry, "category_id", int, place))
        return mask(entry, size.height, size.width, category, place, self._notes)


def number(filename: str) -> int | None:
    """COCO's image id in a file name, with or without a referent's suffix."""
    match = _NUMBER.search(filename)
    return int(match[1]) if match else None


def _by_id(content: Any, name: str, place: str) -> dict[int, Any]:
    """The entries of a list by their id; entries without one cannot be asked for.

    Raises DataError if an id occurs twice with different content.
    """
    entries: dict[int, Any] = {}
    if name == "categories" and name not in content:
        return entries
    for entry in get(content, name, list, place):
        key: Any = entry.get("id") if isinstance(entry, dict) else None
        first = entries.setdefault(key, entry) if is_key(key) else entry
        if first is not entry and first != entry:
            raise DataError(
                f"id {key} occurs twice, not the same; drop one, or fetch the file "
                "again",
                place=f"{place}: {name}",
                kind=Kind.ID_TWICE,
            )
    return entries


def image(entry: Any, place: str) -> Image:
    """An entry of an image list. Raises DataError naming what is wrong."""
    height, width = (get(entry, n, int, place) for n in ("height", "width"))
    if not plausible(height, width):
        raise DataError(
            f"height, width {height}, {width}: no image's size", place=place
        )
    filename = get(entry, "file_name", str, place)
    return Image(get(entry, "id", int, place), filename, height, width)


def mask(
    entry: Any,
    height: int,
    width: int,
    category: str,
    place: str,
    notes: Notes | None = None,
) -> Mask:
    """An annotation as a mask over an image: the union of its pieces.

    `area` is counted on the decoded mask, `segmentation` keeps polygons as they are,
    but for stray pieces, which go to `notes`. Raises DataError naming what is wrong.
    """
    pieces = entry.get("segmentation") if isinstance(entry, dict) else None
    if isinstance(pieces, list):
        whole = list(whole_pieces(pieces).values())
        if notes and len(whole) < len(pieces):
            notes.add(STRAY, place)
        pieces = whole
    runs = read_segmentation(pieces, height, width, f"{place}: segmentation")
    x, y, w, h = runs.bbox
    if box := get(entry, "bbox", list, place, []):
        x, y, w, h = numbers(box, 4, place, "bbox")
    category_id, crowd = get(entry, "category_id", int, place, 0), entry.get("iscrowd")
    ann_id = get(entry, "id", int, place)
    if not -(2**31) <= category_id < 2**31:
        raise DataError(f"category_id {category_id}: expected 32 bits", place=place)
    return Mask(
        ann_id=ann_id,
        category=category,
        category_id=category_id,
        rle=runs.counts,
        bbox=(x, y, w, h),
        area=float(runs.area),
        iscrowd=crowd is True or crowd == 1,
        segmentation=json.dumps(pieces) if isinstance(pieces, list) else "",
    )


def read_segmentation(pieces: Any, height: int, width: int, place: str) -> RunMask:
    """The mask of polygons, of uncompressed or of compressed RLE.

    Raises DataError unless the pieces fit an image of height x width pixels.
    """
    if isinstance(pieces, list):
        return _read_polygons(pieces, height, width, place)
    size = [check(n, int, place, "size") for n in get(pieces, "size", list, place)]
    if size != [height, width]:
        raise DataError(
            f"size {size}, the image has {[height, width]}",
            place=place,
            kind=Kind.SIZE_DIFFERS,
        )
    counts = pieces.get("counts")
    try:
        if isinstance(counts, list):
            runs = [check(n, int, "", "counts") for n in counts]
            return RunMask.from_runs(runs, height, width)
        return RunMask.from_counts(get(pieces, "counts", str, ""), height, width)
    except DataError as error:
        raise error.at(place) from None


def _read_polygons(pieces: list[Any], height: int, width: int, place: str) -> RunMask:
    if not pieces:
        raise DataError("is empty, expected at least one polygon", place=place)
    polygons = [
        _polygon(p, height, width, f"{place}[{i}]") for i, p in enumerate(pieces)
    ]
    try:
        masks = RunMask.from_polygons(polygons, height, width)
    except DataError as error:
        raise error.at(place) from None
    return RunMask.union(masks, height, width)


def _polygon(piece: Any, height: int, width: int, place: str) -> list[float]:
    """x, y, x, y, ...: at least three points, none further out than an image's size.

    With two points pycocotools would read a box; far points would cost it memory.
    """
    points = check(piece, list, "", place)
    if len(points) < 6 or len(points) % 2 or len(points) > 2 * limits.POINTS:
        raise DataError(
            f"{len(points)} numbers are no polygon of x, y pairs", place=place
        )
    corners = [check(v, float, "", place) for v in points]
    if not (
        all(-width <= x <= 2 * width for x in corners[::2])
        and all(-height <= y <= 2 * height for y in corners[1::2])
    ):
        raise DataError(
            f"lies outside the image of {height} x {width}",
            place=place,
            kind=Kind.SIZE_DIFFERS,
        )
    return corners
