"""Where things are in a picture, said only by a clear margin (`data.predicates`)."""

import dataclasses
from collections.abc import Sequence

from unires_jax.data import predicates
from unires_jax.data.predicates import SIDES, Truth

Box = tuple[float, float, float, float]  # x, y, width, height in pixels

_MOST = dict(zip(SIDES, ("leftmost", "rightmost", "topmost", "lowest"), strict=True))


@dataclasses.dataclass(frozen=True)
class _Region:
    box: Box


@dataclasses.dataclass(frozen=True)
class _Picture:
    size: tuple[int, int]  # height, width
    objects: tuple[()] = ()  # no relation is asked for


def within(side: str, boxes: Sequence[Box], height: int, width: int) -> list[Truth]:
    """Whether each box lies in that half of the picture; None near its middle."""
    regions = [_Region(box) for box in boxes]
    return predicates.placed(side, True, _Picture((height, width)), regions)


def extremes(boxes: Sequence[Box], height: int, width: int, every: bool) -> list[str]:
    """The side at which each of several things of a kind is, "" where none is clear.

    It must be clearly ahead of all others and not in the other half; where not every
    thing of the kind is known (`every` False), within its own half.
    """
    regions, picture = [_Region(box) for box in boxes], _Picture((height, width))
    sides = [""] * len(boxes)
    for side in SIDES:
        first: list[Truth] = [True]
        if len(boxes) > 1:
            first = predicates.extreme(side, picture, regions)
        inside = within(side, boxes, height, width)
        for i, (ahead, here) in enumerate(zip(first, inside, strict=True)):
            if ahead and (here or (every and here is None)) and not sides[i]:
                sides[i] = side
    return sides


def at_side(noun: str, side: str, *, behind: bool, several: bool) -> str:
    """A noun with its place, before or behind it: "left car", "car on the left".

    Of more than two (`several`) others may be on that side, too: "leftmost car".
    """
    if several and behind and side in ("left", "right"):
        return f"{noun} furthest to the {side}"
    if several:
        return f"{_MOST[side]} {noun}"
    if not behind:
        return f"{side} {noun}"
    return f"{noun} {'on' if side in ('left', 'right') else 'at'} the {side}"
