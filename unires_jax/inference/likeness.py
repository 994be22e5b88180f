"""Whether a picture looks like those a model was trained on, by its own features.

A picture is the mean of its patches, and the mean and deviation of its fine detail, all
of which `encode_image` gives. A Gaussian with few axes (probabilistic PCA, Tipping and
Bishop 1999) describes known pictures, and its Mahalanobis distance another one (as Lee
et al. 2018, arXiv 1807.03888, took it). The pooling and the limit are ours.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32

from unires_jax.config import ModelConfig, has_product_head
from unires_jax.pixels.canvas import Placement
from unires_jax.pixels.grid import valid_cells


def pooled(features: Any, index: int, placement: Placement) -> Float32[np.ndarray, "c"]:
    """One picture of a batch of features as a vector; the padding has no part in it.

    They are `models.features.ImageFeatures`, whose module would import jax.
    """
    patches = np.asarray(features.patches)[index]
    side = math.isqrt(len(patches))
    patches = _of_picture(patches.reshape(side, side, -1), placement)
    if features.detail is None:
        return patches.mean(0)
    detail = _of_picture(np.asarray(features.detail)[index], placement)
    return np.concatenate([patches.mean(0), detail.mean(0), detail.std(0)])


def pooled_size(config: ModelConfig) -> int:
    """The length of `pooled` for a model of this config."""
    has_stem = config.stem_channels and not config.figure_only
    has_detail = has_product_head(config) or has_stem
    return config.width + (2 * config.mask_channels if has_detail else 0)


def _of_picture(
    cells: np.ndarray, placement: Placement
) -> Float32[np.ndarray, "cells c"]:
    """The cells [g, g, c] of a canvas that hold any of the picture."""
    grid, canvas = len(cells), placement.canvas
    height = valid_cells(placement.height, canvas, grid)
    width = valid_cells(placement.width, canvas, grid)
    inside = cells[:height, :width].astype(np.float32)
    return inside.reshape(height * width, -1)


class Likeness(NamedTuple):
    """What known pictures look like, as pooled features."""

    mean: Float32[np.ndarray, "c"]
    deviation: Float32[np.ndarray, "c"]  # by which differences are divided
    axes: Float32[np.ndarray, "k c"]  # orthonormal, the widest first
    variances: Float32[np.ndarray, "k"]  # along them
    rest: float  # variance along all other directions
    limit: float = 1.0  # a root mean square; beyond it a picture is unlike these

    def distance(self, vector: Float32[np.ndarray, "c"]) -> float:
        """How far a picture is from these, in units of the limit."""
        y = (vector - self.mean) / self.deviation
        along = self.axes @ y
        beside = max(float(y @ y - along @ along), 0.0)
        squares = float((along**2 / self.variances).sum()) + beside / self.rest
        return math.sqrt(squares / len(y)) / self.limit

    def to_json(self) -> dict[str, Any]:
        """Plain containers, six digits a number."""
        return {
            name: _rounded(value) if isinstance(value, np.ndarray) else value
            for name, value in self._asdict().items()
        }


def from_json(values: Mapping[str, Any], size: int) -> Likeness:
    """What `Likeness.to_json` gave, for vectors of `size` numbers.

    Raises KeyError, TypeError or ValueError for anything else.
    """
    arrays = {
        name: np.array(values[name], np.float32)
        for name in ("mean", "deviation", "axes", "variances")
    }
    rest, limit = float(values["rest"]), float(values["limit"])
    likeness = Likeness(**arrays, rest=rest, limit=limit)
    axes = len(likeness.variances) if likeness.variances.ndim == 1 else -1
    expected = {"mean": (size,), "deviation": (size,), "axes": (axes, size)}
    for name, shape in expected.items():
        if arrays[name].shape != shape:
            raise ValueError(f"{name} of shape {arrays[name].shape}, expected {shape}")
    scales = (likeness.deviation, likeness.variances, rest, limit)
    numbers = (*arrays.values(), np.asarray([rest, limit]))
    if not all(np.isfinite(x).all() for x in numbers):
        raise ValueError("numbers that are not finite")
    if not all(np.all(np.asarray(x) > 0) for x in scales):
        raise ValueError("a variance, deviation or limit that is not above zero")
    return likeness


def _rounded(array: np.ndarray) -> Any:
    return [
        float(f"{x:.6g}") if np.ndim(x) == 0 else _rounded(x) for x in np.asarray(array)
    ]
