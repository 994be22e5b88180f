"""The attention that the report draws is the attention that the model pays."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.coloured_boxes import make_record

from unires_jax.config import Config, TextConfig, VisionConfig
from unires_jax.data.tokenizer import Tokenizer
from unires_jax.evaluation.report import attention
from unires_jax.models.layers import Attention
from unires_jax.models.unires import Apply, UniRES


@pytest.fixture
def tiny(config: Config, tokenizer: Tokenizer) -> Config:
    config.model.vision = VisionConfig(patch=16, width=32, depth=4, heads=2, mlp=32)
    vocab = tokenizer.vocab_size
    config.model.text = TextConfig(vocab, 16, width=32, depth=1, heads=2, mlp=32)
    config.model.width, config.model.heads = 16, 2
    config.model.low_groups, config.model.high_groups = 3, 2
    config.data.lengths = (16,)
    return config


def some_params(config: Config) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return jax.tree.map(
        lambda x: rng.normal(0, 0.3, x.shape).astype(np.float32),
        Apply(config.model).abstract,
    )


def bind(config: Config) -> UniRES:
    return Apply(config.model).bind(jax.tree.map(jnp.asarray, some_params(config)))


def test_weights_are_those_of_the_layer(tiny: Config) -> None:
    layer = bind(tiny).vision.blocks[0].attention
    assert isinstance(layer, Attention)
    x = jax.random.normal(jax.random.key(0), (2, 7, 32))
    weights = attention.attention_weights(layer, x, x)
    values = layer.value(x).reshape(2, 7, layer.heads, -1)
    mixed = jnp.einsum("bhqk,bkhc->bqhc", weights, values).reshape(x.shape)
    np.testing.assert_allclose(layer.out(mixed), layer(x, x), atol=1e-5)


def test_group_weights_follow_the_tower(tiny: Config) -> None:
    """Read in the last block of each span: queries of zero there look everywhere."""
    model = bind(tiny)
    images = jax.random.randint(jax.random.key(1), (1, 64, 64, 3), 0, 255, jnp.uint8)
    found = attention.group_weights(model, images)
    assert found["low"].shape == (1, 3, 4, 4) and found["high"].shape == (1, 2, 4, 4)
    for maps in found.values():
        assert (maps >= 0).all() and (maps.sum((2, 3)) < 1).all()
    for block in (model.vision.blocks[1], model.vision.blocks[3]):
        block.attention.query.kernel[...] = jnp.zeros((32, 32))
        block.attention.query.bias[...] = jnp.zeros(32)
    even = attention.group_weights(model, images)
    np.testing.assert_allclose(even["low"], 1 / (1 + 16 + 3), rtol=1e-5)
    np.testing.assert_allclose(even["high"], 1 / (1 + 16 + 2), rtol=1e-5)


def test_hook_gives_words_and_maps(tiny: Config, tokenizer: Tokenizer) -> None:
    attend = attention.make_attend(some_params(tiny), tokenizer, tiny)
    seen = attend(make_record(0), "Red and blue")
    assert seen.words[0] == "start" and seen.words[-1] == "end"
    assert "".join(seen.words[1:-1]) == "redandblue"
    assert seen.levels["low"].patches.shape == (3, 4, 4)
    np.testing.assert_allclose(seen.levels["high"].words.sum(1), 1, rtol=1e-5)
    assert seen.levels["high"].words.shape == (2, len(seen.words))


@pytest.mark.parametrize(("field", "value"), [("groups", "high"), ("filters", "ffn")])
def test_ablations_show_what_is_left(
    tiny: Config, tokenizer: Tokenizer, field: str, value: str
) -> None:
    tiny.model = dataclasses.replace(tiny.model, **{field: value})
    seen = attention.make_attend(some_params(tiny), tokenizer, tiny)(
        make_record(1), "blue"
    )
    assert list(seen.levels) == (["high"] if field == "groups" else ["low", "high"])
    if field == "filters":
        assert (seen.levels["low"].words == 0).all()
