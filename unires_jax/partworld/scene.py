"""Scenes: which objects, where, how large, in which order they cover each other."""

import dataclasses
from random import Random

import numpy as np

from unires_jax.partworld.kinds import (
    COLOURS,
    KINDS,
    NOVEL_COLOURS,
    NOVEL_PARTS,
    VARIANTS,
    Rules,
    variant,
)
from unires_jax.partworld.sketch import Shape, rotation

# Height and width; pictures that are wider than high are the most frequent.
SIZES = ((120, 160), (120, 160), (128, 160), (144, 160), (160, 160), (160, 120))
MAX_OVERLAP = 0.3  # of the smaller of two boxes, when objects are placed
SAME_COLOUR = 0.25  # a second object of the leading kind takes its colour too
_SHRINK = {2: 1.0, 3: 0.94, 4: 0.84, 5: 0.76, 6: 0.7}  # many objects are drawn smaller


@dataclasses.dataclass(frozen=True)
class Plan:
    """An object as it will be drawn."""

    kind: str
    colour: str
    shapes: tuple[Shape, ...]  # back to front, stored pixels, their box at (0, 0)
    width: float  # of the box, stored pixels
    height: float
    left: float = 0.0  # where the box is put
    top: float = 0.0


def plan(
    kind: str, colour: str, drawing: int, side: float, turn: float, mirrored: bool
) -> Plan:
    """A drawing `side` pixels long, turned by `turn` degrees, then perhaps mirrored."""
    sketch = variant(kind, drawing)
    low, high = sketch.extent()
    scale = side / float((high - low).max())
    matrix = scale * rotation(turn).T * ([-1.0, 1.0] if mirrored else [1.0, 1.0])
    turned = [[o @ matrix for o in s.outlines] for s in sketch.shapes]
    points = np.concatenate([o for group in turned for o in group])
    corner = points.min(axis=0)
    width, height = np.ptp(points, axis=0).tolist()
    shapes = tuple(
        dataclasses.replace(s, outlines=tuple(o - corner for o in group))
        for s, group in zip(sketch.shapes, turned, strict=True)
    )
    return Plan(kind, colour, shapes, width, height)


def plan_scene(r: Random, rules: Rules) -> tuple[int, int, list[Plan]]:
    """Height, width and 2 to 6 objects, far to near, at least one to speak of."""
    height, width = r.choice(SIZES)
    while True:
        plans = _place(r, _cast(r, rules), height, width)
        if len(plans) > 1 and any(rules.speaks_of(p.kind, p.colour) for p in plans):
            return height, width, sorted(plans, key=lambda p: p.top + p.height)


def _cast(r: Random, rules: Rules) -> list[Plan]:
    """The objects before they are placed: a leading kind, often twice, and others."""
    count = r.choices((2, 3, 4, 5, 6), (15, 32, 28, 16, 9))[0]
    kind, colour = _lead(r, rules)
    repeats = min(count, r.choices((1, 2, 3), (18, 54, 28))[0])
    cast = [(kind, colour)]
    for i in range(1, count):
        extra = kind if i < repeats else r.choice(list(KINDS))
        colours = [c for c in COLOURS if rules.shows(extra, c)]
        same = extra == kind and r.random() < SAME_COLOUR
        cast.append((extra, colour if same else r.choice(colours)))
    return [_dress(r, k, c, _SHRINK[count]) for k, c in cast]


def _lead(r: Random, rules: Rules) -> tuple[str, str]:
    """The kind and colour of the object that the scene is made for."""
    if rules.novel and r.random() < 0.5:
        colour, kind = r.choice(sorted(NOVEL_COLOURS))
        return kind, colour
    kinds = [k for k, _ in sorted(NOVEL_PARTS)] if rules.novel else list(KINDS)
    kind = r.choice([k for k in kinds if rules.covers(k)])
    return kind, r.choice([c for c in COLOURS if rules.shows(kind, c)])


def _dress(r: Random, kind: str, colour: str, shrink: float) -> Plan:
    low, high = KINDS[kind].side
    # Two clusters, so that "big" and "small" often hold by a clear margin.
    share = r.uniform(0, 0.25) if r.random() < 0.5 else r.uniform(0.75, 1.0)
    side = (low + share * (high - low)) * shrink
    drawing, mirrored = r.randrange(VARIANTS), r.random() < 0.5
    tilt = 5.0 if KINDS[kind].group in ("animal", "vehicle") else 1.5  # degrees
    return plan(kind, colour, drawing, side, r.gauss(0, tilt), mirrored)


def _place(r: Random, cast: list[Plan], height: int, width: int) -> list[Plan]:
    """Those of the cast that found a place with little overlap."""
    plans: list[Plan] = []
    boxes: list[tuple[float, float, float, float]] = []
    for item in cast:
        w, h = item.width, item.height
        for _ in range(30):
            left = r.uniform(1, max(1.0, width - 1 - w))
            top = r.uniform(1, max(1.0, height - 1 - h))
            box = (left, top, left + w, top + h)
            if all(_overlap(box, b) <= MAX_OVERLAP for b in boxes):
                boxes.append(box)
                plans.append(dataclasses.replace(item, left=left, top=top))
                break
    return plans


def _overlap(
    a: tuple[float, float, float, float], b: tuple[float, float, float, float]
) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(x[2] - x[0]) * (x[3] - x[1]) for x in (a, b)]
    return width * height / min(areas)
