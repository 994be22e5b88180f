"""OWLv2 (Minderer et al., NeurIPS 2023): names to boxes."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from transformers import CLIPTokenizer, Owlv2ForObjectDetection
from transformers.models.owlv2.image_processing_pil_owlv2 import Owlv2ImageProcessorPil

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
from unires_jax.engine.roles import Boxes, FoundPart, Image, Pixels


class Owlv2(Pretrained):
    """OWLv2: one query a name, as it stands."""

    name = "owlv2"
    model_class = Owlv2ForObjectDetection

    def __init__(self, place: str, device: str = "auto", dtype: str = "auto") -> None:
        """As `Pretrained`."""
        super().__init__(place, device, dtype)
        self._tokenizer = load_processor(CLIPTokenizer, self.folder)
        self._processor = load_processor(Owlv2ImageProcessorPil, self.folder)
        # bfloat16 would place a box of a large crop to 4 pixels.
        self.model.box_head.float()
        self._seen = LastPicture(self._encode)

    def find(
        self,
        image: Image,
        object_mask: Pixels | None,
        object_name: str,
        names: Sequence[str],
    ) -> list[FoundPart]:
        """The best boxes of each name, clipped, without masks. Raises OutOfMemory."""
        if not names:
            return []
        most = INSTANCES if object_mask is None else PIECES
        with told_when_full():
            patches, boxes = self._seen(image)
            scores = self._scores(patches, names)
        return [
            part
            for name, of_name in zip(names, scores.cpu().numpy(), strict=True)
            for part in box_candidates(name, boxes, of_name, most)
        ]

    def _encode(self, image: Image) -> tuple[Float[torch.Tensor, "1 n d"], Boxes]:
        """Features and boxes of all patches."""
        height, width = image.shape[:2]
        grid, _ = self.model.image_embedder(self.pixels(self._processor, image))
        patches = grid.flatten(1, 2)
        centred = self.model.box_predictor(patches.float(), grid)[0].cpu().numpy()
        # The picture lies in the corner of a padded square.
        ends = corners(centred, max(height, width), max(height, width))
        return patches, clipped(ends, height, width)

    def _scores(
        self, patches: Float[torch.Tensor, "1 n d"], names: Sequence[str]
    ) -> Float[torch.Tensor, "names n"]:
        words = self._tokenizer(
            list(names),
            padding="max_length",
            truncation=True,
            max_length=self.model.config.text_config.max_position_embeddings,
            return_tensors="pt",
        ).to(self.device)
        queries = self.model.owlv2.get_text_features(
            input_ids=words["input_ids"], attention_mask=words["attention_mask"]
        ).pooler_output
        queries = queries / queries.norm(dim=-1, keepdim=True)
        logits, _ = self.model.class_predictor(patches, queries[None])
        return logits[0].float().sigmoid().T
