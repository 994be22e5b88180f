"""Segment Anything 3 (Carion et al., 2025): boxes to masks, and words to masks."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32
from transformers import CLIPTokenizer, Sam3Model, Sam3TrackerModel

from unires_jax.engine.backends.boxes import (
    INSTANCES,
    PIECES,
    as_tuple,
    best,
    clipped,
)
from unires_jax.engine.backends.loading import (
    LastPicture,
    Pretrained,
    load_processor,
    told_when_full,
)
from unires_jax.engine.backends.sam2 import Sam2, square
from unires_jax.engine.backends.segmenting import resized
from unires_jax.engine.roles import Boxes, FoundPart, Image, Pixels

MEAN = STD = (0.5, 0.5, 0.5)
WORDS = 32  # tokens of a text, padded to so many: the model was trained so
MEANT = 0.5  # score of what a text denotes; the paper's, of its predictions


class Sam3Tracker(Sam2):
    """SAM 3's tracker as a segmenter: the call of SAM 2."""

    name = "sam3_tracker"
    model_class = Sam3TrackerModel
    also = ("sam3_video",)
    mean = MEAN
    std = STD


class Instances(NamedTuple):
    """What SAM 3 sees of one text: a row a query."""

    boxes: Boxes  # of the picture, clipped
    scores: Float32[np.ndarray, " n"]
    logits: Float[torch.Tensor, "n h w"]  # of the masks, at the model's size


class Sam3(Pretrained):
    """SAM 3 of concepts: masks for a noun phrase, alone in its call."""

    name = "sam3"
    model_class = Sam3Model
    also = ("sam3_video",)

    def __init__(self, place: str, device: str = "auto", dtype: str = "auto") -> None:
        """As `Pretrained`."""
        super().__init__(place, device, dtype)
        self._tokenizer = load_processor(CLIPTokenizer, self.folder)
        self._features = LastPicture(self._encode)

    def find(
        self,
        image: Image,
        object_mask: Pixels | None,
        object_name: str,
        names: Sequence[str],
    ) -> list[FoundPart]:
        """Instances of each name with their masks. Raises OutOfMemory."""
        height, width = image.shape[:2]
        most = INSTANCES if object_mask is None else PIECES
        candidates: list[FoundPart] = []
        with told_when_full():
            for name in names:
                seen = self._instances(image, name)
                candidates += [
                    FoundPart(
                        name,
                        as_tuple(seen.boxes[i]),
                        float(seen.scores[i]),
                        _mask(seen.logits[i], height, width),
                    )
                    for i in best(seen.boxes, seen.scores, most)
                ]
        return candidates

    def ground(self, image: Image, texts: Sequence[str]) -> list[Pixels]:
        """All that a text means together: instances of score MEANT. Raises OutOfMemory.

        SAM 3 knows noun phrases; of relations and places it understands little.
        """
        height, width = image.shape[:2]
        masks = []
        with told_when_full():
            for text in texts:
                seen = self._instances(image, text)
                mask = np.zeros((height, width), bool)
                for i in np.flatnonzero(seen.scores >= MEANT):
                    mask |= _mask(seen.logits[i], height, width)
                masks.append(mask)
        return masks

    def _encode(self, image: Image) -> Any:
        pixels = square(image, int(self.model.config.image_size), MEAN, STD)
        return self.model.get_vision_features(pixels.to(self.device, self.dtype))

    def _instances(self, image: Image, text: str) -> Instances:
        height, width = image.shape[:2]
        words = self._tokenizer(
            [text],
            padding="max_length",
            truncation=True,
            max_length=WORDS,
            return_tensors="pt",
        ).to(self.device)
        output = self.model(
            vision_embeds=self._features(image),
            input_ids=words["input_ids"],
            attention_mask=words["attention_mask"],
        )
        scores = output.pred_logits[0].float().sigmoid()
        scores = scores * output.presence_logits[0].float().sigmoid()
        boxes = output.pred_boxes[0].float().cpu().numpy()
        boxes = boxes * np.array([width, height, width, height], np.float32)
        return Instances(
            clipped(boxes, height, width), scores.cpu().numpy(), output.pred_masks[0]
        )


def _mask(logits: Float[torch.Tensor, "h w"], height: int, width: int) -> Pixels:
    return (resized(logits.float(), height, width) > 0).cpu().numpy()
