"""CLIPSeg (Lüddecke and Ecker, CVPR 2022): words to a map of heat."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from transformers import CLIPSegForImageSegmentation, CLIPTokenizer
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from unires_jax.engine.backends.boxes import FLOOR
from unires_jax.engine.backends.loading import (
    LastPicture,
    Pretrained,
    load_processor,
    told_when_full,
)
from unires_jax.engine.backends.segmenting import resized
from unires_jax.engine.roles import FoundPart, Image, Pixels

HEAT = 0.3  # of a pixel that is marked; ours, as the paper's on PhraseCut


class ClipSeg(Pretrained):
    """CLIPSeg: a mask for each text, of all its pieces together."""

    name = "clipseg"
    model_class = CLIPSegForImageSegmentation

    def __init__(self, place: str, device: str = "auto", dtype: str = "auto") -> None:
        """As `Pretrained`."""
        super().__init__(place, device, dtype)
        self._tokenizer = load_processor(CLIPTokenizer, self.folder)
        self._processor = load_processor(ViTImageProcessorPil, self.folder)
        self._layers = LastPicture(self._encode)

    def find(
        self,
        image: Image,
        object_mask: Pixels | None,
        object_name: str,
        names: Sequence[str],
    ) -> list[FoundPart]:
        """The mask of each name that is anywhere hot, scored by its hottest pixel.

        Raises OutOfMemory.
        """
        candidates = []
        for name, heat in zip(names, self._heat(image, names), strict=True):
            score = float(heat.max())
            mask = heat > HEAT
            if score >= FLOOR and mask.any():
                candidates.append(FoundPart(name, _extent(mask), score, mask))
        return candidates

    def ground(self, image: Image, texts: Sequence[str]) -> list[Pixels]:
        """The pixels above HEAT for each text. Raises OutOfMemory."""
        return [heat > HEAT for heat in self._heat(image, texts)]

    def _encode(self, image: Image) -> list[Float[torch.Tensor, "1 n d"]]:
        """The layers of CLIP that the decoder reads."""
        hidden = self.model.clip.vision_model(
            self.pixels(self._processor, image), output_hidden_states=True
        ).hidden_states
        return [hidden[i + 1] for i in self.model.extract_layers]

    def _heat(
        self, image: Image, texts: Sequence[str]
    ) -> list[Float[np.ndarray, "H W"]]:
        """How well each pixel fits each text, in [0, 1]."""
        if not texts:
            return []
        height, width = image.shape[:2]
        with told_when_full():
            words = self._tokenizer(
                list(texts),
                padding="max_length",
                truncation=True,
                max_length=self.model.config.text_config.max_position_embeddings,
                return_tensors="pt",
            ).to(self.device)
            conditions = self.model.get_conditional_embeddings(
                len(texts), words["input_ids"], words["attention_mask"]
            )
            layers = [x.expand(len(texts), -1, -1) for x in self._layers(image)]
            logits = self.model.decoder(layers, conditions).logits.float()
            return [
                resized(x, height, width).sigmoid().cpu().numpy()
                for x in logits.reshape(len(texts), *logits.shape[-2:])
            ]


def _extent(mask: Pixels) -> tuple[float, float, float, float]:
    """The box around the pixels of a mask that is not empty."""
    ys, xs = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return float(xs[0]), float(ys[0]), float(xs[-1] + 1), float(ys[-1] + 1)
