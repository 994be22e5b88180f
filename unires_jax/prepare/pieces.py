"""Pieces of a polygon that are none: what annotation tools leave of stray clicks."""

import math
from typing import Any

STRAY = (
    "pieces of one or two points beside a polygon: they draw nothing and are dropped"
)


def whole_pieces(pieces: list[Any]) -> dict[int, Any]:
    """The pieces of a polygon that are not stray, by place; all, if no other is.

    A stray piece has two points, one or none: it covers no pixel, and four numbers in
    the first place make pycocotools read boxes.
    """
    places = dict(enumerate(pieces))
    return {i: p for i, p in places.items() if not _is_stray(p)} or places


def _is_stray(piece: Any) -> bool:
    if not isinstance(piece, list) or len(piece) not in (0, 2, 4):
        return False
    # Not math.isfinite: an integer may be too large for it.
    return all(type(v) in (int, float) and abs(v) < math.inf for v in piece)
