"""What a cell of a table says: sentences, and masks in any of their usual forms.

A mask is a PNG (its bytes, Hugging Face's {"bytes", "path"}, or the name of a file),
COCO's RLE, polygons, or JSON text of one of these; a list of masks is several. What is
not 0 in a PNG is the target. Source: ours.
"""

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np

from unires_jax import limits
from unires_jax.engine.importers.columns import TEXT, USUAL
from unires_jax.engine.part_sources.coco_file import sentences
from unires_jax.errors import DataError, Kind
from unires_jax.pixels.images import decode_png_mask, image_size
from unires_jax.pixels.masks import RunMask
from unires_jax.prepare.notes import Notes
from unires_jax.prepare.sources import coco
from unires_jax.prepare.sources.fields import parse_json, short

Find = Callable[[str], bytes]  # the bytes of a file by its name
_Size = tuple[int, int]  # height, width in pixels
_DEPTH = 4  # of lists within lists; ours


def texts(value: Any, notes: Notes) -> tuple[str, ...]:
    """The sentences of a cell: a text, a list of texts, or of objects that hold one.

    A list may also stand as JSON text, as in a CSV.
    """
    if isinstance(value, str) and value.lstrip()[:1] == "[":
        with contextlib.suppress(DataError):  # "[sic] a dog" is a sentence
            value = parse_json(value, "text")
    values = value if isinstance(value, list) else [value]
    return sentences([_words(one) for one in values[: limits.EXPRESSIONS]], notes)


def _words(value: Any) -> Any:
    """A text, or that of an object of fields."""
    if not isinstance(value, dict):
        return value
    names = (name for name in ("raw", *USUAL[TEXT]) if isinstance(value.get(name), str))
    name = next(names, None)
    return None if name is None else value[name]


def picture(value: Any, find: Find) -> tuple[str, bytes]:
    """The name, "" where there is none, and the bytes of a picture in a cell."""
    if isinstance(value, bytes):
        return "", _limited(value)
    if isinstance(value, dict):
        name = value.get("path")
        name = name if isinstance(name, str) else ""
        if isinstance(value.get("bytes"), bytes):
            return name, _limited(value["bytes"])
        value = name
    if isinstance(value, str) and value.strip():
        return value, find(value)
    raise DataError(
        f"image is {short(value)}, expected bytes or a name", kind=Kind.IMAGE_ABSENT
    )


def masks(value: Any, size: _Size, find: Find) -> list[RunMask]:
    """The masks of a cell, for a picture of `size` where they do not say their own.

    Raises DataError for what is no mask, has no pixel, or is one of two sizes.
    """
    read = [_mask(one, size, find) for one in _several(value)]
    if not read:
        raise DataError("mask: holds none", kind=Kind.MASK_EMPTY)
    if len({(mask.height, mask.width) for mask in read}) > 1:
        raise DataError("mask: of several sizes", kind=Kind.SIZE_DIFFERS)
    for mask in read:
        if not mask.area:
            raise DataError("mask: holds no pixel", kind=Kind.MASK_EMPTY)
    return read


def _several(value: Any, depth: int = 0) -> list[Any]:
    """The single masks within a cell."""
    if depth > _DEPTH:
        raise DataError("mask: lists within lists within lists are no mask")
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
        return _several(parse_json(value, "mask"), depth + 1)
    if not isinstance(value, list):
        return [] if value is None else [value]
    if not value or isinstance(value[0], (int, float)):
        return [value] if value else []
    if len(value) > limits.MASKS:
        raise DataError(f"mask: {len(value)} of one row, the limit is {limits.MASKS}")
    if all(map(_is_flat, value)):
        return [value]
    return [one for inner in value for one in _several(inner, depth + 1)]


def _is_flat(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(x, (int, float)) for x in value)


def _mask(value: Any, size: _Size, find: Find) -> RunMask:
    if isinstance(value, dict) and "counts" in value:
        return _from_rle(value, size)
    if isinstance(value, list):
        return _from_lists(value, size)
    if isinstance(value, (bytes, dict, str)):
        _, data = picture(value, find)
        try:
            image_size(data)
            return RunMask.from_pixels(decode_png_mask(data))
        except DataError as error:
            raise error.at("mask") from None
    raise DataError(
        f"mask is {short(value)}, expected a PNG, COCO's RLE or polygons; class "
        "numbers of a picture are no mask of a sentence"
    )


def _from_lists(value: list[Any], size: _Size) -> RunMask:
    """The mask of one outline, of several, of points, or of all pixels' values."""
    if not isinstance(value[0], list):
        return coco.read_segmentation([value], *size, "mask")
    lengths = {len(row) for row in value}
    if (len(value), *lengths) == size:
        return RunMask.from_pixels(np.array(value) != 0)
    if lengths == {2} and len(value) > 2:
        value = [[number for point in value for number in point]]
    return coco.read_segmentation(value, *size, "mask")


def _from_rle(value: dict[str, Any], size: _Size) -> RunMask:
    counts = value["counts"]
    if isinstance(counts, bytes):
        counts = counts.decode("ascii", "replace")
    stated = value.get("size") or list(size)
    whole = isinstance(stated, list) and len(stated) == 2
    if not whole or not all(type(n) is int for n in stated):
        raise DataError(f"mask: size is {short(stated)}, expected [height, width]")
    height, width = stated
    if not limits.plausible(height, width):
        raise DataError(f"mask: size {stated}: no picture's size")
    value = dict(value, size=stated, counts=counts)
    return coco.read_segmentation(value, height, width, "mask")


def _limited(data: bytes) -> bytes:
    if len(data) > limits.PICTURE_BYTES:
        raise DataError(
            f"has {len(data)} bytes, the limit is {limits.PICTURE_BYTES}",
            kind=Kind.IMAGE_UNREADABLE,
        )
    return data
