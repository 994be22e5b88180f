"""Predicates over what is seen, with three truth values.

A predicate holds by a clear margin (True), fails by a clear margin (False), or is a
near tie (None).
"""

import itertools
import math
from collections.abc import Callable, Sequence

from unires_jax.partworld.render import View, VisibleObject, VisibleRegion

Truth = bool | None

# Margins, in pixels of the stored picture unless said otherwise.
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


def sized(size: str, objects: Sequence[VisibleObject]) -> list[Truth]:
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


def centre(region: VisibleRegion) -> tuple[float, float]:
    """The middle of a region's visible box, in pixels."""
    x, y, w, h = region.box
    return x + w / 2, y + h / 2


def toward(side: str, region: VisibleRegion) -> float:
    """How far a region lies toward a side, in pixels; larger is further."""
    x, y = centre(region)
    return {"left": -x, "right": x, "top": -y, "bottom": y}[side]


def _ranked(side: str, regions: Sequence[VisibleRegion]) -> list[int]:
    """Indices of the regions, the furthest toward a side first."""
    return sorted(range(len(regions)), key=lambda i: -toward(side, regions[i]))


def _share(side: str, region: VisibleRegion, view: View) -> float:
    """A region's distance from a side as a share of the picture."""
    height, width = view.image.shape[:2]
    x, y = centre(region)
    u, v = x / width, y / height
    return {"left": u, "right": 1 - u, "top": v, "bottom": 1 - v}[side]


def _within(side: str, region: VisibleRegion, view: View) -> Truth:
    share = _share(side, region, view)
    return True if share <= NEAR else False if share >= FAR else None


def placed(
    place: str, several: bool, view: View, regions: Sequence[VisibleRegion]
) -> list[Truth]:
    """Which regions are at a place of the picture.

    One side and one object meant: the clear extreme of the regions, if it lies within
    that half ("left car" of two). Otherwise every region is judged by where it lies.
    """
    if place == "middle":
        return [_central(r, view) for r in regions]
    sides = place.removeprefix("far ").split()
    inside = [every([_within(s, r, view) for s in sides]) for r in regions]
    if len(sides) == 2 or several or len(regions) < 2:
        return [None] * len(regions) if place.startswith("far ") else inside
    order = _ranked(sides[0], regions)
    first, second = (toward(sides[0], regions[i]) for i in order[:2])
    if first - second < APART:
        return [None] * len(regions)
    return [inside[i] if i == order[0] else False for i in range(len(regions))]


def _central(region: VisibleRegion, view: View) -> Truth:
    across = abs(_share("left", region, view) - 0.5)
    along = abs(_share("top", region, view) - 0.5)
    if across >= OFF_CENTRE:
        return False
    # Central only from side to side: some would not call it the middle.
    return True if across <= CENTRAL and along <= LEVEL else None


def counted(ordinal: int, side: str, regions: Sequence[VisibleRegion]) -> list[Truth]:
    """Which of at least three clearly separated regions is the nth from a side."""
    order = _ranked(side, regions)
    along = [toward(side, regions[i]) for i in order]
    gaps = [a - b for a, b in itertools.pairwise(along)]
    if len(regions) < 3 or min(gaps) < APART or ordinal > len(regions):
        return [None] * len(regions)
    return [i == order[ordinal - 1] for i in range(len(regions))]


def _beside(side: str) -> Callable[[View, int, int], Truth]:
    def holds(view: View, subject: int, anchor: int) -> Truth:
        a, b = view.objects[subject].whole, view.objects[anchor].whole
        (ax, ay), (bx, by) = centre(a), centre(b)
        along = toward(side, a) - toward(side, b)
        across = abs(ay - by) if side in ("left", "right") else abs(ax - bx)
        if along <= 0.4 * BESIDE:
            return False
        return True if along >= BESIDE and across <= SLANT * along else None

    return holds


def _next_to(view: View, subject: int, anchor: int) -> Truth:
    ax, ay, aw, ah = view.objects[subject].whole.box
    bx, by, bw, bh = view.objects[anchor].whole.box
    gap_x = max(ax, bx) - min(ax + aw, bx + bw)
    gap_y = max(ay, by) - min(ay + ah, by + bh)
    if max(gap_x, gap_y) >= DISTANT:
        return False
    level = -gap_y >= 0.5 * min(ah, bh)
    return True if level and -TOUCHING <= gap_x <= TOUCHING else None


def _in_front(view: View, subject: int, anchor: int) -> Truth:
    if anchor in view.objects[subject].hides:
        return True
    if subject in view.objects[anchor].hides or _apart(view, subject, anchor):
        return False
    return None


def _apart(view: View, subject: int, anchor: int) -> bool:
    ax, ay, aw, ah = view.objects[subject].whole.box
    bx, by, bw, bh = view.objects[anchor].whole.box
    return max(ax, bx) >= min(ax + aw, bx + bw) or max(ay, by) >= min(ay + ah, by + bh)


RELATIONS: dict[str, Callable[[View, int, int], Truth]] = {
    "left of": _beside("left"),
    "right of": _beside("right"),
    "above": _beside("top"),
    "below": _beside("bottom"),
    "next to": _next_to,
    "in front of": _in_front,
    "behind": lambda view, subject, anchor: _in_front(view, anchor, subject),
}
