"""Where things are in a picture, said only by a clear margin. Margins are ours."""

from collections.abc import Sequence

Box = tuple[float, float, float, float]  # x, y, width, height in pixels

APART = 0.0875  # of the picture's side, between the first and the next of a kind
NEAR, FAR = 0.44, 0.56  # of the picture's side: within a half, beyond it
SIDES = ("left", "right", "top", "bottom")
_MOST = dict(zip(SIDES, ("leftmost", "rightmost", "topmost", "lowest"), strict=True))


def share(side: str, box: Box, height: int, width: int) -> float:
    """How far the middle of a box is from a side, as a share of the picture."""
    x, y, w, h = box
    u, v = (x + w / 2) / width, (y + h / 2) / height
    return {"left": u, "right": 1 - u, "top": v, "bottom": 1 - v}[side]


def extremes(boxes: Sequence[Box], height: int, width: int, every: bool) -> list[str]:
    """The side at which each of several things of a kind is, "" where none is clear.

    It must be ahead of all others by APART and not in the other half; where not every
    thing of the kind is known (`every` False), within its own half.
    """
    sides = [""] * len(boxes)
    for side in SIDES:
        shares = [share(side, box, height, width) for box in boxes]
        first = min(range(len(boxes)), key=shares.__getitem__)
        rest = [s for i, s in enumerate(shares) if i != first]
        ahead = min(rest, default=1.0 + APART) - shares[first] >= APART
        if ahead and shares[first] <= (FAR if every else NEAR) and not sides[first]:
            sides[first] = side
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
