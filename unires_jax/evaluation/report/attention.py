"""Where group tokens look and which words filter them, for the report's pictures."""

from typing import Any

import jax
import numpy as np
from jax import Array

from unires_jax.config import Config, preprocessing
from unires_jax.data.records import Record
from unires_jax.data.tokenizer import Tokenizer
from unires_jax.evaluation.report.page import Attend, Attention, LevelAttention
from unires_jax.models.unires import Apply
from unires_jax.pixels.canvas import prepare_image

Maps = dict[str, Array]  # level -> weights


def make_attend(params: dict[str, Any], tokenizer: Tokenizer, config: Config) -> Attend:
    """The report's hook for a model; `params` as `inference.model.load` gives them."""
    apply, model = Apply(config.model), config.model
    side = model.image_size // model.vision.patch
    on_device = jax.device_put(params, jax.local_devices()[0])

    @jax.jit
    def look(params: dict[str, Any], *inputs: Array) -> tuple[Maps, Maps]:
        return apply.bind(params).attention(*inputs)

    def attend(record: Record, sentence: str) -> Attention:
        canvas, p = prepare_image(
            record.image, model.image_size, preprocessing(model).pad_colour
        )
        extent = np.array([[p.height, p.width]], np.int32)
        tokens, lengths = tokenizer.encode(
            [sentence], model.text.context, config.data.lengths
        )
        maps = look(on_device, canvas[None], extent, tokens, lengths)
        patches, words = jax.tree.map(lambda x: np.asarray(x[0]), maps)
        levels = {}
        for level in ("low", "high"):
            if level in patches:
                on_patches = patches[level].reshape(-1, side, side)
                # None where no filter reads words: one stage, or an ablation.
                read = words[level][:, : lengths[0]] if level in words else None
                levels[level] = LevelAttention(on_patches, read)
        return Attention(tokenizer.texts(tokens[0, : lengths[0]]), levels)

    return attend
