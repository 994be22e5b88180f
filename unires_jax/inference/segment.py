"""The answer to one expression: a mask at the picture's own size, and what it says."""

import dataclasses
import functools
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32

from unires_jax.errors import DataError
from unires_jax.inference.calibration import Logistic
from unires_jax.pixels.canvas import Placement
from unires_jax.pixels.grid import logits_to_original, picture_cells
from unires_jax.pixels.masks import RunMask

NO_TARGET_ABOVE = 0.5  # probability above which nothing is meant (ours)


@dataclasses.dataclass(frozen=True, eq=False)
class Segment:
    """What an expression denotes in a picture. All else is derived from the logits."""

    expression: str
    logits: Float32[np.ndarray, "g g"]  # on the decoder's grid, padding included
    placement: Placement  # of the picture on the canvas that the grid covers
    no_target_probability: float | None  # that nothing is meant; None: never trained
    threshold: float = 0.5  # probability above which a pixel belongs to the mask
    note: str = ""  # "", or what a user should know: the sentence's end was not read
    # Of the quality: if anything is meant, the mask is right; None: unknown.
    right: Logistic | None = None
    familiar: bool = True  # whether the picture is like those of the calibration

    @functools.cached_property
    def mask(self) -> Bool[np.ndarray, "H W"]:
        """The pixels above the threshold, at the picture's own size."""
        return self._at_own_size() > logit(self.threshold)

    @property
    def probability(self) -> Float32[np.ndarray, "H W"]:
        """The probability of each pixel; computed when asked for."""
        return sigmoid(self._at_own_size())

    @property
    def score(self) -> float:
        """The probability that the mask is right, if that was calibrated.

        Right is what has an IoU of at least one half with what is meant, marked at a
        threshold of one half: other thresholds leave the number. Without calibration
        it is `raw_score`, which is no probability of anything. 0 for an empty mask.
        """
        if self.right is None or not self.quality:
            return self.raw_score
        return self.right(self.at(0.5).quality) * self._meant

    @property
    def calibrated(self) -> bool:
        """Whether the score is a probability: not in a picture that is not familiar."""
        return self.right is not None and self.familiar

    @property
    def raw_score(self) -> float:
        """`quality`, times the probability that anything is meant.

        Without a trained no-target head the first factor alone.
        """
        return self.quality * self._meant

    @property
    def _meant(self) -> float:
        return 1 - (self.no_target_probability or 0.0)

    @functools.cached_property
    def quality(self) -> float:
        """Mean probability of the mask's cells; 0 for an empty mask."""
        cells = picture_cells(self.logits, self.placement)
        marked = cells[cells > logit(self.threshold)]
        return float(sigmoid(marked).mean()) if marked.size else 0.0

    @property
    def no_target(self) -> bool:
        """Whether the model holds that nothing is meant. The mask is not emptied."""
        return (self.no_target_probability or 0.0) > NO_TARGET_ABOVE

    @functools.cached_property
    def runs(self) -> RunMask:
        """The mask as runs of pixels."""
        return RunMask.from_pixels(self.mask)

    @property
    def rle(self) -> dict[str, Any]:
        """COCO's compressed RLE, for JSON."""
        return self.runs.rle

    @property
    def area(self) -> int:
        """Pixels of the mask."""
        return self.runs.area

    @property
    def box(self) -> tuple[int, int, int, int]:
        """x, y, width, height around the mask, pixels; zeros for an empty mask."""
        return self.runs.box

    def at(self, threshold: float) -> "Segment":
        """The same answer with another threshold in (0, 1); no model runs."""
        if not 0 < threshold < 1:
            raise DataError(f"threshold={threshold}: expected a number between 0 and 1")
        return dataclasses.replace(self, threshold=float(threshold))

    def to_json(self) -> dict[str, Any]:
        """Plain containers: all but the arrays."""
        return {
            "expression": self.expression,
            "score": self.score,
            "calibrated": self.calibrated,
            "no_target": self.no_target,
            "no_target_probability": self.no_target_probability,
            "threshold": self.threshold,
            "box": list(self.box),
            "area": self.area,
            "rle": self.rle,
            "note": self.note,
        }

    def _at_own_size(self) -> Float32[np.ndarray, "H W"]:
        return logits_to_original(self.logits, self.placement)


def logit(probability: float) -> float:
    """The logit of a probability in (0, 1)."""
    return float(np.log(probability / (1 - probability)))


def sigmoid(x: Float32[np.ndarray, "*n"]) -> Float32[np.ndarray, "*n"]:
    """The probability of logits; by tanh, which does not overflow."""
    return np.float32(0.5) * (1 + np.tanh(np.float32(0.5) * x))
