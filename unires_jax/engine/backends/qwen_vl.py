"""Qwen3-VL as captioner (Qwen team, 2025), by transformers and without torchvision.

Its own processor wants torchvision for videos; the image processor and the tokenizer do
without. The picture's part of the prompt is read once, and its keys and values serve
all regions.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from transformers import AutoTokenizer, DynamicCache, Qwen3VLForConditionalGeneration
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import (
    Qwen2VLImageProcessorPil,
)

from unires_jax.engine.backends.folders import find, fingerprint
from unires_jax.engine.backends.loading import (
    choose_device,
    choose_dtype,
    load_model,
    told_when_full,
)
from unires_jax.engine.backends.reading import as_picture, load_processor, padded
from unires_jax.engine.roles import Boxes, Caption, Image
from unires_jax.errors import DataError

CAPTION_TOKENS = 32  # written for a region (ours)
LONGEST = 200  # side over side; the image processor takes no more
BEFORE = "<|im_start|>user\n<|vision_start|>"
AFTER = "<|vision_end|>"
DESCRIBE = (  # ours
    'Name the thing in the box {{"bbox_2d": [{}, {}, {}, {}]}} in one short phrase '
    "that tells it from the other things in the picture. Answer with the phrase "
    "alone, at most eight words.<|im_end|>\n<|im_start|>assistant\n"
)


class Seen(NamedTuple):
    """The picture's part of the prompt, read."""

    cache: DynamicCache  # of one row
    length: int  # tokens
    position: int  # of the next token: a picture takes fewer than it has tokens


class QwenVL:
    """A `roles.Captioner`."""

    name = "qwen3_vl"
    licence = "Apache-2.0"
    bins: int | None = 1000  # a side has so many; None: coordinates are pixels

    def __init__(self, checkpoint: str, device: str = "auto", dtype: str = "auto"):
        """Raises ModelError for a model that is not there or not whole."""
        folder = find(checkpoint)
        self.fingerprint = fingerprint(folder)
        self.device = choose_device(device)
        self.dtype = choose_dtype(dtype, self.device)
        self.model = load_model(
            Qwen3VLForConditionalGeneration, folder, self.device, self.dtype
        )
        self.pictures = load_processor(Qwen2VLImageProcessorPil, folder)
        self.tokenizer = load_processor(AutoTokenizer, folder)

    def caption(self, image: Image, boxes: Boxes) -> list[Caption]:
        """A text for each box. Raises DataError for a picture that is a mere strip."""
        height, width = image.shape[:2]
        if max(height, width) > LONGEST * min(height, width):
            raise DataError(f"is {height} x {width} pixels, too long for {self.name}")
        places = [self.location(box, height, width) for box in boxes.tolist()]
        questions = [self._ids(DESCRIBE.format(*place)) for place in places]
        if not questions:
            return []
        with told_when_full():
            return self._answers(self._look(image), questions)

    def location(self, box: Sequence[float], height: int, width: int) -> list[int]:
        """A box (x0, y0, x1, y1 in pixels) as the model is told it."""
        if self.bins is None:
            return [round(x) for x in box]
        sides = (width, height, width, height)
        return [round(x / s * self.bins) for x, s in zip(box, sides, strict=True)]

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer(text, add_special_tokens=False).input_ids
        return ids

    def _look(self, image: Image) -> Seen:
        inputs = self.pictures(as_picture(image), return_tensors="pt").to(self.device)
        sign = self.model.config.image_token_id
        tokens = int(inputs.image_grid_thw.prod()) // self.pictures.merge_size**2
        prompt = [*self._ids(BEFORE), *[sign] * tokens, *self._ids(AFTER)]
        ids = torch.tensor([prompt], device=self.device)
        types = (ids == sign).int()
        cache = DynamicCache(config=self.model.config.text_config)
        positions, shift = self.model.model.get_rope_index(
            ids, mm_token_type_ids=types, image_grid_thw=inputs.image_grid_thw
        )
        self.model.model(
            ids,
            None,
            positions,
            cache,
            pixel_values=inputs.pixel_values.to(self.dtype),
            image_grid_thw=inputs.image_grid_thw,
            mm_token_type_ids=types,
        )
        return Seen(cache, len(prompt), len(prompt) + int(shift))

    def _answers(self, seen: Seen, questions: Sequence[Sequence[int]]) -> list[Caption]:
        """The likeliest next token of each row, until all have ended."""
        end, count = self.tokenizer.eos_token_id, len(questions)
        ids, mask = padded(questions, end, self.device, left=True)
        position = seen.position + mask.cumsum(1) - 1
        mask = torch.cat([mask.new_ones(count, seen.length), mask], dim=1)
        seen.cache.batch_repeat_interleave(count)
        rows: list[list[int]] = [[] for _ in questions]
        sums = [0.0] * count
        going = set(range(count))
        for _ in range(CAPTION_TOKENS):
            # By place: the cache's name is not the same in all of transformers 5.
            hidden = self.model.model(
                ids, mask, position.expand(3, -1, -1), seen.cache
            ).last_hidden_state[:, -1]
            logs = self.model.lm_head(hidden).float().log_softmax(-1)
            best = logs.max(-1)
            tokens, values = best.indices.tolist(), best.values.tolist()
            for i in going:
                rows[i].append(tokens[i])
                sums[i] += values[i]
            going = {i for i in going if rows[i][-1] != end}
            if not going:
                break
            ids = best.indices[:, None]
            position = position[:, -1:] + 1
            mask = torch.cat([mask, mask.new_ones(count, 1)], dim=1)
        texts = self.tokenizer.batch_decode(rows, skip_special_tokens=True)
        return [
            Caption(text.strip(), total / len(row))
            for text, row, total in zip(texts, rows, sums, strict=True)
        ]


class QwenVLInPixels(QwenVL):
    """Of checkpoints that are told boxes in pixels, as Qwen2.5-VL was."""

    name = "qwen3_vl_pixels"
    bins = None
