"""The attention that the report draws is the attention that the model pays."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.coloured_boxes import make_record
from helpers.tiny import change, random_params

from unires_jax.config import Config
from unires_jax.data.tokenizer import Tokenizer
from unires_jax.evaluation.report import attention
from unires_jax.models.unires import Apply

Tree = Any


@pytest.fixture
def tiny(config: Config) -> Config:
    """Four blocks, so that each level's groups pass two; wide enough to lean."""
    tower = {"depth": 4, "patch": 16, "width": 32, "mlp": 32}
    values = {f"model__vision__{name}": value for name, value in tower.items()}
    return change(config, data__lengths=(16,), **values)


# The blocks once more in numpy, of parameters alone: nothing here is the model's code.


def dense(p: Tree, x: np.ndarray) -> np.ndarray:
    return x @ p["kernel"] + p["bias"]


def norm(p: Tree, x: np.ndarray) -> np.ndarray:
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt(x.var(-1, keepdims=True) + 1e-5) * p["scale"] + p["bias"]


def attend(
    p: Tree, queries: np.ndarray, keys: np.ndarray, bias: Any = 0.0, heads: int = 2
) -> tuple[np.ndarray, np.ndarray]:
    """One example: the output [q, d] and the weights [h, q, k]."""
    q, k, v = (
        dense(p[name], x).reshape(len(x), heads, -1).swapaxes(0, 1)
        for name, x in (("query", queries), ("key", keys), ("value", keys))
    )
    logits = q @ k.swapaxes(1, 2) / np.sqrt(q.shape[-1]) + bias
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    mixed = (weights @ v).swapaxes(0, 1).reshape(len(queries), -1)
    return dense(p["out"], mixed), weights


def block(p: Tree, x: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    y = norm(p["ln1"], x)
    mixed, weights = attend(p["attention"], y, y, bias)
    x = x + mixed
    hidden = dense(p["mlp"]["up"], norm(p["ln2"], x))
    hidden = hidden / (1 + np.exp(-1.702 * hidden))
    return x + dense(p["mlp"]["down"], hidden), weights


def tower_maps(params: Tree, x: np.ndarray) -> dict[str, np.ndarray]:
    """Each level's group tokens to patches [g, n], of [CLS, patches] at block 0."""
    maps, length = {}, len(x)
    for level, start in (("low", 0), ("high", 2)):
        p = params[level]
        count = len(p["tokens"])
        x = np.concatenate([x, x.std(-1).mean() * norm(p["norm"], p["tokens"])])
        for i in (0, 1):
            bias = np.zeros((2, len(x), len(x)))
            bias[:, :length, length:] = p["bias"][i][:, None, None]
            x, weights = block(params["vision"]["blocks"][start + i], x, bias)
        maps[level] = weights[:, -count:, 1:length].mean(0)
        x = x[:length]
    return maps


def inputs() -> tuple[jax.Array, ...]:
    key = jax.random.key(1)
    images = jax.random.randint(key, (2, 64, 64, 3), 0, 255, jnp.uint8)
    tokens = jax.random.randint(key, (2, 9), 1, 50)
    extent, lengths = jnp.array([[64, 40], [30, 64]]), jnp.array([6, 9])
    return images, extent, tokens, lengths


def test_groups_to_patches_are_those_of_every_block_passed(tiny: Config) -> None:
    params = random_params(tiny.model, 0.7)
    model = Apply(tiny.model).bind(jax.tree.map(jnp.asarray, params))
    patches, _ = model.attention(*inputs())
    exact = jax.tree.map(lambda x: x.astype(np.float64), params)
    embedded = np.asarray(model.vision.embed(model.pixels(inputs()[0])), np.float64)
    for i, x in enumerate(embedded):
        expected = tower_maps(exact, x)
        for level, count in (("low", 3), ("high", 2)):
            assert patches[level].shape == (2, count, 16)
            np.testing.assert_allclose(patches[level][i], expected[level], 1e-3, 1e-6)
            # Far from even, so that a change shows.
            assert expected[level].std() > 0.5 * expected[level].mean()


def test_groups_to_words_are_those_of_the_filter(tiny: Config) -> None:
    params = random_params(tiny.model, 0.7)
    model = Apply(tiny.model).bind(jax.tree.map(jnp.asarray, params))
    images, extent, tokens, lengths = inputs()
    _, read = model.attention(images, extent, tokens, lengths)
    features = model.encode_image(images, extent)
    words = np.asarray(model.encode_text(tokens, lengths), np.float64)
    for level in ("low", "high"):
        p = params[f"{level}_filter"]
        groups = np.asarray(getattr(features, level), np.float64)
        for i, length in enumerate(lengths):
            queries = norm(p["layer"]["ln1"], groups[i])
            keys = norm(p["ln_words"], words[i, :length])
            _, weights = attend(p["layer"]["mix"], queries, keys)
            np.testing.assert_allclose(
                read[level][i, :, :length], weights.mean(0), atol=1e-4
            )
            assert (read[level][i, :, length:] == 0).all()
            assert weights.std() > 0.1 * weights.mean()


def test_hook_gives_words_and_maps(tiny: Config, tokenizer: Tokenizer) -> None:
    attend = attention.make_attend(random_params(tiny.model, 0.3), tokenizer, tiny)
    drawing = attend(make_record(0), "Red and blue")
    assert drawing.words[0] == "start" and drawing.words[-1] == "end"
    assert "".join(drawing.words[1:-1]) == "redandblue"
    assert list(drawing.levels) == ["low", "high"]
    assert drawing.levels["low"].patches.shape == (3, 4, 4)
    np.testing.assert_allclose(drawing.levels["high"].words.sum(1), 1, rtol=1e-5)
    assert drawing.levels["high"].words.shape == (2, len(drawing.words))


@pytest.mark.parametrize(
    ("field", "value", "levels"),
    [
        ("groups", "high", ["high"]),
        ("groups", "none", []),
        ("filters", "ffn", ["low", "high"]),
        ("stages", 1, ["low", "high"]),
    ],
)
def test_ablations_show_what_remains(
    tiny: Config, tokenizer: Tokenizer, field: str, value: Any, levels: list[str]
) -> None:
    tiny = change(tiny, **{f"model__{field}": value})
    drawing = attention.make_attend(random_params(tiny.model, 0.3), tokenizer, tiny)(
        make_record(1), "blue"
    )
    assert list(drawing.levels) == levels
    for level in drawing.levels.values():
        if field == "groups":
            assert level.words is not None
            np.testing.assert_allclose(level.words.sum(1), 1, rtol=1e-5)
        else:
            assert level.words is None  # no filter reads them
