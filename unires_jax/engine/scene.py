"""What geometry knows of a picture: its things, where they are, who hides whom.

A `Scene` is what `data.predicates` judge: boxes of masks, of prompts where there is no
mask yet. Source: ours.
"""

import dataclasses
import functools
import math
from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import UInt8

from unires_jax.data.predicates import SIDE
from unires_jax.engine.nouns import is_called, may_be_called, spoken
from unires_jax.engine.record import Picture, Region
from unires_jax.pixels.masks import RunMask

Box = tuple[float, float, float, float]  # x, y, width, height in pixels
Small = UInt8[np.ndarray, "y x"]

HIDDEN = 0.04  # share of an object's hull that another must cover to hide it
BARELY = 0.01  # share of its own hull that the hidden one may cover at most
NEARER = 6.0  # pixels of a picture of SIDE by which the lower edge must be lower
PIECE = 0.15  # of the largest piece's area: a smaller one does not count


@dataclasses.dataclass(frozen=True)
class Spot:
    """Where a region is."""

    box: Box


@dataclasses.dataclass(frozen=True, eq=False)
class Thing:
    """A region of the picture."""

    region: Region
    mask: RunMask | None  # None: only the prompt's box is known
    whole: Spot
    hides: frozenset[int] = frozenset()

    @property
    def extent(self) -> tuple[float, float]:
        """The sides of a square of the mask's area, of the box without a mask."""
        if self.mask is None:
            return self.whole.box[2], self.whole.box[3]
        side = math.sqrt(self.mask.area)
        return side, side


@dataclasses.dataclass(frozen=True, eq=False)
class Scene:
    """The objects and parts of one picture."""

    size: tuple[int, int]  # height, width
    objects: tuple[Thing, ...]
    parts: tuple[Thing, ...]
    exhaustive: bool
    crowded: frozenset[str]  # categories with a region of many

    def instances(self, category: str) -> list[int]:
        """Indices of all objects of a category."""
        return [i for i, o in enumerate(self.objects) if o.region.category == category]

    def called(self, noun: str) -> list[int]:
        """Indices of all objects that a noun means: a sports car is a car, too."""
        nouns = [spoken(o.region.category) for o in self.objects]
        return [i for i, own in enumerate(nouns) if is_called(own, noun)]

    def clear(self, noun: str) -> bool:
        """Whether `called` has all that is marked of a noun, one by one.

        Not where there is a crowd of it, or what may or may not be called so.
        """
        crowds = any(may_be_called(spoken(c), noun) for c in self.crowded)
        nouns = (spoken(c) for c in self.categories)
        return not crowds and not any(
            may_be_called(own, noun) and not is_called(own, noun) for own in nouns
        )

    @functools.cached_property
    def categories(self) -> tuple[str, ...]:
        """Of objects, sorted, each once."""
        return tuple(sorted({o.region.category for o in self.objects}))

    def alone(self, category: str) -> bool:
        """Whether the picture is known to have one thing that is called so."""
        return category in self._alone

    @functools.cached_property
    def _alone(self) -> frozenset[str]:
        nouns = {c: spoken(c) for c in self.categories if self.exhaustive}
        return frozenset(
            c for c, n in nouns.items() if self.clear(n) and len(self.called(n)) == 1
        )


def arrange(picture: Picture, twin: float) -> Scene:
    """The scene of a picture. Raises DataError for a mask of another size.

    Boxes of one category with an IoU above `twin` are one thing, the first.
    """
    crowded = {r.category for r in picture.regions if r.crowd}
    single = [r for r in picture.regions if not r.crowd]
    objects = [_thing(r, picture) for r in single if r.level == "object"]
    objects = _without_twins([o for o in objects if o.whole.box[2] > 0], twin)
    parts = [_thing(r, picture) for r in single if r.level == "part"]
    size = (picture.height, picture.width)
    return Scene(
        size,
        tuple(
            dataclasses.replace(o, hides=h)
            for o, h in zip(objects, _hiding(objects, size), strict=True)
        ),
        tuple(p for p in parts if p.mask is not None),
        picture.exhaustive,
        frozenset(crowded),
    )


def pieces(mask: RunMask) -> int:
    """How many pieces of a mask are large enough to be told apart."""
    x, y, w, h = mask.box
    crop = mask.pixels()[y : y + h, x : x + w].astype(np.uint8)
    areas = cv2.connectedComponentsWithStats(crop)[2][1:, cv2.CC_STAT_AREA]
    return int((areas >= PIECE * areas.max(initial=0)).sum())


def _thing(region: Region, picture: Picture) -> Thing:
    mask = None
    if region.rle:
        mask = RunMask.from_counts(region.rle, picture.height, picture.width)
    if mask is not None and mask.area:
        return Thing(region, mask, Spot(mask.bbox))
    x0, y0, x1, y1 = region.box
    return Thing(region, None, Spot((x0, y0, x1 - x0, y1 - y0)))


def _without_twins(objects: Sequence[Thing], twin: float) -> list[Thing]:
    single: list[Thing] = []
    for thing in objects:
        same = [o for o in single if o.region.category == thing.region.category]
        if all(_iou(thing.region.box, o.region.box) <= twin for o in same):
            single.append(thing)
    return single


def _iou(a: Box, b: Box) -> float:
    """Of two boxes x0, y0, x1, y1."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    areas = [(c[2] - c[0]) * (c[3] - c[1]) for c in (a, b)]
    return shared / (areas[0] + areas[1] - shared)


def _hiding(objects: Sequence[Thing], size: tuple[int, int]) -> list[frozenset[int]]:
    """Of each object, which others it stands in front of.

    It fills a bay of the other's outline, the other fills none of its own, they touch,
    and it reaches clearly lower in the picture: what stands lower is nearer.
    """
    scale = SIDE / max(size)
    small = [_shrunk(o.mask, scale) if o.mask else None for o in objects]
    hulls = [None if s is None else _hull(s) for s in small]
    lows = [(o.whole.box[1] + o.whole.box[3]) * scale for o in objects]

    def in_front(i: int, j: int) -> bool:
        front, back, own, bay = small[i], small[j], hulls[i], hulls[j]
        if front is None or back is None or own is None or bay is None:
            return False
        return bool(
            i != j
            and lows[i] - lows[j] >= NEARER
            and (front & bay & ~back).sum() >= HIDDEN * bay.sum()
            and (back & own).sum() <= BARELY * own.sum()
            and (cv2.dilate(back, np.ones((3, 3), np.uint8)) & front).any()
        )

    every = range(len(objects))
    return [frozenset(j for j in every if in_front(i, j)) for i in every]


def _shrunk(mask: RunMask, scale: float) -> Small:
    height = max(1, round(mask.height * scale))
    width = max(1, round(mask.width * scale))
    return np.ascontiguousarray(mask.resize(height, width).pixels()).view(np.uint8)


def _hull(small: Small) -> Small:
    points = cv2.findNonZero(small)
    hull = np.zeros_like(small)
    if points is not None:
        cv2.fillConvexPoly(hull, cv2.convexHull(points), 1)
    return hull
