"""Segment Anything (Kirillov et al., ICCV 2023), and in high quality (SAM-HQ, 2023)."""

from typing import Any, ClassVar

from transformers import SamHQModel, SamModel
from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil

from unires_jax.engine.backends.loading import load_processor
from unires_jax.engine.backends.segmenting import (
    BoxSegmenter,
    Enlarged,
    Logits,
    resized,
)
from unires_jax.engine.roles import Image


class Sam(BoxSegmenter):
    """SAM: the longer side fills a square, the rest of it is padded."""

    name = "sam"
    model_class: ClassVar[Any] = SamModel

    def __init__(self, place: str, device: str = "auto", dtype: str = "auto") -> None:
        """As `Pretrained`."""
        super().__init__(place, device, dtype)
        self._processor = load_processor(SamImageProcessorPil, self.folder)
        self._side = self.model.config.vision_config.image_size

    def _encode(self, image: Image) -> dict[str, Any]:
        pixels = self.pixels(self._processor, image)
        return {"image_embeddings": self.model.get_image_embeddings(pixels)}

    def _frame(self, height: int, width: int) -> tuple[int, int]:
        """Height and width that the picture has within the square."""
        scale = self._side / max(height, width)
        return int(height * scale + 0.5), int(width * scale + 0.5)

    def _scale(self, height: int, width: int) -> tuple[float, float]:
        frame = self._frame(height, width)
        return frame[1] / width, frame[0] / height

    def _enlarge(self, logits: Logits, height: int, width: int) -> Enlarged:
        frame = self._frame(height, width)
        square = resized(logits, self._side, self._side)
        return resized(square[: frame[0], : frame[1]], height, width)


class SamHQ(Sam):
    """SAM-HQ: SAM whose decoder also sees the encoder's early features."""

    name = "sam_hq"
    model_class = SamHQModel

    def _encode(self, image: Image) -> dict[str, Any]:
        pixels = self.pixels(self._processor, image)
        last, early = self.model.get_image_embeddings(pixels)
        return {"image_embeddings": last, "intermediate_embeddings": early}
