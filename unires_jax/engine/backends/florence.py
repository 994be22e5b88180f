"""Florence-2 as captioner and grounder (Xiao et al., 2024), by transformers.

Coordinates are tokens: a side of the picture has 1000 bins. The picture is looked at
once; what the vision tower gives is shared by all questions about it.
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from transformers import AutoTokenizer, Florence2ForConditionalGeneration
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from unires_jax.engine.backends.folders import find, fingerprint
from unires_jax.engine.backends.loading import (
    choose_device,
    choose_dtype,
    load_model,
    told_when_full,
)
from unires_jax.engine.backends.reading import (
    as_picture,
    fill,
    load_processor,
    padded,
)
from unires_jax.engine.roles import Boxes, Caption, Image, ModelError, Pixels
from unires_jax.pixels.masks import RunMask

BINS = 1000
BEAMS = 3  # as published
CAPTION_TOKENS = 64  # written for a region (ours)
# Its tasks <REGION_TO_DESCRIPTION> and <REFERRING_EXPRESSION_SEGMENTATION> in words.
DESCRIBE = "<s>What does the region {} describe?</s>"
LOCATE = "<s>Locate {} in the image with mask</s>"


class Answer(NamedTuple):
    """What the decoder writes."""

    ids: list[int]  # without pads and the start
    logprob: float  # mean over its tokens, as the beam has it


class Florence2:
    """A `roles.Captioner` and a `roles.Grounder`."""

    name = "florence2"
    licence = "MIT"

    def __init__(self, checkpoint: str, device: str = "auto", dtype: str = "auto"):
        """Raises ModelError for a model that is not there or not whole."""
        folder = find(checkpoint)
        self.fingerprint = fingerprint(folder)
        self.device = choose_device(device)
        self.dtype = choose_dtype(dtype, self.device)
        self.model = load_model(
            Florence2ForConditionalGeneration, folder, self.device, self.dtype
        )
        self.pictures = load_processor(CLIPImageProcessorPil, folder)
        self.tokenizer = load_processor(AutoTokenizer, folder)
        ids = self.tokenizer.convert_tokens_to_ids([f"<loc_{i}>" for i in range(BINS)])
        if len(set(ids)) < BINS:
            raise ModelError(f"{folder}: its tokenizer lacks tokens of places, <loc_0>")
        self.bins = {number: i for i, number in enumerate(ids)}
        self.positions = self.model.config.text_config.max_position_embeddings

    def caption(self, image: Image, boxes: Boxes) -> list[Caption]:
        """A text for each box, asked for by its bins."""
        places = [location(box, *image.shape[:2]) for box in boxes.tolist()]
        questions = [DESCRIBE.format(place) for place in places]
        ids = [
            self.tokenizer(question, add_special_tokens=False).input_ids
            for question in questions
        ]
        if not ids:
            return []
        with told_when_full():
            most = min(CAPTION_TOKENS, self.positions - 1)
            answers = self._answers(self._look(image), ids, most)
        texts = self.tokenizer.batch_decode(
            [answer.ids for answer in answers], skip_special_tokens=True
        )
        return [
            Caption(text.strip(), answer.logprob)
            for text, answer in zip(texts, answers, strict=True)
        ]

    def ground(self, image: Image, texts: Sequence[str]) -> list[Pixels]:
        """The polygons that it writes for each text, filled.

        Of a text that is longer than it reads the end is cut.
        """
        if not texts:
            return []
        with told_when_full():
            patches = self._look(image)
            room = self.positions - patches.shape[1]
            ids = [fill(self.tokenizer, LOCATE, t, room, self.name) for t in texts]
            answers = self._answers(patches, ids, self.positions - 1)
        bins = ([self.bins.get(i) for i in answer.ids] for answer in answers)
        return [filled(outlines(places), *image.shape[:2]) for places in bins]

    def _look(self, image: Image) -> Float[torch.Tensor, "1 n d"]:
        """The picture as tokens of the language model."""
        inputs = self.pictures(as_picture(image), return_tensors="pt")
        pixels = inputs.pixel_values.to(self.device, self.dtype)
        return self.model.get_image_features(pixels).pooler_output

    def _answers(
        self,
        patches: Float[torch.Tensor, "1 n d"],
        questions: Sequence[Sequence[int]],
        most: int,
    ) -> list[Answer]:
        """What is written to each question about one picture, up to `most` tokens."""
        text = self.model.config.text_config
        ids, mask = padded(questions, text.pad_token_id, self.device)
        words = self.model.get_input_embeddings()(ids)
        seen = patches.to(words.dtype).expand(len(ids), -1, -1)
        mask = torch.cat([mask.new_ones(seen.shape[:2]), mask], dim=1)
        encoded = self.model.model.get_encoder()(
            inputs_embeds=torch.cat([seen, words], dim=1), attention_mask=mask
        )
        written = self.model.generate(
            encoder_outputs=encoded,
            attention_mask=mask,
            num_beams=BEAMS,
            do_sample=False,
            length_penalty=1.0,
            max_new_tokens=most,
            output_scores=True,
            return_dict_in_generate=True,
        )
        drop = {text.pad_token_id, text.decoder_start_token_id}
        return [
            Answer([i for i in row if i not in drop], score)
            for row, score in zip(
                written.sequences.tolist(),
                written.sequences_scores.tolist(),
                strict=True,
            )
        ]


def location(box: Sequence[float], height: int, width: int) -> str:
    """A box (x0, y0, x1, y1 in pixels) as four tokens, "<loc_0>" to "<loc_999>"."""
    sides = (width, height, width, height)
    bins = [int(BINS * x // side) for x, side in zip(box, sides, strict=True)]
    return "".join(f"<loc_{min(max(i, 0), BINS - 1)}>" for i in bins)


def outlines(bins: Sequence[int | None]) -> list[list[int]]:
    """Polygons as it writes them: x, y, x, y, ...; None, a token of no place, ends one.

    A last number without its y, and what has fewer than three points, is no polygon.
    """
    runs = itertools.groupby(bins, lambda i: i is None)
    polygons = [[i for i in run if i is not None] for none, run in runs if not none]
    return [p[: len(p) // 2 * 2] for p in polygons if len(p) >= 6]


def filled(polygons: Sequence[Sequence[int]], height: int, width: int) -> Pixels:
    """The pixels within polygons of bins, whose middles are meant."""
    scale = np.array([width, height]) / BINS
    points = [(np.reshape(p, (-1, 2)) + 0.5) * scale for p in polygons]
    flat = [p.ravel().tolist() for p in points]
    masks = RunMask.from_polygons(flat, height, width)
    return RunMask.union(masks, height, width).pixels()
