"""CLIP as scorer (Radford et al., 2021), by `transformers.CLIPModel`."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from transformers import CLIPModel, CLIPTokenizer
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from unires_jax.engine.backends.cosine import CosineScorer, squared
from unires_jax.engine.backends.reading import (
    as_picture,
    load_processor,
    plain,
    say_cut,
)
from unires_jax.engine.roles import Crop


class Clip(CosineScorer):
    """Crops are squared and resized whole: its own processor would cut their ends."""

    name = "clip"
    licence = "MIT"
    model_class = CLIPModel

    def __init__(self, checkpoint: str, device: str = "auto", dtype: str = "auto"):
        """Raises ModelError for a model that is not there or not whole."""
        super().__init__(checkpoint, device, dtype)
        self.pictures = load_processor(CLIPImageProcessorPil, self.folder)
        self.tokenizer = load_processor(CLIPTokenizer, self.folder)

    def pixels(self, crops: Sequence[Crop]) -> Float[torch.Tensor, "crops 3 s s"]:
        """Crops as the image tower is given them."""
        side = self.model.config.vision_config.image_size
        squares = [as_picture(squared(c, self.pictures.image_mean)) for c in crops]
        size = {"height": side, "width": side}
        inputs = self.pictures(
            squares, size=size, do_center_crop=False, return_tensors="pt"
        )
        return inputs.pixel_values.to(self.device, self.dtype)

    def picture_features(self, crops: Sequence[Crop]) -> Float[torch.Tensor, "crops d"]:
        """The projected CLS token."""
        return self.model.get_image_features(self.pixels(crops)).pooler_output

    def text_features(self, texts: Sequence[str]) -> Float[torch.Tensor, "texts d"]:
        """The projected EOS token; of a text beyond the context the end is cut."""
        context = self.model.config.text_config.max_position_embeddings
        texts = [plain(text) for text in texts]
        lengths = map(len, self.tokenizer(texts, verbose=False).input_ids)
        if max(lengths) > context:
            say_cut(self.name, context)
        inputs = self.tokenizer(
            texts,
            padding=True,
            truncation=True,
            max_length=context,
            return_tensors="pt",
        ).to(self.device)
        return self.model.get_text_features(**inputs).pooler_output
