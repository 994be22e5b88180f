"""Answers and scored rows written by hand."""

import numpy as np

from unires_jax.data.records import OBJECT
from unires_jax.evaluation.results import Result
from unires_jax.inference.segment import Segment
from unires_jax.pixels.canvas import place
from unires_jax.pixels.masks import RunMask


def pixels(*indices: int) -> RunMask:
    """Some of the eight pixels of a picture."""
    mask = np.zeros((2, 4), bool)
    mask.ravel()[list(indices)] = True
    return RunMask.from_pixels(mask)


def pairs(*rows: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Intersections and unions of expressions, as columns."""
    table = np.array(rows, np.int64).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def row(image: int, inside: int, around: int, **values: object) -> Result:
    """A scored row of an object; the masks' own pixels do not matter."""
    fields: dict[str, object] = {
        "key": f"d/val/{image}/0/0",
        "image": image,
        "expression": 0,
        "sentence": "a dog",
        "level": OBJECT,
        "mask": pixels(0),
        "target": pixels(0),
        "intersection": inside,
        "union": around,
        "boundary": (inside, around),
        "score": 0.5,
        "no_target": None,
        "targeted": True,
        "category": "dog",
        "part": "",
    }
    return Result(**fields | values)


def answer(no_target: float | None = 0.25) -> Segment:
    """An 8 x 4 picture on a canvas of 8: the grid's right half is padding."""
    logits = np.full((8, 8), -4, np.float32)
    logits[2:5, 1:3] = 2
    logits[:, 4:] = 9  # padding, never read
    return Segment("a box", logits, place(8, 4, 8), no_target)
