"""Boxes to masks that are cleaned and measured: what `objects` and `parts` share."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, UInt8

from unires_jax.engine import boxes as boxes_
from unires_jax.engine.boxes import Box
from unires_jax.engine.halving import halving
from unires_jax.engine.record import Scores
from unires_jax.engine.roles import Backend, Image, Pixels, Segmented, Segmenter
from unires_jax.pixels.components import clean
from unires_jax.pixels.masks import RunMask

SPECK = 0.01  # of a mask: smaller pieces and holes are removed; ours
_MARGIN = 0.05  # by which a prompt grows before `in_box` is taken; ours


class Measured(NamedTuple):
    """A cleaned mask and those of record.REGION_SCORES that say how good it is."""

    mask: Pixels
    scores: Scores


def source(backend: Backend) -> str:
    """How records name a model."""
    return f"{backend.name}@{backend.fingerprint}"


def segment(
    segmenter: Segmenter, image: Image, boxes: list[Box], batch: int
) -> list[Measured]:
    """A mask for each box, asked for `batch` at once.

    A mask that has not the picture's size is an empty one. Raises as `halving`.
    """
    answers = halving(
        lambda some: segmenter.segment(image, np.array(some, np.float32)), boxes, batch
    )
    return [_measure(a, box, image) for a, box in zip(answers, boxes, strict=True)]


def _measure(
    answer: Segmented, box: Box, image: UInt8[np.ndarray, "H W 3"]
) -> Measured:
    size = image.shape[0], image.shape[1]
    mask = np.asarray(answer.mask)
    mask = mask.astype(bool) if mask.shape == size else np.zeros(size, bool)
    mask, largest = clean(mask, SPECK)
    scores: Scores = {
        "pred_iou": float(answer.iou),
        "stability": float(answer.stability),
        "box_iou": boxes_.iou(boxes_.of(RunMask.from_pixels(mask)), box),
        "in_box": share(boxes_.window(box, *size, _MARGIN).cut(mask), mask),
        "largest": largest,
    }
    return Measured(mask, scores)


def share(some: Bool[np.ndarray, "h w"], mask: Bool[np.ndarray, "H W"]) -> float:
    """Pixels set in one array over those set in another; 0 where that has none."""
    return float(np.count_nonzero(some)) / max(int(np.count_nonzero(mask)), 1)
