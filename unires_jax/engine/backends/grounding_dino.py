"""Names to boxes: Grounding DINO (Liu et al., ECCV 2024), MM Grounding DINO (2024)."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from transformers import (
    BertTokenizer,
    GroundingDinoForObjectDetection,
    MMGroundingDinoForObjectDetection,
)
from transformers.models.grounding_dino.image_processing_pil_grounding_dino import (
    GroundingDinoImageProcessorPil,
)

from unires_jax.engine.backends.boxes import (
    INSTANCES,
    PIECES,
    box_candidates,
    clipped,
    corners,
)
from unires_jax.engine.backends.loading import (
    LastPicture,
    Pretrained,
    load_processor,
    told_when_full,
)
from unires_jax.engine.roles import FoundPart, Image, Pixels

ENDS = ("[CLS]", "[SEP]", ".", "?")  # between which a name lies


class GroundingDino(Pretrained):
    """Grounding DINO, a call a name: in one prompt names change each other's scores."""

    name = "grounding_dino"
    model_class: ClassVar[Any] = GroundingDinoForObjectDetection

    def __init__(self, place: str, device: str = "auto", dtype: str = "auto") -> None:
        """As `Pretrained`."""
        super().__init__(place, device, dtype)
        self._tokenizer = load_processor(BertTokenizer, self.folder)
        self._processor = load_processor(GroundingDinoImageProcessorPil, self.folder)
        self._ends = torch.tensor(self._tokenizer.convert_tokens_to_ids(list(ENDS)))
        # The same tensor for the same picture, by which _Once tells it.
        self._pixels = LastPicture(lambda image: self.pixels(self._processor, image))
        self.model.model.backbone = _Once(self.model.model.backbone)

    def find(
        self,
        image: Image,
        object_mask: Pixels | None,
        object_name: str,
        names: Sequence[str],
    ) -> list[FoundPart]:
        """The best boxes of each name, clipped, without masks. Raises OutOfMemory.

        A score is the highest over the name's own tokens.
        """
        most = INSTANCES if object_mask is None else PIECES
        with told_when_full():
            return [x for name in names for x in self._find(image, name, most)]

    def _find(self, image: Image, name: str, most: int) -> list[FoundPart]:
        height, width = image.shape[:2]
        prompt = name.lower().replace(".", " ").replace("?", " ").strip() + "."
        words = self._tokenizer(
            prompt,
            truncation=True,
            max_length=self.model.config.max_text_len,
            return_tensors="pt",
        )
        own = ~torch.isin(words["input_ids"][0], self._ends)
        if not own.any():
            return []
        output = self.model(pixel_values=self._pixels(image), **words.to(self.device))
        logits = output.logits[0, :, : len(own)].float().cpu()
        scores = logits[:, own].sigmoid().amax(dim=1).numpy()
        centred = output.pred_boxes[0].float().cpu().numpy()
        boxes = clipped(corners(centred, height, width), height, width)
        return box_candidates(name, boxes, scores, most)


class MMGroundingDino(GroundingDino):
    """Grounding DINO as OpenMMLab trained it anew."""

    name = "mm_grounding_dino"
    model_class = MMGroundingDinoForObjectDetection


class _Once(torch.nn.Module):
    """A backbone that sees the same pixels once, whatever is asked of them."""

    def __init__(self, backbone: Any) -> None:
        super().__init__()
        self.backbone = backbone
        self.position_embedding = backbone.position_embedding
        self._last: tuple[torch.Tensor, Any] | None = None

    def forward(self, pixels: torch.Tensor, mask: torch.Tensor) -> tuple[Any, Any]:
        if self._last is None or self._last[0] is not pixels:
            self._last = None
            self._last = pixels, self.backbone(pixels, mask)
        features, positions = self._last[1]
        return list(features), list(positions)  # the caller appends to them
