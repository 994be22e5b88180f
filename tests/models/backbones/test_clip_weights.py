"""CLIP files of every form fill our towers, and bad ones say what is wrong."""

import json
import shutil

import huggingface_hub
import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from unires_jax.config import TextConfig, VisionConfig
from unires_jax.errors import WeightsError
from unires_jax.models.backbones.clip import TOWERS
from unires_jax.models.backbones.positions import positions_at, resize_positions
from unires_jax.models.backbones.published import load_towers, read_config


@pytest.fixture
def folder(tiny_clip, tmp_path):
    """A copy of the tiny checkpoint, free to be spoiled."""
    return shutil.copytree(tiny_clip[1], tmp_path / "clip")


@pytest.fixture
def shapes(tiny_clip, load_towers):
    """What load_towers is to fill: the pure dicts of both towers."""
    from flax import nnx

    towers = load_towers(tiny_clip[1], 64)
    return tuple(nnx.to_pure_dict(nnx.state(tower)) for tower in towers)


def _respell(folder, change):
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


def _equal(got, expected):
    jax.tree.map(np.testing.assert_array_equal, got, expected)


def test_config_gives_sizes_and_activation(make_clip, tmp_path):
    make_clip(activation="gelu").save_pretrained(tmp_path)
    vision, text = read_config(TOWERS, str(tmp_path))
    assert (vision.patch, vision.width, vision.depth, vision.heads) == (16, 48, 4, 4)
    assert (vision.mlp, vision.activation) == (96, "gelu")
    assert (text.vocab, text.context, text.width, text.depth) == (1000, 77, 32, 2)
    assert (text.heads, text.mlp, text.activation) == (2, 64, "gelu")


def test_config_without_fields_is_transformers_default(folder):
    (folder / "config.json").write_text('{"vision_config": {}, "text_config": {}}')
    vision, text = read_config(TOWERS, str(folder))
    assert vision == VisionConfig(patch=32)
    assert text == TextConfig()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "config.json"),
        ("{", "config.json"),
        ('{"vision_config": {}}', "text_config"),
        ("[]", "CLIPModel"),
        ('{"vision_config": {}, "text_config": null}', "no object"),
        *(
            (json.dumps({"vision_config": field, "text_config": {}}), message)
            for field, message in (
                ({"hidden_size": "64"}, "hidden_size='64' is no int"),
                ({"hidden_act": []}, "hidden_act='[]' is no str"),
                ({"layer_norm_eps": "x"}, "layer_norm_eps='x' is no float"),
                ({"num_attention_heads": True}, "num_attention_heads='True' is no"),
            )
        ),
        (
            '{"model_type": "blip", "vision_config": {}, "text_config": {}}',
            "model_type='blip'",
        ),
        (
            '{"vision_config": {"hidden_act": "silu"}, "text_config": {}}',
            "hidden_act='silu'",
        ),
        (
            '{"vision_config": {}, "text_config": {"layer_norm_eps": 1e-6}}',
            "layer_norm_eps=1e-06",
        ),
    ],
)
def test_unusable_config_is_named(folder, content, message):
    (folder / "config.json").unlink()
    if content is not None:
        (folder / "config.json").write_text(content)
    with pytest.raises(WeightsError, match=r"config\.json") as error:
        read_config(TOWERS, str(folder))
    assert message in str(error.value)


def test_shards_and_single_file_equal_the_folder(tiny_clip, shapes, tmp_path):
    model, folder = tiny_clip
    expected = load_towers(TOWERS, str(folder), *shapes)
    model.save_pretrained(tmp_path, max_shard_size="100KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    _equal(load_towers(TOWERS, str(tmp_path), *shapes), expected)
    _equal(load_towers(TOWERS, str(folder / "model.safetensors"), *shapes), expected)
    assert read_config(TOWERS, str(folder / "model.safetensors"))[0].width == 48


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_sources_widen_exactly(dtype, make_clip, shapes, tmp_path):
    torch = pytest.importorskip("torch")
    model = make_clip().to(getattr(torch, dtype))
    model.save_pretrained(tmp_path / "half")
    model.float().save_pretrained(tmp_path / "widened")
    half = load_towers(TOWERS, str(tmp_path / "half"), *shapes)
    assert {x.dtype for x in jax.tree.leaves(half)} == {np.dtype("float32")}
    _equal(half, load_towers(TOWERS, str(tmp_path / "widened"), *shapes))


def test_index_buffers_of_old_files_are_skipped(folder, shapes):
    expected = load_towers(TOWERS, str(folder), *shapes)

    def add_buffers(tensors):
        for tower, size in [("vision", 17), ("text", 77)]:
            name = f"{tower}_model.embeddings.position_ids"
            tensors[name] = np.arange(size)[None]

    _respell(folder, add_buffers)
    _equal(load_towers(TOWERS, str(folder), *shapes), expected)


def test_every_fault_is_in_one_error(folder, shapes):
    def spoil(tensors):
        del tensors["vision_model.pre_layrnorm.bias"]
        del tensors["text_model.encoder.layers.1.mlp.fc1.weight"]
        tensors["vision_model.encoder.layers.9.mlp.fc1.bias"] = np.zeros(96)
        tensors["vision_model.surprise"] = np.zeros(3)
        name = "text_model.embeddings.token_embedding.weight"
        tensors[name] = tensors[name][:900]
        name = "vision_model.embeddings.patch_embedding.weight"
        tensors[name] = tensors[name][..., :14, :14].copy()
        name = "vision_model.embeddings.position_embedding.weight"
        tensors[name] = tensors[name][:-1]

    _respell(folder, spoil)
    with pytest.raises(WeightsError) as error:
        load_towers(TOWERS, str(folder), *shapes)
    message = str(error.value)
    for line in [
        "missing: vision.ln_pre.bias (48,)",
        "missing: text.blocks.1.mlp.up.kernel (32, 64)",
        "unmatched: vision_model.encoder.layers.9.mlp.fc1.bias (96,)",
        "unmatched: vision_model.surprise (3,)",
        "misshapen: text_model.embeddings.token_embedding.weight (900, 32)",
        "misshapen: vision_model.embeddings.patch_embedding.weight (48, 3, 14, 14)",
        "misshapen: vision_model.embeddings.position_embedding.weight (16, 48)",
    ]:
        assert line in message
    assert message.count("\n") == 7
    assert str(folder) in message


def test_text_positions_are_cut_but_never_stretched(tiny_clip, load_towers):
    model, folder = tiny_clip
    table = model.text_model.embeddings.position_embedding.weight.detach().numpy()
    _, text = load_towers(folder, 64, context=20)
    np.testing.assert_array_equal(text.positions[...], table[:20])
    with pytest.raises(WeightsError, match=r"text\.positions is \(80, 32\)"):
        load_towers(folder, 64, context=80)


@pytest.mark.parametrize("broken", ["truncated", "absent", "absent shard", "bad index"])
def test_unreadable_file_is_named(folder, shapes, broken):
    file, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if broken == "truncated":
        file.write_bytes(file.read_bytes()[:5000])
    elif broken == "absent":
        file.unlink()
    elif broken == "absent shard":
        file = folder / "model-00001-of-00002.safetensors"
        index.write_text(json.dumps({"weight_map": {"logit_scale": file.name}}))
    else:
        file = index
        index.write_text("[]")
    with pytest.raises(WeightsError, match="fetch it again") as error:
        load_towers(TOWERS, str(folder), *shapes)
    assert str(file) in str(error.value)


def test_path_that_is_nothing_is_named(monkeypatch, shapes):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    for path in ["no/such", "no/such/folder", "openai/clip-vit-nowhere"]:
        with pytest.raises(WeightsError, match=f"{path}: neither a local folder"):
            load_towers(TOWERS, path, *shapes)


@pytest.mark.parametrize("side", [3, 7, 9, 18, 30])
def test_positions_resize_like_pytorch(side):
    torch = pytest.importorskip("torch")
    table = np.random.default_rng(0).normal(size=(1 + 14 * 14, 6)).astype(np.float32)
    grid = torch.tensor(table[1:].reshape(1, 14, 14, 6)).permute(0, 3, 1, 2)
    expected = torch.nn.functional.interpolate(
        grid, size=(side, side), mode="bicubic", align_corners=False
    )
    expected = expected.permute(0, 2, 3, 1).reshape(-1, 6).numpy()
    got = resize_positions(table, side, 1)
    np.testing.assert_array_equal(got[0], table[0])
    np.testing.assert_allclose(got[1:], expected, atol=5e-6)


def test_positions_of_the_same_grid_are_untouched():
    table = np.random.default_rng(0).normal(size=(50, 6)).astype(np.float32)
    np.testing.assert_array_equal(resize_positions(table, 7, 1), table)
    assert resize_positions(table, 8, 1).shape == (65, 6)


@pytest.mark.parametrize("prefix", [0, 1])
@pytest.mark.parametrize("side", [4, 7, 9])
def test_positions_within_a_program_are_those_of_the_host(prefix, side):
    table = np.random.default_rng(0).normal(size=(prefix + 49, 6)).astype(np.float32)
    got = jax.jit(positions_at, static_argnums=(1, 2))(table, side, prefix)
    expected = resize_positions(table, side, prefix)
    np.testing.assert_allclose(got, expected, atol=1e-6)
