"""SigLIP 2 as scorer (Tschannen et al., 2025), by `transformers.Siglip2Model`.

Of the NaFlex checkpoints, which read any number of patches.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from transformers import AutoTokenizer, Siglip2Model
from transformers.models.siglip2.image_processing_pil_siglip2 import (
    Siglip2ImageProcessorPil,
)

from unires_jax.engine.backends.cosine import CosineScorer, squared
from unires_jax.engine.backends.reading import (
    as_picture,
    load_processor,
    plain,
    say_cut,
)
from unires_jax.engine.roles import Crop


class Siglip2(CosineScorer):
    """The image processor alone: the published Processor overrides its patches."""

    name = "siglip2"
    licence = "Apache-2.0"
    model_class = Siglip2Model

    def __init__(self, checkpoint: str, device: str = "auto", dtype: str = "auto"):
        """Raises ModelError for a model that is not there or not whole."""
        super().__init__(checkpoint, device, dtype)
        self.pictures = load_processor(Siglip2ImageProcessorPil, self.folder)
        self.tokenizer = load_processor(AutoTokenizer, self.folder)

    def picture_features(self, crops: Sequence[Crop]) -> Float[torch.Tensor, "crops d"]:
        """The pooled patches."""
        squares = [as_picture(squared(c, self.pictures.image_mean)) for c in crops]
        inputs = self.pictures(squares, return_tensors="pt").to(self.device)
        inputs["pixel_values"] = inputs["pixel_values"].to(self.dtype)
        return self.model.get_image_features(**inputs).pooler_output

    def text_features(self, texts: Sequence[str]) -> Float[torch.Tensor, "texts d"]:
        """The last token's, of texts padded to the context, as it was trained.

        Texts are lower-cased; of one beyond the context the end is cut.
        """
        context = self.model.config.text_config.max_position_embeddings
        texts = [plain(text).lower() for text in texts]
        lengths = map(len, self.tokenizer(texts, verbose=False).input_ids)
        if max(lengths) > context:
            say_cut(self.name, context)
        ids = self.tokenizer(
            texts,
            padding="max_length",
            padding_side="right",
            truncation=True,
            max_length=context,
            return_tensors="pt",
        ).input_ids
        return self.model.get_text_features(ids.to(self.device)).pooler_output
