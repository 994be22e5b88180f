"""Cosines of crops and texts, by models with a tower for each."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8

from unires_jax.engine.backends.folders import find, fingerprint
from unires_jax.engine.backends.loading import (
    choose_device,
    choose_dtype,
    load_model,
    told_when_full,
)
from unires_jax.engine.roles import Crop


class CosineScorer:
    """A `roles.Scorer`; what differs between models is in the subclasses."""

    name: ClassVar[str]
    licence: ClassVar[str]
    model_class: ClassVar[Any]

    def __init__(self, checkpoint: str, device: str = "auto", dtype: str = "auto"):
        """Raises ModelError for a model that is not there or not whole."""
        self.folder = find(checkpoint)
        self.fingerprint = fingerprint(self.folder)
        self.device = choose_device(device)
        self.dtype = choose_dtype(dtype, self.device)
        self.model = load_model(self.model_class, self.folder, self.device, self.dtype)

    def score(
        self, crops: Sequence[Crop], texts: Sequence[str]
    ) -> Float32[np.ndarray, "crops texts"]:
        """Cosines of every crop with every text, in float32.

        A crop is padded to a square first, so that its ends are seen.
        """
        if not crops or not texts:
            return np.zeros((len(crops), len(texts)), np.float32)
        with told_when_full():
            pictures = _units(self.picture_features(crops))
            words = _units(self.text_features(texts))
            cosines: np.ndarray = (pictures @ words.T).cpu().numpy()
        return cosines

    def picture_features(self, crops: Sequence[Crop]) -> Float[torch.Tensor, "crops d"]:
        """Of the image tower."""
        raise NotImplementedError

    def text_features(self, texts: Sequence[str]) -> Float[torch.Tensor, "texts d"]:
        """Of the text tower."""
        raise NotImplementedError


def _units(features: Float[torch.Tensor, "n d"]) -> Float32[torch.Tensor, "n d"]:
    return torch.nn.functional.normalize(features.float(), dim=-1)


def squared(crop: Crop, colour: Sequence[float]) -> UInt8[np.ndarray, "S S 3"]:
    """A crop in the middle of a square of its longer side; `colour` is in [0, 1]."""
    height, width = crop.shape[:2]
    side = max(height, width)
    square = np.empty((side, side, 3), np.uint8)
    square[:] = np.round(np.asarray(colour) * 255).astype(np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = crop
    return square
