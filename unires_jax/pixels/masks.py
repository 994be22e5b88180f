"""Masks as lists of runs, column by column, as COCO's RLE stores them.

Intersections and PIL's NEAREST squash are taken on the runs: no mask is decoded, and
the cost follows the outline instead of the pixels. The algorithms are ours.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, no_type_check

import numpy as np
from jaxtyping import Bool, Int64, Shaped
from pycocotools import mask as coco_mask

from unires_jax.errors import DataError
from unires_jax.pixels.compiled import compiled

RLE = Mapping[str, Any]  # {"size": [height, width], "counts": compressed or runs}
MaskLike = Shaped[np.ndarray, "_ _"] | RLE  # an array is a mask where it is not 0


class Runs(NamedTuple):
    """The pixels of a mask: [start, end) in column-major order, sorted, disjoint."""

    spans: Int64[np.ndarray, "r 2"]
    area: int  # pixels
    height: int
    width: int

    def decode(self) -> Bool[np.ndarray, "h w"]:
        """The mask itself."""
        flat = np.zeros(self.height * self.width, bool)
        for start, end in self.spans:
            flat[start:end] = True
        return flat.reshape(self.width, self.height).T


def as_rle(mask: MaskLike) -> dict[str, Any]:
    """COCO's compressed RLE of a mask: `size` and `counts` (bytes).

    Raises DataError for runs that do not fill the size, ValueError for an array that is
    not [height, width].
    """
    if not isinstance(mask, Mapping):
        pixels = np.asarray(mask)
        if pixels.ndim != 2:
            raise ValueError(f"a mask is [height, width], found {pixels.shape}")
        return dict(coco_mask.encode(np.asfortranarray(pixels != 0, np.uint8)))
    height, width = (int(n) for n in mask["size"])
    counts = mask["counts"]
    if isinstance(counts, str):
        counts = counts.encode()
    elif not isinstance(counts, bytes):  # uncompressed
        runs = [int(n) for n in counts]
        if sum(runs) != height * width or min(runs, default=0) < 0:
            raise DataError(
                f"rle: runs of {sum(runs)} pixels, its size is {height} x {width}"
            )
        plain = {"size": [height, width], "counts": runs}
        counts = coco_mask.frPyObjects(plain, height, width)["counts"]
    return {"size": [height, width], "counts": counts}


def parse(mask: MaskLike) -> Runs:
    """The runs of an array or of RLE. Raises DataError unless it fits its size."""
    rle: RLE = as_rle(mask) if not isinstance(mask, Mapping) else mask
    if not isinstance(rle["counts"], (str, bytes)):
        rle = as_rle(rle)
    height, width = rle["size"]
    counts = rle["counts"]
    data = counts.encode() if isinstance(counts, str) else counts
    spans, area, valid = intervals(np.frombuffer(data, np.uint8), height * width)
    if not valid:
        text = counts if isinstance(counts, str) else counts.decode("latin1")
        check_rle(text, height, width)  # slow, and knows the words
        raise DataError("rle: not valid compressed counts")
    return Runs(spans, area, height, width)


def from_rle(rle: str, height: int, width: int) -> Runs:
    """The runs of a record's mask. Raises DataError unless it fits the size."""
    return parse({"size": (height, width), "counts": rle})


def intersection_union(a: Runs, b: Runs) -> tuple[int, int]:
    """Pixels in both, and in either. Raises ValueError if sizes differ."""
    if (a.height, a.width) != (b.height, b.width):
        raise ValueError(
            f"prediction is {(a.height, a.width)}, target is {(b.height, b.width)} "
            "(height, width); both must have the original picture's size"
        )
    shared = int(_shared(a.spans, b.spans))
    return shared, a.area + b.area - shared


@compiled
@no_type_check
def _shared(a, b):
    """Pixels in both of two sorted lists of spans."""
    total = i = j = 0
    while i < a.shape[0] and j < b.shape[0]:
        end = min(a[i, 1], b[j, 1])
        total += max(0, end - max(a[i, 0], b[j, 0]))
        if a[i, 1] == end:
            i += 1
        else:
            j += 1
    return total


def union(masks: Sequence[Runs], height: int, width: int) -> Runs:
    """Pixels in any of the masks of one size."""
    return masks[0] if len(masks) == 1 else _covered(masks, height, width, None)


def once(masks: Sequence[Runs], height: int, width: int) -> Runs:
    """Pixels in exactly one of the masks of one size."""
    return masks[0] if len(masks) == 1 else _covered(masks, height, width, 1)


def _covered(masks: Sequence[Runs], height: int, width: int, times: int | None) -> Runs:
    """Pixels that so many masks (None: any number) cover."""
    starts = [m.spans[:, 0] for m in masks]
    ends = [m.spans[:, 1] for m in masks]
    edges = np.concatenate([np.empty(0, np.int64), *starts, *ends])
    steps = np.repeat([1, -1], len(edges) // 2)
    order = np.argsort(edges, kind="stable")
    edges, depth = edges[order], np.cumsum(steps[order])
    inside = (depth > 0) if times is None else (depth == times)
    spans = np.stack([edges[:-1], edges[1:]], axis=1)[inside[:-1]]
    spans = spans[spans[:, 0] < spans[:, 1]]
    return Runs(spans, int((spans[:, 1] - spans[:, 0]).sum()), height, width)


def squash(mask: Runs, grid: int) -> Runs:
    """The mask resized to grid x grid as PIL's NEAREST does, pixel for pixel."""
    if (mask.height, mask.width) == (grid, grid):
        return mask
    columns, _ = _nearest(mask.width, grid)
    _, rows = _nearest(mask.height, grid)
    spans, area = _squash(mask.spans, mask.height, columns, rows)
    return Runs(spans, area, grid, grid)


@functools.lru_cache(maxsize=2048)
def _nearest(
    source: int, target: int
) -> tuple[Int64[np.ndarray, "t"], Int64[np.ndarray, "s"]]:
    """The source pixel of each target pixel, and how many lie before each source pixel.

    PIL adds the scale up pixel by pixel; its rounding decides ties at whole numbers
    (19 of the widths 1 to 1299 differ from one multiplication each at 480).
    """
    scale = source / target
    steps = np.full(target, scale)
    steps[0] = scale / 2
    pixels = np.add.accumulate(steps).astype(np.int64).clip(max=source - 1)
    return pixels, np.searchsorted(pixels, np.arange(source + 1))


@compiled
@no_type_check
def _squash(spans, height, columns, rows):
    """Spans on the grid: `columns` are source columns, rows[y] targets before y."""
    grid = columns.size
    # As many as there can be; pages that are never written cost nothing.
    found = np.empty((grid * (grid // 2 + 1), 2), np.int64)
    count = area = first = 0
    for x in range(grid):
        left = columns[x] * height
        while first < spans.shape[0] and spans[first, 1] <= left:
            first += 1
        i = first
        while i < spans.shape[0] and spans[i, 0] < left + height:
            top = rows[max(spans[i, 0] - left, 0)]
            bottom = rows[min(spans[i, 1] - left, height)]
            i += 1
            if bottom == top:
                continue
            area += bottom - top
            if count and found[count - 1, 1] == x * grid + top:
                found[count - 1, 1] = x * grid + bottom
            else:
                found[count, 0] = x * grid + top
                found[count, 1] = x * grid + bottom
                count += 1
    return found[:count].copy(), area


def encode_mask(mask: Bool[np.ndarray, "H W"]) -> str:
    """COCO's compressed RLE counts of a mask."""
    return coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))["counts"].decode()


def decode_mask(rle: str, height: int, width: int) -> Bool[np.ndarray, "H W"]:
    """The mask of compressed RLE counts. Raises DataError unless they fill the size."""
    check_rle(rle, height, width)
    return coco_mask.decode({"size": [height, width], "counts": rle.encode()}).view(
        bool
    )


def union_rle(rles: Sequence[str], height: int, width: int) -> str:
    """The compressed RLE counts of the union of masks of one size."""
    if len(rles) == 1:
        return rles[0]
    items = [{"size": [height, width], "counts": r.encode()} for r in rles]
    return coco_mask.merge(items)["counts"].decode() if rles else _empty(height, width)


def _empty(height: int, width: int) -> str:
    return encode_mask(np.zeros((height, width), bool))


def run_lengths(rle: str) -> list[int]:
    """The run lengths of compressed RLE counts, zeros first (column-major).

    Raises DataError on characters outside the alphabet, a cut number or a negative run.
    pycocotools itself writes past its buffer on such input, so this check goes first.
    """
    runs: list[int] = []
    value = shift = 0
    for char in rle.encode():
        digit = char - 48
        if not 0 <= digit < 64 or shift > 60:
            raise DataError(
                f"rle: invalid character {chr(char)!r}; expected the counts of "
                "pycocotools, as text"
            )
        value |= (digit & 31) << shift
        shift += 5
        if digit & 32:
            continue
        if digit & 16:
            value -= 1 << shift
        if len(runs) > 2:
            value += runs[-2]
        if value < 0:
            raise DataError(f"rle: run {len(runs)} is negative")
        runs.append(value)
        value = shift = 0
    if shift:
        raise DataError("rle: ends within a number")
    return runs


def check_rle(rle: str, height: int, width: int) -> None:
    """Raise DataError unless the counts are valid and fill height x width."""
    total = sum(run_lengths(rle))
    if total != height * width:
        raise DataError(
            f"rle: covers {total} pixels, the image has {height} x {width} = "
            f"{height * width}; the mask belongs to another size"
        )


@compiled
@no_type_check
def intervals(counts, pixels):
    """Start and end of every run of ones, their sum, and whether all is valid."""
    spans = np.empty((counts.size // 2 + 1, 2), np.int64)
    found = area = position = run = 0
    value = shift = 0
    before = last = 0  # the runs one and two back
    for char in counts:
        digit = np.int64(char) - 48
        if digit < 0 or digit > 63 or shift > 55:
            return spans[:0], 0, False
        value |= (digit & 31) << shift
        shift += 5
        if digit & 32:
            continue
        if digit & 16:
            value -= np.int64(1) << shift
        if run > 2:
            value += before
        before, last = last, value
        if value < 0 or value > pixels - position:
            return spans[:0], 0, False
        if run & 1 and value > 0:
            spans[found, 0] = position
            spans[found, 1] = position + value
            found += 1
            area += value
        position += value
        run += 1
        value = shift = 0
    return spans[:found], area, shift == 0 and position == pixels
