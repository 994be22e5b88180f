"""Sketches: an object as an ordered list of polygons, each belonging to a part.

A sketch has its own coordinates (x right, y down, facing right, about 1 long). Later
shapes cover earlier ones.
"""

import dataclasses
import math

import numpy as np
from jaxtyping import Float

Points = Float[np.ndarray, "_ 2"]  # x, y; each polygon has its own length


@dataclasses.dataclass(frozen=True)
class Shape:
    """One patch of colour: polygons painted as a union.

    Shapes of one part and instance count as one thing (a wheel and its hub).
    """

    part: str  # "" for what has no name of its own
    instance: int  # which of the part's instances (front wheel 0, rear wheel 1)
    tone: str  # a key of palette.tones
    outlines: tuple[Points, ...]


class Sketch:
    """Collects the shapes of one object, back to front."""

    def __init__(self) -> None:
        self.shapes: list[Shape] = []
        self._instances: dict[str, int] = {}

    def add(self, part: str, tone: str, *outlines: Points) -> None:
        """A new instance of a part."""
        instance = self._instances.get(part, 0)
        self._instances[part] = instance + 1
        self.shapes.append(Shape(part, instance, tone, outlines))

    def detail(self, part: str, tone: str, *outlines: Points) -> None:
        """Decoration on the part's latest instance: an eye, a hub, a brim."""
        instance = max(self._instances.get(part, 0) - 1, 0)
        self.shapes.append(Shape(part, instance, tone, outlines))

    def extent(self) -> tuple[Points, Points]:
        """The lowest and highest x, y of all shapes, each of shape [1, 2]."""
        points = np.concatenate([o for s in self.shapes for o in s.outlines])
        return points.min(axis=0, keepdims=True), points.max(axis=0, keepdims=True)


def xy(points: str) -> list[tuple[float, float]]:
    """Points as SVG writes them: "x,y x,y"."""
    pairs = (pair.split(",") for pair in points.split())
    return [(float(x), float(y)) for x, y in pairs]


def poly(*corners: tuple[float, float]) -> Points:
    """A polygon through the given corners."""
    return np.asarray(corners, np.float64)


def ellipse(
    x: float, y: float, rx: float, ry: float, degrees: float = 0.0, n: int = 24
) -> Points:
    """An ellipse about (x, y), turned clockwise on the screen."""
    t = np.linspace(0, 2 * math.pi, n, endpoint=False)
    local = np.stack([rx * np.cos(t), ry * np.sin(t)], axis=1)
    return local @ rotation(degrees).T + (x, y)


def rotation(degrees: float) -> Float[np.ndarray, "2 2"]:
    """The matrix that turns clockwise on the screen (y points down)."""
    a = math.radians(degrees)
    return np.array([[math.cos(a), -math.sin(a)], [math.sin(a), math.cos(a)]])


def box(x0: float, y0: float, x1: float, y1: float, round: float = 0.0) -> Points:
    """A rectangle, its corners rounded with the given radius."""
    if not round:
        return poly((x0, y0), (x1, y0), (x1, y1), (x0, y1))
    quarter = np.linspace(0, math.pi / 2, 5)
    arc = round * np.stack([np.cos(quarter), np.sin(quarter)], axis=1)
    corners = [(x1, y1), (x0, y1), (x0, y0), (x1, y0)]
    inset = [(-1, -1), (1, -1), (1, 1), (-1, 1)]
    return np.concatenate(
        [
            arc @ rotation(90.0 * i).T + np.array(c) + round * np.array(s)
            for i, (c, s) in enumerate(zip(corners, inset, strict=True))
        ]
    )


def limb(
    x0: float, y0: float, x1: float, y1: float, r0: float, r1: float | None = None
) -> Points:
    """A tapered capsule from (x0, y0) with radius r0 to (x1, y1) with radius r1."""
    r1 = r0 if r1 is None else r1
    heading = math.atan2(y1 - y0, x1 - x0)
    t = np.linspace(math.pi / 2, 3 * math.pi / 2, 7) + heading
    start = np.stack([np.cos(t), np.sin(t)], axis=1)
    return np.concatenate([r0 * start + (x0, y0), -r1 * start + (x1, y1)])


def curve(
    xy: list[tuple[float, float]], r0: float, r1: float | None = None
) -> list[Points]:
    """A tapered bent tube through points, as overlapping capsules."""
    r1 = r0 if r1 is None else r1
    radii = np.linspace(r0, r1, len(xy))
    pairs = zip(xy[:-1], xy[1:], radii[:-1], radii[1:], strict=True)
    return [limb(*a, *b, float(p), float(q)) for a, b, p, q in pairs]


def smooth(*corners: tuple[float, float], rounds: int = 2) -> Points:
    """A soft outline: the corners of a polygon cut `rounds` times (Chaikin)."""
    points = poly(*corners)
    for _ in range(rounds):
        following = np.roll(points, -1, axis=0)
        cut = np.stack(
            [0.75 * points + 0.25 * following, 0.25 * points + 0.75 * following], 1
        )
        points = cut.reshape(-1, 2)
    return points
