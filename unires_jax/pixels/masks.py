"""The one mask: runs of pixels, column by column, as COCO's RLE stores them.

Areas, unions, intersections and PIL's NEAREST squash are taken on the runs: no mask is
decoded, and the cost follows the outline instead of the pixels. The algorithms are
ours; pycocotools writes COCO's text and fills polygons.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any, no_type_check

import numpy as np
from jaxtyping import Bool, Float64, Int64, Shaped
from pycocotools import mask as coco_mask

from unires_jax import limits
from unires_jax.errors import DataError, Kind
from unires_jax.pixels.compiled import compiled

RLE = Mapping[str, Any]  # {"size": [height, width], "counts": compressed or runs}
MaskLike = Shaped[np.ndarray, "_ _"] | RLE  # an array is a mask where it is not 0
Polygon = Sequence[float | int]  # x, y, x, y, ... in pixels
_PAIR = 500  # runs that take as long as to begin a comparison, about


@dataclasses.dataclass(eq=False)  # frozen, a pair of masks took a tenth longer to score
class RunMask:
    """The pixels of a mask of one picture; never changed once made."""

    # [start, end) in column-major order, sorted; they neither overlap nor touch.
    spans: Int64[np.ndarray, "r 2"]
    height: int  # of the picture, pixels
    width: int

    @classmethod
    def from_counts(cls, counts: str | bytes, height: int, width: int) -> "RunMask":
        """The mask of COCO's compressed counts. Raises DataError unless they fit."""
        _require_plausible(height, width)
        text = counts.encode(errors="replace") if isinstance(counts, str) else counts
        spans, valid = _spans(np.frombuffer(text, np.uint8), height * width)
        if not valid:
            raise _fault(text, height, width)
        _require_few(len(spans))
        return cls(spans, height, width)

    @classmethod
    def from_runs(cls, runs: Sequence[int], height: int, width: int) -> "RunMask":
        """The mask of run lengths, zeros first. Raises DataError unless they fit."""
        _require_plausible(height, width)
        _require_few(len(runs) // 2)
        if sum(runs) != height * width or min(runs, default=0) < 0:
            raise DataError(
                f"rle: runs of {sum(runs)} pixels do not fill {height} x {width}",
                kind=Kind.SIZE_DIFFERS,
            )
        ends = np.cumsum(np.array(runs, np.int64))
        spans = np.stack([ends[:-1:2], ends[1::2]], axis=1)
        return cls(joined(spans), height, width)

    @classmethod
    def from_pixels(cls, pixels: Shaped[np.ndarray, "H W"]) -> "RunMask":
        """The pixels of an array that are not zero.

        Raises DataError for more than limits.RUNS runs of them: noise.
        """
        columns = np.ascontiguousarray((pixels != 0).T)
        changes = np.diff(columns.ravel(), prepend=False, append=False)
        _require_few(int(np.count_nonzero(changes)) // 2)
        return cls(np.flatnonzero(changes).reshape(-1, 2), *pixels.shape)

    @classmethod
    def from_polygons(
        cls, polygons: Sequence[Polygon], height: int, width: int
    ) -> list["RunMask"]:
        """The pixels within each polygon, as pycocotools rasterises it.

        Raises DataError for what is no polygon, for more than limits.POINTS, for
        points far out, and for more than limits.OUTLINE pixels along all of them.
        """
        _require_plausible(height, width)
        outlines = [_outline(polygon) for polygon in polygons]
        length = sum(map(_length, outlines))
        if length > limits.OUTLINE:
            raise DataError(
                f"polygons whose outlines are {length:.3g} pixels long, the limit is "
                f"{limits.OUTLINE}; store the mask as rle",
            )
        flat = [outline.ravel().tolist() for outline in outlines]
        rles = coco_mask.frPyObjects(flat, height, width) if flat else []
        return [cls.from_counts(rle["counts"], height, width) for rle in rles]

    @classmethod
    def from_polygon(cls, polygon: Polygon, height: int, width: int) -> "RunMask":
        """`from_polygons` of one."""
        (mask,) = cls.from_polygons([polygon], height, width)
        return mask

    @classmethod
    def of(cls, mask: MaskLike) -> "RunMask":
        """The mask of an array, or of COCO's RLE, compressed or not.

        Raises DataError for RLE that does not fill its size, ValueError for an array
        that is not [height, width].
        """
        if not isinstance(mask, Mapping):
            pixels = np.asarray(mask)
            if pixels.ndim != 2:
                raise ValueError(f"a mask is [height, width], found {pixels.shape}")
            return cls.from_pixels(pixels)
        height, width = map(int, mask["size"])
        counts = mask["counts"]
        if isinstance(counts, (str, bytes)):
            return cls.from_counts(counts, height, width)
        return cls.from_runs([int(n) for n in counts], height, width)

    @classmethod
    def empty(cls, height: int, width: int) -> "RunMask":
        """No pixel at all."""
        return cls(np.empty((0, 2), np.int64), height, width)

    @classmethod
    def union(cls, masks: Sequence["RunMask"], height: int, width: int) -> "RunMask":
        """Pixels in any of the masks of one size."""
        return masks[0] if len(masks) == 1 else cls._covered(masks, height, width, None)

    @classmethod
    def once(cls, masks: Sequence["RunMask"], height: int, width: int) -> "RunMask":
        """Pixels in exactly one of the masks of one size."""
        return masks[0] if len(masks) == 1 else cls._covered(masks, height, width, 1)

    @classmethod
    def _covered(
        cls, masks: Sequence["RunMask"], height: int, width: int, times: int | None
    ) -> "RunMask":
        """Pixels that so many masks (None: any number) cover."""
        every = np.concatenate([np.empty((0, 2), np.int64), *(m.spans for m in masks)])
        edges = every.T.ravel()  # all starts, then all ends
        order = np.argsort(edges, kind="stable")
        depth = np.cumsum(np.repeat([1, -1], len(every))[order])
        between = np.stack([edges[order][:-1], edges[order][1:]], axis=1)
        inside = (depth > 0) if times is None else (depth == times)
        return cls(joined(between[inside[:-1]]), height, width)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RunMask):
            return NotImplemented
        same_size = (self.height, self.width) == (other.height, other.width)
        return same_size and np.array_equal(self.spans, other.spans)

    def __hash__(self) -> int:
        return hash((self.height, self.width, self.spans.tobytes()))

    @functools.cached_property
    def area(self) -> int:
        """How many pixels."""
        return int((self.spans[:, 1] - self.spans[:, 0]).sum())

    @functools.cached_property
    def counts(self) -> str:
        """COCO's compressed counts."""
        ends = self.spans.ravel()
        runs = np.diff(ends, prepend=0, append=self.height * self.width)
        # pycocotools ends at the last pixel that is set, unless zeros follow it.
        runs = runs[:-1] if len(ends) and not runs[-1] else runs
        plain = {"size": [self.height, self.width], "counts": runs.tolist()}
        packed = coco_mask.frPyObjects(plain, self.height, self.width)
        return str(packed["counts"].decode())

    @property
    def rle(self) -> dict[str, Any]:
        """COCO's RLE for JSON: {"size": [height, width], "counts": str}."""
        return {"size": [self.height, self.width], "counts": self.counts}

    @functools.cached_property
    def box(self) -> tuple[int, int, int, int]:
        """x, y, width, height around the pixels; zeros without any."""
        if not len(self.spans):
            return 0, 0, 0, 0
        first, last = self.spans[:, 0], self.spans[:, 1] - 1
        left, right = int(first[0]) // self.height, int(last[-1]) // self.height
        # A run that goes on in the next column touches top and bottom.
        whole = first // self.height != last // self.height
        top = 0 if whole.any() else int((first % self.height).min())
        bottom = self.height - 1 if whole.any() else int((last % self.height).max())
        return left, top, right - left + 1, bottom - top + 1

    @property
    def bbox(self) -> tuple[float, float, float, float]:
        """`box` as records and COCO's JSON state it."""
        x, y, width, height = self.box
        return float(x), float(y), float(width), float(height)

    def pixels(self) -> Bool[np.ndarray, "H W"]:
        """The mask as an array."""
        flat = np.zeros(self.height * self.width, bool)
        _mark(self.spans, flat)
        return flat.reshape(self.width, self.height).T

    def intersection_union(self, other: "RunMask") -> tuple[int, int]:
        """Pixels in both, and in either. Raises ValueError if sizes differ."""
        if (self.height, self.width) != (other.height, other.width):
            raise ValueError(
                f"prediction is {(self.height, self.width)}, target is "
                f"{(other.height, other.width)} (height, width); both must have the "
                "original picture's size"
            )
        shared, covered = _overlap(self.spans, other.spans)
        return int(shared), int(covered)

    def squash(self, grid: int) -> "RunMask":
        """The mask resized to grid x grid as PIL's NEAREST does, pixel for pixel."""
        return self.resize(grid, grid)

    def resize(self, height: int, width: int) -> "RunMask":
        """The mask at another size as PIL's NEAREST does, pixel for pixel."""
        if (self.height, self.width) == (height, width):
            return self
        columns, _ = _nearest(self.width, width)
        _, rows = _nearest(self.height, height)
        spans = _resize(self.spans, self.height, columns, rows, height)
        return RunMask(spans, height, width)


def as_rle(mask: MaskLike) -> dict[str, Any]:
    """COCO's compressed RLE of a mask as pycocotools has it: `counts` are bytes.

    Raises as `RunMask.of`.
    """
    packed = RunMask.of(mask)
    return {**packed.rle, "counts": packed.counts.encode()}


def _require_plausible(height: int, width: int) -> None:
    if not limits.plausible(height, width):
        raise DataError(
            f"a mask of {height} x {width} (height x width): no picture has this size",
            kind=Kind.SIZE_DIFFERS,
        )


def _require_few(runs: int) -> None:
    if runs > limits.RUNS:
        raise DataError(f"a mask of {runs} runs, the limit is {limits.RUNS}")


def _outline(polygon: Polygon) -> Float64[np.ndarray, "n 2"]:
    """The points of a polygon: with two, pycocotools would read a box."""
    points = np.asarray(polygon, np.float64).ravel()
    if not 6 <= len(points) <= 2 * limits.POINTS or len(points) % 2:
        raise DataError(
            f"{len(points)} numbers, expected x, y of 3 to {limits.POINTS} points"
        )
    if not (np.abs(points) <= 2 * limits.SIDE).all():  # nor is NaN
        raise DataError(
            f"a polygon with a point further out than {2 * limits.SIDE} pixels"
        )
    return points.reshape(-1, 2)


def require_comparable(parts: Sequence[int], wholes: Sequence[int]) -> None:
    """Raise DataError where all masks with all others are beyond limits.COMPARED.

    Both are the runs of each mask, or more.
    """
    runs = len(parts) * sum(wholes) + len(wholes) * sum(parts)
    if runs + _PAIR * len(parts) * len(wholes) > limits.COMPARED:
        raise DataError(
            f"{len(parts)} parts that name no object, and {len(wholes)} objects that "
            "they may belong to, are too many to compare; name the object of each part"
        )


def _length(outline: Float64[np.ndarray, "n 2"]) -> float:
    """What pycocotools makes room for: an edge's longer side and one pixel more."""
    edges = np.abs(outline - np.roll(outline, 1, axis=0)).max(axis=1)
    return float(edges.sum()) + len(outline)


def _fault(counts: bytes, height: int, width: int) -> DataError:
    """What is wrong with compressed counts, read once more to find the words."""
    runs: list[int] = []
    value = shift = 0
    for char in counts:
        digit = char - 48
        if not 0 <= digit < 64 or shift > 55:
            return DataError(
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
            return DataError(f"rle: run {len(runs)} is negative")
        runs.append(value)
        value = shift = 0
    if shift:
        return DataError("rle: ends within a number")
    return DataError(
        f"rle: covers {sum(runs)} pixels, the image has {height} x {width} = "
        f"{height * width}; the mask belongs to another size",
        kind=Kind.SIZE_DIFFERS,
    )


def joined(spans: Int64[np.ndarray, "r 2"]) -> Int64[np.ndarray, "m 2"]:
    """Sorted disjoint spans without empty ones, those that touch made one."""
    spans = spans[spans[:, 0] < spans[:, 1]]
    apart = spans[1:, 0] > spans[:-1, 1]
    first, last = np.append(True, apart), np.append(apart, True)
    if not len(spans):
        return spans
    return np.stack([spans[first, 0], spans[last, 1]], axis=1)


@compiled
@no_type_check
def _spans(counts, pixels):
    """Start and end of every run of ones, and whether the counts fill the pixels.

    pycocotools writes past its buffer on counts that do not: it never sees them.
    """
    spans = np.empty((counts.size // 2 + 1, 2), np.int64)
    size = position = run = 0
    value = shift = 0
    before = last = 0  # the runs one and two back
    for char in counts:
        digit = np.int64(char) - 48
        if digit < 0 or digit > 63 or shift > 55:
            return spans[:0], False
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
            return spans[:0], False
        if run & 1 and value > 0:
            if size and spans[size - 1, 1] == position:  # an empty run of zeros
                size -= 1
            else:
                spans[size, 0] = position
            spans[size, 1] = position + value
            size += 1
        position += value
        run += 1
        value = shift = 0
    return spans[:size], shift == 0 and position == pixels


@compiled
@no_type_check
def _mark(spans, flat):
    """Set the pixels of spans."""
    for i in range(spans.shape[0]):
        flat[spans[i, 0] : spans[i, 1]] = True


@compiled
@no_type_check
def _overlap(a, b):
    """Pixels in both of two sorted lists of spans, and in either."""
    shared = total = i = j = 0
    for spans in (a, b):
        for k in range(spans.shape[0]):
            total += spans[k, 1] - spans[k, 0]
    while i < a.shape[0] and j < b.shape[0]:
        end = min(a[i, 1], b[j, 1])
        shared += max(0, end - max(a[i, 0], b[j, 0]))
        if a[i, 1] == end:
            i += 1
        else:
            j += 1
    return shared, total - shared


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
def _resize(spans, height, columns, rows, target):
    """Spans of `target` rows: `columns` are the source's, rows[y] targets before y."""
    # As many as there can be; pages that are never written cost nothing.
    resized = np.empty((columns.size * (target // 2 + 1), 2), np.int64)
    count = first = 0
    for x in range(columns.size):
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
            if count and resized[count - 1, 1] == x * target + top:
                resized[count - 1, 1] = x * target + bottom
            else:
                resized[count, 0] = x * target + top
                resized[count, 1] = x * target + bottom
                count += 1
    return resized[:count].copy()
