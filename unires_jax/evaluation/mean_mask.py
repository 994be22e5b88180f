"""The floor of a data set: what a sentence's mask is on average, whatever the picture.

A model that does not beat it has learnt where things lie, not to look. Ours.
"""

import collections
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float32

from unires_jax.data.records import Record, target_mask
from unires_jax.evaluation.protocols import Question
from unires_jax.evaluation.results import Prediction
from unires_jax.pixels.masks import RunMask

GRID = 64  # cells along both sides of a picture, whatever its shape
THRESHOLDS = np.linspace(0.1, 0.9, 17)
MASKS = 10_000  # of a text, the first, that its mean is of; ours


class _Mean(NamedTuple):
    """What is known of a text."""

    share: Float32[np.ndarray, "g g"]  # of the masks that have each cell
    threshold: float  # with the best mean IoU on them
    empty: float  # share of the expressions that denote nothing


class MeanMask:
    """The `Predict` that answers a text with the mean of its masks in training.

    A mean is cut where that was best in training. A text that was not there gets the
    mean of all masks. Sentences are compared in lower case.
    """

    def __init__(self, records: Iterable[Record]):
        masks: dict[str, list[bytes]] = collections.defaultdict(list)
        every: list[bytes] = []
        nothing: dict[str, int] = collections.Counter()
        for record in records:
            for x in record.expressions:
                if x.no_target:
                    nothing[x.sent.lower()] += 1
                else:
                    cells = target_mask(record, x).squash(GRID).pixels()
                    packed = np.packbits(cells).tobytes()
                    for group in (masks[x.sent.lower()], every):
                        if len(group) < MASKS:
                            group.append(packed)
        self._other = _mean(every, sum(nothing.values()))
        self._means = {
            text: _mean(masks.get(text, []), nothing.get(text, 0))
            for text in masks.keys() | nothing.keys()
        }

    def __call__(self, questions: Sequence[Question]) -> list[list[Prediction]]:
        """Answers; the pictures are not looked at."""
        return [
            [self._answer(sentence, question.record) for sentence in question.sentences]
            for question in questions
        ]

    def _answer(self, sentence: str, record: Record) -> Prediction:
        mean = self._means.get(sentence.lower(), self._other)
        share = cv2.resize(mean.share, (record.width, record.height))
        mask = RunMask.from_pixels(share > mean.threshold)
        return Prediction(mask, None, mean.empty)


def _mean(masks: list[bytes], nothing: int) -> _Mean:
    """The mean of packed masks; `nothing` expressions of the text have none."""
    empty = nothing / max(len(masks) + nothing, 1)
    if not masks:
        return _Mean(np.zeros((GRID, GRID), np.float32), 0.5, empty)
    packed = np.frombuffer(b"".join(masks), np.uint8).reshape(len(masks), -1)
    stack = np.unpackbits(packed, axis=1).reshape(-1, GRID, GRID).astype(bool)
    share = stack.mean(0).astype(np.float32)
    scores = []
    for threshold in THRESHOLDS:
        marked = share > threshold
        union = np.maximum((stack | marked).sum((1, 2)), 1)
        scores.append(((stack & marked).sum((1, 2)) / union).mean())
    return _Mean(share, float(THRESHOLDS[int(np.argmax(scores))]), empty)
