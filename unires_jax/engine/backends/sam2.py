"""Segment Anything 2 (Ravi et al., 2024), its model of pictures."""

from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float32
from PIL import Image as PILImage
from transformers import Sam2Model

from unires_jax.engine.backends.segmenting import BoxSegmenter
from unires_jax.engine.roles import Image

Channels = tuple[float, float, float]  # of red, green, blue


def square(
    image: Image, side: int, mean: Channels, std: Channels
) -> Float32[torch.Tensor, "1 3 side side"]:
    """A picture as SAM 2 and SAM 3 take it: a square, whatever its aspect.

    The same as their processors of transformers, which need torchvision.
    """
    resized = PILImage.fromarray(image).resize(
        (side, side), PILImage.Resampling.BILINEAR
    )
    pixels = np.asarray(resized, np.float32) / 255
    normal = (pixels - np.array(mean, np.float32)) / np.array(std, np.float32)
    return torch.from_numpy(normal.transpose(2, 0, 1)[None].copy())


class Sam2(BoxSegmenter):
    """SAM 2 and 2.1, from their folders of video models too."""

    name = "sam2"
    model_class: ClassVar[Any] = Sam2Model
    also = ("sam2_video",)
    mean: ClassVar[Channels] = (0.485, 0.456, 0.406)
    std: ClassVar[Channels] = (0.229, 0.224, 0.225)

    def _side(self) -> int:
        return int(self.model.config.prompt_encoder_config.image_size)

    def _encode(self, image: Image) -> dict[str, Any]:
        pixels = square(image, self._side(), self.mean, self.std)
        pixels = pixels.to(self.device, self.dtype)
        return {"image_embeddings": self.model.get_image_embeddings(pixels)}

    def _scale(self, height: int, width: int) -> tuple[float, float]:
        return self._side() / width, self._side() / height
