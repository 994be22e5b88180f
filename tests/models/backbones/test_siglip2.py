"""SigLIP 2's towers: parity with transformers, group tokens, pads, strict import."""

import gc
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import load_file, save_file

from unires_jax.config import BACKBONES, ModelConfig, TextConfig, VisionConfig
from unires_jax.errors import ConfigError, WeightsError
from unires_jax.models.backbones.image_tower import GroupTokens
from unires_jax.models.backbones.published import check_config, read_config
from unires_jax.models.backbones.published import load_towers as load_weights
from unires_jax.models.backbones.siglip2 import PAD, TOWERS
from unires_jax.models.keys import Keys

TOLERANCE = {"atol": 1e-4, "rtol": 1e-4}
EOS, CONTEXT = 1, 64
TINY = {
    "hidden_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 96,
}
BASE = {
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
}


def image(tower, size):
    return tower | {"image_size": size, "patch_size": 16}


@pytest.mark.parametrize(
    ("form", "tower", "native", "sizes"),
    [
        pytest.param("Siglip", TINY, 64, (64, 48, 160)),
        pytest.param("Siglip2", TINY, 64, (64,)),
        pytest.param("Siglip", BASE, 384, (384, 512), marks=pytest.mark.slow),
        pytest.param("Siglip2", BASE, 512, (512,), marks=pytest.mark.slow),
    ],
)
def test_every_hidden_state_equals_transformers(
    make_siglip, load_towers, tmp_path, form, tower, native, sizes
):
    model = make_siglip(image(tower, native), tower, form)
    model.save_pretrained(tmp_path)
    for size in sizes:
        ours, words = load_towers(tmp_path, size, backbone="siglip2")
        check_vision(model.vision_model, ours, size, form)
    check_text(model.text_model, words)
    shutil.rmtree(tmp_path)  # up to 0.8 GB
    del model, ours, words
    gc.collect()


def check_vision(theirs, ours, size, form):
    torch = pytest.importorskip("torch")
    images = np.random.default_rng(size).normal(size=(2, size, size, 3))
    images = torch.tensor(images.astype(np.float32))
    side = size // 16
    if form == "Siglip":
        inputs = {
            "pixel_values": images.permute(0, 3, 1, 2),
            "interpolate_pos_encoding": True,
        }
    else:
        patches = images.reshape(2, side, 16, side, 16, 3).permute(0, 1, 3, 2, 4, 5)
        inputs = {
            "pixel_values": patches.reshape(2, side**2, -1),
            "pixel_attention_mask": torch.ones(2, side**2, dtype=torch.int32),
            "spatial_shapes": torch.tensor([[side, side]] * 2),
        }
    with torch.no_grad():
        expected = theirs(**inputs, output_hidden_states=True)
    graph, state = nnx.split(ours)
    run = jax.jit(lambda s, x: nnx.merge(graph, s)(x, return_hidden=True))
    output = run(state, images.numpy())
    assert len(output.hidden) == len(expected.hidden_states)
    for stream, theirs_stream in zip(
        output.hidden, expected.hidden_states, strict=True
    ):
        np.testing.assert_allclose(stream, theirs_stream.numpy(), **TOLERANCE)
    # Transformers' own last state has passed the last norm, as our patches have.
    last = expected.last_hidden_state.numpy()
    np.testing.assert_allclose(output.patches, last, **TOLERANCE)


def sentences(count=4, length=16):
    """Tokens of `count` sentences, pads behind EOS, and their lengths."""
    tokens = np.random.default_rng(1).integers(5, 1000, (count, length))
    lengths = np.array([5, length, 9, 1])[:count]
    for row, words in zip(tokens, lengths, strict=True):
        row[words - 1], row[words:] = EOS, PAD
    return tokens.astype(np.int32), lengths.astype(np.int32)


def check_text(theirs, ours):
    """As transformers' model card feeds it: padded to 64, without a mask."""
    torch = pytest.importorskip("torch")
    tokens, lengths = sentences()
    full = np.pad(tokens, ((0, 0), (0, CONTEXT - 16)), constant_values=PAD)
    with torch.no_grad():
        expected = theirs(torch.tensor(full), output_hidden_states=True)
    graph, state = nnx.split(ours)
    hidden = jax.jit(lambda s, t: nnx.merge(graph, s).hidden(t))(state, full)
    for stream, theirs_stream in zip(hidden, expected.hidden_states, strict=True):
        np.testing.assert_allclose(stream, theirs_stream.numpy(), **TOLERANCE)
    words = np.asarray(call(ours)(tokens, lengths))  # given 16 tokens, not 64
    valid = np.arange(16) < lengths[:, None]
    last = expected.last_hidden_state.numpy()[:, :16]
    np.testing.assert_allclose(words[valid], last[valid], **TOLERANCE)
    assert not words[~valid].any()


def call(module):
    graph, state = nnx.split(module)
    jitted = jax.jit(lambda s, *arrays: nnx.merge(graph, s)(*arrays))
    return lambda *arrays: jitted(state, *arrays)


@pytest.fixture(scope="module")
def folder(make_siglip, tmp_path_factory):
    path = tmp_path_factory.mktemp("siglip")
    make_siglip(image(TINY, 64), TINY).save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def towers(folder, load_towers):
    return load_towers(folder, 64, backbone="siglip2")


def test_a_word_reads_the_whole_sentence(towers):
    tokens, lengths = sentences()
    changed = tokens.copy()
    changed[1, 12] += 1
    text = call(towers[1])
    before, after = text(tokens, lengths), text(changed, lengths)
    assert (np.abs(before - after)[1].max(-1) > 1e-4).all()
    np.testing.assert_array_equal(before[0], after[0])


def test_what_follows_eos_and_the_bucket_change_nothing(towers):
    """The tower fills up to its own context, whatever the tokens came padded with."""
    tokens, lengths = sentences()
    text = call(towers[1])
    words = text(tokens, lengths)
    changed = np.where(np.arange(16) < lengths[:, None], tokens, 7)
    np.testing.assert_array_equal(text(changed, lengths), words)
    longer = np.pad(tokens, ((0, 0), (0, 20)), constant_values=EOS)
    np.testing.assert_array_equal(text(longer, lengths)[:, :16], words)
    assert not np.any(text(longer, lengths)[:, 16:])
    short, few = tokens[[0, 2, 3], :9], lengths[[0, 2, 3]]
    np.testing.assert_allclose(text(short, few), words[[0, 2, 3], :9], atol=1e-6)


def test_pads_are_read(towers):
    """As in its training: without them the words are others."""
    tokens, lengths = sentences()
    graph, state = nnx.split(towers[1])

    def unpadded(state, tokens):
        tower = nnx.merge(graph, state)
        return tower.ln_final(tower.hidden(tokens)[-1])

    alone = jax.jit(unpadded)(state, tokens[:1, :5])
    words = call(towers[1])(tokens[:1], lengths[:1])
    assert np.abs(alone - words[:, :5]).max() > 1e-2


def see(tower, *groups):
    """What the tower makes of two pictures with these group tokens on board."""
    graph, state = nnx.split(tower)
    images = jnp.asarray(np.random.default_rng(0).normal(size=(2, 64, 64, 3)), "f4")

    def run(state):
        return nnx.merge(graph, state)(images, *groups, return_hidden=True)

    return jax.jit(run)(state)


def groups(seed, bias=-np.inf):
    """Low and high ones, each for half of the four blocks."""
    vision = VisionConfig(patch=16, width=48, depth=4, heads=4, mlp=96)
    keys = Keys(seed)
    return tuple(GroupTokens(n, 2, vision, bias=bias, keys=keys) for n in (5, 3))


def test_shut_groups_leave_the_patches_to_the_tower(towers):
    alone = see(towers[0])
    first, second = see(towers[0], *groups(1)), see(towers[0], *groups(2))
    # Not one bit comes from the groups ...
    np.testing.assert_array_equal(first.patches, second.patches)
    assert not np.array_equal(first.low, second.low)
    # ... and only the summation order differs from a tower without them.
    for stream, expected in zip(first.hidden, alone.hidden, strict=True):
        np.testing.assert_allclose(stream, expected, atol=1e-5)
    np.testing.assert_allclose(first.patches, alone.patches, atol=1e-5)
    assert first.patches.shape == (2, 16, 48)
    assert (first.low.shape, first.high.shape) == ((2, 5, 48), (2, 3, 48))


def test_open_groups_are_seen_and_those_of_the_start_hardly(towers):
    alone = see(towers[0]).patches
    assert np.abs(see(towers[0], *groups(1, 0.0)).patches - alone).max() > 1e-2
    start = see(towers[0], *groups(1, -10.0)).patches
    np.testing.assert_allclose(start, alone, atol=1e-3)
    assert not np.array_equal(start, alone)


@pytest.fixture
def copied(folder, tmp_path):
    """A copy of the checkpoint, free to be spoiled."""
    return shutil.copytree(folder, tmp_path / "siglip")


def pure(tower):
    return nnx.to_pure_dict(nnx.state(tower))


def test_every_fault_is_in_one_error(copied, towers):
    tensors = load_file(copied / "model.safetensors")
    for name in ("logit_bias", "vision_model.head.probe", "text_model.head.weight"):
        assert name in tensors  # ours neither to place nor to miss
    del tensors["vision_model.embeddings.patch_embedding.bias"]
    tensors["vision_model.embeddings.class_embedding"] = np.zeros(48, np.float32)
    tensors["text_model.headless"] = np.zeros(3, np.float32)
    name = "vision_model.embeddings.position_embedding.weight"
    tensors[name] = tensors[name][:-1].copy()
    save_file(tensors, copied / "model.safetensors")
    with pytest.raises(WeightsError, match="these SigLIP 2 weights") as caught:
        load_weights(TOWERS, str(copied), *map(pure, towers))
    for line in [
        "missing: vision.patch_embed.bias (48,)",
        "unmatched: vision_model.embeddings.class_embedding (48,)",
        "unmatched: text_model.headless (3,)",
        "misshapen: vision_model.embeddings.position_embedding.weight (15, 48)",
    ]:
        assert line in str(caught.value)
    assert str(caught.value).count("\n") == 4


def test_config_of_the_hub_leaves_out_what_is_usual(copied):
    """As in google/siglip2-base-patch16-512."""
    text = {"model_type": "siglip_text_model", "vocab_size": 256000}
    vision = {"model_type": "siglip_vision_model", "image_size": 512}
    content = {"model_type": "siglip", "text_config": text, "vision_config": vision}
    (copied / "config.json").write_text(json.dumps(content))
    vision, text = read_config(TOWERS, str(copied))
    usual = {"width": 768, "depth": 12, "heads": 12, "mlp": 3072}
    usual["activation"] = "gelu_pytorch_tanh"
    assert vision == VisionConfig(patch=16, **usual)
    assert text == TextConfig(vocab=256000, context=64, **usual)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "clip"}, "model_type='clip'"),
        ({"vision_config": {"layer_norm_eps": 1e-5}}, "layer_norm_eps=1e-05"),
        ({"text_config": {"hidden_act": "silu"}}, "hidden_act='silu'"),
    ],
)
def test_a_config_of_other_arithmetic_is_refused(copied, change, message):
    content = {"vision_config": {}, "text_config": {}} | change
    (copied / "config.json").write_text(json.dumps(content))
    with pytest.raises(WeightsError, match=message):
        read_config(TOWERS, str(copied))


def test_other_heads_than_the_models_are_named(folder):
    model = ModelConfig(backbone="siglip2")
    model.vision, model.text = read_config(TOWERS, str(folder))
    model.text.context = 32  # a shorter one is cut
    check_config(TOWERS, str(folder), model)
    model.vision.heads, model.text.activation = 2, "gelu"
    with pytest.raises(ConfigError) as caught:
        check_config(TOWERS, str(folder), model)
    assert "model.vision.heads=2, SigLIP 2 has 4" in str(caught.value)
    assert "model.text.activation='gelu'" in str(caught.value)


def test_the_preprocessing_is_the_published_one():
    transformers = pytest.importorskip("transformers")
    processor, ours = transformers.SiglipImageProcessor(), BACKBONES["siglip2"]
    assert tuple(processor.image_mean) == ours.image_mean == (0.5, 0.5, 0.5)
    assert tuple(processor.image_std) == ours.image_std
    assert ours.pad_colour == (128, 128, 128)
