"""CLIP's towers: parity with transformers, group tokens, causality, padding."""

import gc
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from unires_jax.config import TextConfig, VisionConfig
from unires_jax.models.backbones.clip import TextTower, VisionTower
from unires_jax.models.backbones.image_tower import GroupTokens
from unires_jax.models.keys import Keys

TOLERANCE = {"atol": 1e-4, "rtol": 1e-4}
VISION = VisionConfig(patch=16, width=48, depth=4, heads=4, mlp=96)
TEXT = TextConfig(vocab=100, context=16, width=32, depth=2, heads=2, mlp=64)
EOS = 999  # the largest id, as in CLIP: transformers finds it by argmax


def _tower(patch, width, depth, heads, size=224):
    return {
        "hidden_size": width,
        "num_hidden_layers": depth,
        "num_attention_heads": heads,
        "intermediate_size": 4 * width,
        "image_size": size,
        "patch_size": patch,
    }


def _text_tower(width, depth, heads):
    tower = _tower(0, width, depth, heads)
    return {k: v for k, v in tower.items() if k not in ("image_size", "patch_size")}


FULL = [
    pytest.param(
        _tower(16, 768, 12, 12), _text_tower(512, 12, 8), "quick_gelu", (224, 288)
    ),
    pytest.param(
        _tower(14, 1024, 24, 16), _text_tower(768, 12, 12), "gelu", (224, 336)
    ),
]
SHALLOW = [
    pytest.param(
        _tower(16, 768, 3, 12), _text_tower(512, 2, 8), "gelu", (224, 112, 288)
    ),
    pytest.param(
        _tower(14, 1024, 2, 16), _text_tower(768, 2, 12), "quick_gelu", (224, 336)
    ),
]


@pytest.mark.parametrize(
    ("vision", "text", "activation", "sizes"),
    [
        pytest.param(
            _tower(32, 768, 12, 12), _text_tower(512, 12, 8), "quick_gelu", (224, 288)
        ),
        *SHALLOW,
        *[pytest.param(*p.values, marks=pytest.mark.slow) for p in FULL],
    ],
)
def test_every_hidden_state_equals_transformers(
    make_clip, load_towers, tmp_path, vision, text, activation, sizes
):
    model = make_clip(vision, text, activation)
    model.save_pretrained(tmp_path)
    for size in sizes:
        ours, words = load_towers(tmp_path, size)
        _check_vision(model.vision_model, ours, size)
    _check_text(model.text_model, words)
    shutil.rmtree(tmp_path)  # up to 1.5 GB
    del model, ours, words
    gc.collect()


def _check_vision(theirs, ours, size):
    torch = pytest.importorskip("torch")
    images = np.random.default_rng(size).normal(size=(2, size, size, 3))
    images = images.astype(np.float32)
    with torch.no_grad():
        expected = theirs(
            torch.tensor(images).permute(0, 3, 1, 2),
            interpolate_pos_encoding=True,
            output_hidden_states=True,
        )
    output = _jit(ours, return_hidden=True)(images)
    assert len(output.hidden) == len(expected.hidden_states)
    for state, theirs_state in zip(output.hidden, expected.hidden_states, strict=True):
        np.testing.assert_allclose(state, theirs_state.numpy(), **TOLERANCE)
    cls = ours.ln_post(output.hidden[-1][:, 0])
    np.testing.assert_allclose(cls, expected.pooler_output.numpy(), **TOLERANCE)
    with torch.no_grad():
        patches = theirs.post_layernorm(expected.last_hidden_state[:, 1:]).numpy()
    np.testing.assert_allclose(output.patches, patches, **TOLERANCE)


def _check_text(theirs, ours):
    torch = pytest.importorskip("torch")
    tokens = np.random.default_rng(1).integers(0, EOS, (4, 32))
    lengths = np.array([5, 32, 17, 2])
    for row, length in zip(tokens, lengths, strict=True):
        row[length - 1 :] = EOS  # pads are EOS too
    with torch.no_grad():
        expected = theirs(torch.tensor(tokens), output_hidden_states=True)
    graph, state = nnx.split(ours)
    hidden = jax.jit(lambda s, t: nnx.merge(graph, s).hidden(t))(state, tokens)
    for state, theirs_state in zip(hidden, expected.hidden_states, strict=True):
        np.testing.assert_allclose(state, theirs_state.numpy(), **TOLERANCE)
    words = np.asarray(_jit(ours)(tokens, lengths))
    valid = np.arange(32) < lengths[:, None]
    last = expected.last_hidden_state.numpy()
    np.testing.assert_allclose(words[valid], last[valid], **TOLERANCE)
    assert not words[~valid].any()
    eos = words[np.arange(4), lengths - 1]
    np.testing.assert_allclose(eos, expected.pooler_output.numpy(), **TOLERANCE)


def _jit(module, **options):
    """The module compiled; modules among its arguments become part of the program."""
    graph, state = nnx.split(module)

    def call(*arguments):
        arrays = [a for a in arguments if not isinstance(a, GroupTokens)]

        def run(state, arrays):
            traced = iter(arrays)
            mixed = [
                a if isinstance(a, GroupTokens) else next(traced) for a in arguments
            ]
            return nnx.merge(graph, state)(*mixed, **options)

        return jax.jit(run)(state, arrays)

    return call


def _images(count=2, size=64, seed=0):
    images = np.random.default_rng(seed).normal(size=(count, size, size, 3))
    return jnp.asarray(images, jnp.float32)


def _filled(build, seed=0):
    """The module with random parameters, drawn by numpy: nothing is compiled."""
    graph, state = nnx.split(nnx.eval_shape(build))
    rng = np.random.default_rng(seed)

    def fill(path, x):
        name = path[-1].key
        spread = 1.0 if name == "tokens" else 0.1
        noise = rng.normal(size=x.shape) * spread + (name == "scale")
        return jnp.asarray(noise, jnp.float32)

    tree = jax.tree_util.tree_map_with_path(fill, nnx.to_pure_dict(state))
    return nnx.merge(graph, tree)


def _vision(config=VISION, **options):
    return _filled(lambda: VisionTower(config, 64, keys=Keys(0), **options))


def _text(**options):
    return _filled(lambda: TextTower(TEXT, keys=Keys(0), **options))


def _groups(count, bias=0.0, seed=0, blocks=2):
    groups = _filled(
        lambda: GroupTokens(count, blocks, VISION, bias=bias, keys=Keys(0)), seed
    )
    if groups.bias is not None:
        groups.bias[...] = jnp.full((blocks, VISION.heads), bias)
    return groups


def test_shut_groups_leave_the_patches_to_clip():
    tower, images, shut = _jit(_vision(), return_hidden=True), _images(), -np.inf
    clip = tower(images)
    first = tower(images, _groups(5, shut), _groups(3, shut))
    second = tower(images, _groups(5, shut, 1), _groups(3, shut, 2))
    # Not one bit comes from the groups ...
    np.testing.assert_array_equal(first.patches, second.patches)
    assert not np.array_equal(first.low, second.low)
    # ... and only the summation order differs from a tower without them.
    for output, expected in zip(first.hidden, clip.hidden, strict=True):
        np.testing.assert_allclose(output, expected, atol=1e-5)
    np.testing.assert_allclose(first.patches, clip.patches, atol=1e-5)


def test_groups_hardly_move_the_patches_at_the_start(make_clip, load_towers, tmp_path):
    make_clip(_tower(32, 768, 12, 12)).save_pretrained(tmp_path)
    tower, _ = load_towers(tmp_path, 480)
    config = VisionConfig(patch=32)
    low, high = (GroupTokens(n, 6, config, keys=Keys(n)) for n in (64, 8))
    tower, images = _jit(tower), _images(1, 480)
    clip, grouped = tower(images), tower(images, low, high)
    np.testing.assert_allclose(grouped.patches, clip.patches, atol=1e-3)
    assert not np.array_equal(grouped.patches, clip.patches)


def test_low_groups_leave_at_the_split_and_high_ones_enter_there():
    images = _images()
    graph, state = nnx.split(_vision())
    tower = _jit(_vision(), split_layer=3)
    low, high = _groups(5, blocks=3), _groups(3, blocks=1)

    def leave(state, level):
        output = nnx.merge(graph, state)(images, low, high, split_layer=3)
        return getattr(output, level).sum()

    def reached(level):
        gradient = jax.jit(jax.grad(leave), static_argnums=1)(state, level)
        tree = nnx.to_pure_dict(gradient)
        return [tree["blocks"][i]["mlp"]["up"]["kernel"].any() for i in range(4)]

    assert reached("low") == [True, True, True, False]
    assert reached("high") == [True, True, True, True]
    output = tower(images, low, high)
    assert (output.low.shape, output.high.shape) == ((2, 5, 48), (2, 3, 48))
    moved = tower(images, low, _groups(3, seed=9, blocks=1))
    np.testing.assert_array_equal(output.low, moved.low)
    assert not np.allclose(output.high, moved.high, atol=1e-3)
    assert not np.allclose(output.patches, moved.patches, atol=1e-3)


def test_open_groups_and_patches_see_each_other():
    tower, low = _jit(_vision()), _groups(5)
    output = tower(_images(), low)
    assert not np.allclose(output.patches, tower(_images()).patches, atol=1e-3)
    assert not np.allclose(output.low, tower(_images(seed=1), low).low, atol=1e-3)
    assert output.high is None


def test_bias_does_not_keep_groups_from_one_another():
    tower, first, second = _jit(_vision()), _groups(5, -np.inf), _groups(5, -np.inf)
    second.tokens[...] = second.tokens[...].at[4].add(1 + jnp.arange(48) % 2)
    output, moved = tower(_images(), first).low, tower(_images(), second).low
    assert not np.allclose(output[:, :4], moved[:, :4], atol=1e-4)


def test_groups_enter_at_the_scale_of_the_stream():
    groups = GroupTokens(50, 2, VISION, keys=Keys(0))
    stream = jnp.asarray(np.random.default_rng(0).normal(size=(2, 17, 48)))
    stream = 3 + stream * jnp.array([0.5, 40.0])[:, None, None]
    spread = np.asarray(groups.enter(stream)).std(axis=(1, 2))
    np.testing.assert_allclose(spread, [0.5, 40], rtol=0.05)


def test_each_head_and_block_has_its_own_bias():
    tower, low = _vision(), _groups(5)
    graph, state = nnx.split(low)
    gradient = jax.jit(
        jax.grad(
            lambda s: jnp.square(tower(_images(), nnx.merge(graph, s)).patches).sum()
        )
    )(state)
    bias = np.asarray(nnx.to_pure_dict(gradient)["bias"])
    assert bias.shape == (2, 4)
    assert len(np.unique(bias)) == 8 and bias.all()


def test_figure_only_groups_have_no_bias():
    assert "bias" not in nnx.to_pure_dict(nnx.state(_groups(5, None)))
    without, zero = _groups(5), _groups(5)
    without.bias = None
    tower = _jit(_vision())
    free, biased = tower(_images(), without), tower(_images(), zero)
    np.testing.assert_allclose(free.patches, biased.patches, atol=1e-6)


def test_images_of_a_batch_do_not_meet():
    tower, images = _jit(_vision()), _images(3)
    together = tower(images, _groups(5), _groups(3))
    alone = tower(images[1:2], _groups(5), _groups(3))
    for name in ("patches", "low", "high"):
        np.testing.assert_allclose(
            getattr(together, name)[1:2], getattr(alone, name), atol=1e-5
        )


def test_words_do_not_see_what_follows():
    text = _jit(_text())
    tokens = np.random.default_rng(0).integers(0, 100, (1, 12))
    changed = tokens.copy()
    changed[0, 7] = (changed[0, 7] + 1) % 100
    lengths = jnp.array([12])
    before = text(jnp.asarray(tokens), lengths)
    after = text(jnp.asarray(changed), lengths)
    np.testing.assert_array_equal(before[:, :7], after[:, :7])
    assert (np.abs(before - after)[0, 7:].max(-1) > 1e-3).all()


def test_bfloat16_towers_keep_float32_parameters():
    tower, text = _vision(dtype=jnp.bfloat16), _text(dtype=jnp.bfloat16)
    low = GroupTokens(5, 2, VISION, dtype=jnp.bfloat16, keys=Keys(0))
    output = _jit(tower)(_images(), low)
    words = _jit(text)(jnp.zeros((2, 8), int), jnp.array([8, 8]))
    assert {x.dtype for x in (output.patches, output.low, words)} == {
        jnp.bfloat16.dtype
    }
    leaves = jax.tree.leaves(nnx.state((tower, low, text), nnx.Param))
    assert {leaf.dtype for leaf in leaves} == {jnp.dtype("float32")}
