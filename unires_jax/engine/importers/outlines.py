"""Outlines that tools draw, as polygons in pixels."""

import math
from collections.abc import Sequence

from unires_jax.errors import DataError
from unires_jax.pixels.masks import RunMask
from unires_jax.prepare.sources.coco import read_segmentation

Point = tuple[float, float]
_CORNERS = 64  # of an ellipse; ours


def rectangle(one: Point, other: Point) -> list[Point]:
    """The rectangle between two corners."""
    (ax, ay), (bx, by) = one, other
    return [(ax, ay), (bx, ay), (bx, by), (ax, by)]


def ellipse(centre: Point, radius_x: float, radius_y: float) -> list[Point]:
    """An ellipse along the axes."""
    x, y = centre
    angles = [2 * math.pi * i / _CORNERS for i in range(_CORNERS)]
    return [(x + radius_x * math.cos(a), y + radius_y * math.sin(a)) for a in angles]


def turned(points: Sequence[Point], about: Point, degrees: float) -> list[Point]:
    """Points turned clockwise in the picture, about one."""
    x, y = about
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return [
        (x + c * (u - x) - s * (v - y), y + s * (u - x) + c * (v - y))
        for u, v in points
    ]


def filled(points: Sequence[Point], height: int, width: int) -> RunMask:
    """The pixels within an outline. Raises DataError where there are none."""
    flat = [float(value) for point in points for value in point]
    mask = read_segmentation([flat], height, width, "points")
    if not mask.area:
        raise DataError("its outline holds no pixel; redraw it")
    return mask
