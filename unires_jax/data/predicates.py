"""Predicates over what is seen, with three truth values.

A predicate holds by a clear margin (True), fails by a clear margin (False), or is a
near tie (None). Source: ours; PartWorld's scenes and the data engine's photographs are
judged alike.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

Truth = bool | None


@runtime_checkable
class Place(Protocol):
    """A region of a picture."""

    @property
    def box(self) -> tuple[float, float, float, float]:
        """x, y, width, height of what is visible, in pixels."""


@runtime_checkable
class Thing(Protocol):
    """An object in a picture."""

    @property
    def whole(self) -> Place:
        """All of it that is visible."""

    @property
    def extent(self) -> tuple[float, float]:
        """Width and height by which its size is judged, in pixels."""

    @property
    def hides(self) -> frozenset[int]:
        """Indices of the objects that it covers a piece of."""


@runtime_checkable
class Sight(Protocol):
    """A picture and the objects in it."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the picture, pixels."""

    @property
    def objects(self) -> Sequence[Thing]:
        """The objects, in any order."""


SIDE = 160  # pixels: the longer side of a picture that the margins are stated for
# Margins, in pixels of such a picture unless said otherwise.
APART = 14.0  # between two objects of which one is further left (right, up, down)
BESIDE = 20.0  # along the axis of a relation
SLANT = 0.8  # largest distance across that axis, as a share of the distance along it
SIZE_RATIO = 1.25  # between the sizes of the biggest and the next
SEEN_RATIO = 1.1  # the same for what is visible of them
NEAR, FAR = 0.44, 0.56  # share of the picture: within a side's half, beyond it
CENTRAL, OFF_CENTRE, LEVEL = 0.1, 0.2, 0.25  # shares of the picture from its middle
TOUCHING, DISTANT = 6.0, 26.0  # gap of two boxes: "next to", not "next to"

SIDES = ("left", "right", "top", "bottom")
CORNERS = ("top left", "top right", "bottom left", "bottom right")
PLACES = (*SIDES, "far left", "far right", "middle", *CORNERS)


def every(truths: Sequence[Truth]) -> Truth:
    """Three-valued "and"."""
    return False if False in truths else None if None in truths else True


def unit(sight: Sight) -> float:
    """Pixels of the picture for one of a picture whose longer side is SIDE."""
    return max(sight.size) / SIDE


def sized(size: str, objects: Sequence[Thing]) -> list[Truth]:
    """Which object is clearly the biggest (smallest) of several, drawn and visible."""
    sign = 1 if size == "big" else -1
    if len(objects) < 2:
        return [None] * len(objects)
    whole = [sign * math.log(o.extent[0] * o.extent[1]) / 2 for o in objects]
    visible = [sign * math.log(o.whole.box[2] * o.whole.box[3]) / 2 for o in objects]
    first = max(range(len(objects)), key=whole.__getitem__)
    clear = all(
        whole[first] - whole[i] >= math.log(SIZE_RATIO)
        and visible[first] - visible[i] >= math.log(SEEN_RATIO)
        for i in range(len(objects))
        if i != first
    )
    return [(i == first) if clear else None for i in range(len(objects))]


def centre(region: Place) -> tuple[float, float]:
    """The middle of a region's visible box, in pixels."""
    x, y, w, h = region.box
    return x + w / 2, y + h / 2


def toward(side: str, region: Place) -> float:
    """How far a region lies toward a side, in pixels; larger is further."""
    x, y = centre(region)
    return {"left": -x, "right": x, "top": -y, "bottom": y}[side]


def _ranked(side: str, regions: Sequence[Place]) -> list[int]:
    """Indices of the regions, the furthest toward a side first."""
    return sorted(range(len(regions)), key=lambda i: -toward(side, regions[i]))


def _share(side: str, region: Place, sight: Sight) -> float:
    """A region's distance from a side as a share of the picture."""
    height, width = sight.size
    x, y = centre(region)
    u, v = x / width, y / height
    return {"left": u, "right": 1 - u, "top": v, "bottom": 1 - v}[side]


def _within(side: str, region: Place, sight: Sight) -> Truth:
    share = _share(side, region, sight)
    return True if share <= NEAR else False if share >= FAR else None


def placed(
    place: str, several: bool, sight: Sight, regions: Sequence[Place]
) -> list[Truth]:
    """Which regions are at a place of the picture.

    One side and one object meant: the clear extreme of the regions, if it lies within
    that half ("left car" of two). Otherwise every region is judged by where it lies.
    """
    if place == "middle":
        return [_central(r, sight) for r in regions]
    sides = place.removeprefix("far ").split()
    inside = [every([_within(s, r, sight) for s in sides]) for r in regions]
    if len(sides) == 2 or several or len(regions) < 2:
        return [None] * len(regions) if place.startswith("far ") else inside
    furthest = extreme(sides[0], sight, regions)
    return [i if f else f for i, f in zip(inside, furthest, strict=True)]


def extreme(side: str, sight: Sight, regions: Sequence[Place]) -> list[Truth]:
    """Which of at least two regions clearly lies furthest toward a side."""
    if len(regions) < 2:
        return [None] * len(regions)
    order = _ranked(side, regions)
    first, second = (toward(side, regions[i]) for i in order[:2])
    if first - second < APART * unit(sight):
        return [None] * len(regions)
    return [i == order[0] for i in range(len(regions))]


def _central(region: Place, sight: Sight) -> Truth:
    across = abs(_share("left", region, sight) - 0.5)
    along = abs(_share("top", region, sight) - 0.5)
    if across >= OFF_CENTRE:
        return False
    # Central only from side to side: some would not call it the middle.
    return True if across <= CENTRAL and along <= LEVEL else None


def counted(
    ordinal: int, side: str, sight: Sight, regions: Sequence[Place]
) -> list[Truth]:
    """Which of at least three clearly separated regions is the nth from a side."""
    order = _ranked(side, regions)
    along = [toward(side, regions[i]) for i in order]
    gaps = [a - b for a, b in itertools.pairwise(along)]
    if len(regions) < 3 or min(gaps) < APART * unit(sight) or ordinal > len(regions):
        return [None] * len(regions)
    return [i == order[ordinal - 1] for i in range(len(regions))]


def _beside(side: str) -> Callable[[Sight, int, int], Truth]:
    def holds(sight: Sight, subject: int, anchor: int) -> Truth:
        a, b = sight.objects[subject].whole, sight.objects[anchor].whole
        (ax, ay), (bx, by) = centre(a), centre(b)
        along = toward(side, a) - toward(side, b)
        across = abs(ay - by) if side in ("left", "right") else abs(ax - bx)
        beside = BESIDE * unit(sight)
        if along <= 0.4 * beside:
            return False
        return True if along >= beside and across <= SLANT * along else None

    return holds


def _next_to(sight: Sight, subject: int, anchor: int) -> Truth:
    ax, ay, aw, ah = sight.objects[subject].whole.box
    bx, by, bw, bh = sight.objects[anchor].whole.box
    gap_x = max(ax, bx) - min(ax + aw, bx + bw)
    gap_y = max(ay, by) - min(ay + ah, by + bh)
    if max(gap_x, gap_y) >= DISTANT * unit(sight):
        return False
    level = -gap_y >= 0.5 * min(ah, bh)
    return True if level and abs(gap_x) <= TOUCHING * unit(sight) else None


def _in_front(sight: Sight, subject: int, anchor: int) -> Truth:
    if anchor in sight.objects[subject].hides:
        return True
    if subject in sight.objects[anchor].hides or _apart(sight, subject, anchor):
        return False
    return None


def _apart(sight: Sight, subject: int, anchor: int) -> bool:
    ax, ay, aw, ah = sight.objects[subject].whole.box
    bx, by, bw, bh = sight.objects[anchor].whole.box
    return max(ax, bx) >= min(ax + aw, bx + bw) or max(ay, by) >= min(ay + ah, by + bh)


RELATIONS: dict[str, Callable[[Sight, int, int], Truth]] = {
    "left of": _beside("left"),
    "right of": _beside("right"),
    "above": _beside("top"),
    "below": _beside("bottom"),
    "next to": _next_to,
    "in front of": _in_front,
    "behind": lambda sight, subject, anchor: _in_front(sight, anchor, subject),
}
