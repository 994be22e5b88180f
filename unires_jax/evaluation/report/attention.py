"""Where group tokens look and which words filter them, for the report's pictures."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float

from unires_jax.config import Config, preprocessing, split_layer
from unires_jax.data.records import Record
from unires_jax.data.tokenizer import Tokenizer
from unires_jax.evaluation.report.page import Attend, Attention, LevelAttention
from unires_jax.models.unires import Apply, UniRES
from unires_jax.pixels.canvas import prepare_image

Maps = dict[str, Array]  # level -> weights


def make_attend(params: dict[str, Any], tokenizer: Tokenizer, config: Config) -> Attend:
    """The report's hook for a model; `params` as `segmenter.load` gives them."""
    apply, model = Apply(config.model), config.model
    placed = jax.device_put(params, jax.local_devices()[0])

    @jax.jit
    def look(params: dict[str, Any], *inputs: Array) -> tuple[Maps, Maps]:
        bound = apply.bind(params)
        return group_weights(bound, inputs[0]), filter_weights(bound, *inputs)

    def attend(record: Record, sentence: str) -> Attention:
        canvas, p = prepare_image(
            record.image, model.image_size, preprocessing(model).pad_colour
        )
        extent = np.array([[p.height, p.width]], np.int32)
        tokens, lengths = tokenizer.encode(
            [sentence], model.text.context, config.data.lengths
        )
        seen = look(placed, canvas[None], extent, tokens, lengths)
        patches, words = jax.tree.map(lambda x: np.asarray(x[0]), seen)
        levels = {
            name: LevelAttention(patches[name], words[name][:, : lengths[0]])
            for name in ("low", "high")
            if name in patches
        }
        return Attention(tokenizer.texts(tokens[0, : lengths[0]]), levels)

    return attend


def group_weights(model: UniRES, images: Array) -> dict[str, Float[Array, "b g s s"]]:
    """Attention of each group token to the patches in the last block it passes.

    The mean over heads; what goes to CLS and to other groups is left out.
    """
    tower, split = model.vision, split_layer(model.config)
    side = model.config.image_size // model.config.vision.patch
    x = tower.embed(model.pixels(images))
    spans = [("low", model.low, 0, split), ("high", model.high, split, None)]
    found = {}
    for name, groups, start, stop in spans:
        blocks, length = list(tower.blocks)[start:stop], x.shape[1]
        if groups is not None:
            x = jnp.concatenate([x, groups.enter(x)], axis=1)
        for i, block in enumerate(blocks):
            if groups is not None and i == len(blocks) - 1:
                y = block.ln1(x)
                weights = attention_weights(block.attention, y[:, length:], y)
                seen = weights.mean(1)[:, :, tower.prefix : length]
                found[name] = seen.reshape(*seen.shape[:2], side, side)
            bias = None if groups is None else groups.block_bias(i)
            x = block(x, group_bias=bias, groups=x.shape[1] - length)
        x = x[:, :length]
    return found


def filter_weights(
    model: UniRES, images: Array, extent: Array, tokens: Array, lengths: Array
) -> dict[str, Float[Array, "e g l"]]:
    """Attention of each group token to the words in its region filter, one sentence
    per image. The mean over heads; zeros where the filter does not read (ablation)."""
    features = model.encode_image(images, extent)
    words = model.encode_text(tokens, lengths)
    mask = (jnp.arange(words.shape[1]) < lengths[:, None])[:, None]
    found = {}
    for name, filter_, groups in (
        ("low", model.low_filter, features.low),
        ("high", model.high_filter, features.high),
    ):
        if filter_ is None or groups is None:
            continue
        if model.config.filters == "lrf":
            queries, keys = filter_.layer.ln1(groups), filter_.ln_words(words)
            weights = attention_weights(filter_.layer.mix, queries, keys, mask)
            found[name] = weights.mean(1)
        else:
            found[name] = jnp.zeros((*groups.shape[:2], words.shape[1]))
    return found


def attention_weights(
    layer: Any,
    queries: Float[Array, "b q d"],
    keys: Float[Array, "b k dk"],
    mask: Bool[Array, "b 1 k"] | None = None,
) -> Float[Array, "b h q k"]:
    """The softmax that `layers.Attention` takes between these, float32."""
    q, k = (
        x.reshape(*x.shape[:2], layer.heads, -1)
        for x in (layer.query(queries), layer.key(keys))
    )
    logits = jnp.einsum("bqhc,bkhc->bhqk", q, k, preferred_element_type=jnp.float32)
    logits = logits * q.shape[-1] ** -0.5
    if mask is not None:
        logits = jnp.where(mask[:, None], logits, -jnp.inf)
    return jax.nn.softmax(logits)
