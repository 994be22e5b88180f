"""Boxes to masks by a model of the SAM family: what all of its members share."""

import abc
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from unires_jax.engine.backends.boxes import clipped
from unires_jax.engine.backends.loading import LastPicture, Pretrained, told_when_full
from unires_jax.engine.roles import Boxes, Image, Segmented

OFFSET = 1.0  # of the logits, in the stability score; as SAM's mask generator has it
Logits = Float[torch.Tensor, "h w"]  # of the model's own size
Enlarged = Float[torch.Tensor, "H W"]  # of another


class BoxSegmenter(Pretrained, abc.ABC):
    """A segmenter that encodes a picture once and decodes all boxes of a call."""

    def __init__(self, place: str, device: str = "auto", dtype: str = "auto") -> None:
        """As `Pretrained`."""
        super().__init__(place, device, dtype)
        self._features = LastPicture(self._encode)

    def segment(self, image: Image, boxes: Boxes) -> list[Segmented]:
        """The mask of each box, of the picture's size; boxes are clipped to it.

        One mask a box, as the model proposes for boxes (SAM, section 3). An estimate
        that is no number is passed on. Raises OutOfMemory.
        """
        if not len(boxes):
            return []
        height, width = image.shape[:2]
        with told_when_full():
            features = self._features(image)
            scale = np.tile(np.array(self._scale(height, width), np.float32), 2)
            prompts = torch.from_numpy(clipped(boxes, height, width) * scale)
            output = self.model(
                **features,
                input_boxes=prompts[None].to(self.device),
                multimask_output=False,
            )
            ious = output.iou_scores[0, :, 0].float().tolist()
            return [
                _segmented(self._enlarge(logits.float(), height, width), iou)
                for logits, iou in zip(output.pred_masks[0, :, 0], ious, strict=True)
            ]

    @abc.abstractmethod
    def _encode(self, image: Image) -> dict[str, Any]:
        """What the model's call takes instead of the picture."""

    @abc.abstractmethod
    def _scale(self, height: int, width: int) -> tuple[float, float]:
        """Pixels of the model's square for a pixel of the picture, along x and y."""

    def _enlarge(self, logits: Logits, height: int, width: int) -> Enlarged:
        """Logits of the picture's size."""
        return resized(logits, height, width)


def resized(logits: Logits, height: int, width: int) -> Enlarged:
    """Logits enlarged bilinearly, alone: what is beside them changes nothing."""
    return torch.nn.functional.interpolate(
        logits[None, None], (height, width), mode="bilinear", align_corners=False
    )[0, 0]


def _segmented(logits: Enlarged, iou: float) -> Segmented:
    inner = int((logits > OFFSET).sum())
    outer = int((logits > -OFFSET).sum())
    mask = (logits > 0).cpu().numpy()
    return Segmented(mask, iou, inner / outer if outer else 0.0)
