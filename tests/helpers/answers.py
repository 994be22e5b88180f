"""Answers and scored rows written by hand."""

import dataclasses

import numpy as np

from unires_jax.evaluation.results import Result
from unires_jax.pixels.canvas import place
from unires_jax.serving.segment import Segment


def row(image: int, inside: int, around: int, **values: object) -> Result:
    made = Result(
        *(f"d/val/{image}/0/0", image, 0, "a dog", 0, 2, 2, "04", "04"),
        *(inside, around, 0.5, None, True, around, "dog", ""),
    )
    return dataclasses.replace(made, **values)


def answer(no_target: float | None = 0.25) -> Segment:
    """An 8 x 4 picture on a canvas of 8: the grid's right half is padding."""
    logits = np.full((8, 8), -4, np.float32)
    logits[2:5, 1:3] = 2
    logits[:, 4:] = 9  # padding, never read
    return Segment("a box", logits, place(8, 4, 8), no_target)
