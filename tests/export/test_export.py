"""Exports give what the live model gives, without this package."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.efficientnet import NARROW
from helpers.exporting import (
    EACH_KIND,
    GRAPH_KINDS,
    TOLERANCE,
    assert_equal_answers,
    graph,
    inputs,
    live,
    needs_onnx,
    run_elsewhere,
    write_run,
)
from helpers.pictures import noise
from helpers.tiny import WORDS, make_loaded, tiny_config
from PIL import Image

import unires_jax
from unires_jax.config import BACKBONES
from unires_jax.export import onnx_graphs
from unires_jax.export.command import export
from unires_jax.inference import exported
from unires_jax.inference.loaded import Loaded
from unires_jax.inference.places import BUNDLED
from unires_jax.models import forms
from unires_jax.models.efficientnet import SHAPES
from unires_jax.models.forms import FAST
from unires_jax.partworld.world import draw_record
from unires_jax.pixels.canvas import prepare_image
from unires_jax.pixels.grid import logits_to_mask
from unires_jax.serving.predictor import Predictor


@pytest.mark.parametrize("kind", EACH_KIND)
def test_logits_equal_the_live_models(kind: str, exports: Path, loaded: Loaded) -> None:
    """For numbers of pictures, expressions and tokens that were never traced."""
    assert_equal_answers(exports / kind, loaded, (1, 1, 8), (3, 5, 16), (2, 9, 7))


@pytest.mark.parametrize("kind", ["safetensors", "orbax", "stablehlo"])
def test_graphs_are_for_three_platforms(kind: str, exports: Path) -> None:
    for name in ("encode_image", "segment"):
        data = (exports / kind / f"{name}.stablehlo").read_bytes()
        assert jax.export.deserialize(data).platforms == ("cpu", "cuda", "tpu")


def test_graphs_hold_the_forms_of_no_platform(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any) -> jax.Array:
        raise AssertionError("a kernel of this machine's platform was asked for")

    own = FAST._replace(attend=never, dense=never)
    monkeypatch.setattr(forms, "for_platform", lambda _: own)
    export(run, "stablehlo", tmp_path / "exported")


@pytest.mark.parametrize("kind", ["safetensors", "orbax"])
def test_parameters_come_back_exactly(
    kind: str, exports: Path, loaded: Loaded, predictor: Predictor
) -> None:
    back = exported.read(exports / kind)
    jax.tree.map(np.testing.assert_array_equal, back.params, loaded.params)
    assert back.config == loaded.config and back.meta["no_target_trained"]
    model = unires_jax.load(exports / kind)
    for ours, theirs in zip(
        model.segment(noise(0), WORDS), predictor.segment(noise(0), WORDS), strict=True
    ):
        np.testing.assert_array_equal(ours.logits, theirs.logits)


@pytest.mark.parametrize("kind", ["safetensors", "orbax"])
def test_a_network_as_stem_is_handed_on(
    kind: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its parameters come back, without the package that the training read it from."""
    monkeypatch.setitem(SHAPES, "efficientnet_lite0", NARROW)
    config = tiny_config(
        stem="a-package-that-is-not-here",
        **{"model__stem": "efficientnet_lite0", "model__stem_to_patches": True},
    )
    loaded = make_loaded(tmp_path, config)
    folder = export(write_run(tmp_path / "run", loaded), kind, tmp_path / kind)
    back = exported.read(folder)
    assert "tower" in str(jax.tree.structure(back.params))
    jax.tree.map(np.testing.assert_array_equal, back.params, loaded.params)
    model, live_model = unires_jax.load(folder), Predictor(loaded)
    for ours, theirs in zip(
        model.segment(noise(0), WORDS), live_model.segment(noise(0), WORDS), strict=True
    ):
        np.testing.assert_array_equal(ours.logits, theirs.logits)


@pytest.mark.parametrize("kind", ["safetensors", "orbax", "stablehlo"])
def test_bfloat16_rounds_the_parameters_once(
    kind: Any, tmp_path: Path, loaded: Loaded, run: Path
) -> None:
    folder = export(run, kind, tmp_path / kind, dtype="bfloat16")
    assert json.loads((folder / "unires.json").read_text())["dtype"] == "bfloat16"
    rounded = jax.tree.map(
        lambda x: x.astype(jnp.bfloat16).astype(np.float32), loaded.params
    )
    if kind != "stablehlo":
        back = exported.read(folder).params
        jax.tree.map(np.testing.assert_array_equal, back, rounded)
    assert_equal_answers(folder, dataclasses.replace(loaded, params=rounded), (1, 2, 8))


def transparent() -> Image.Image:
    """A picture to be turned, half of it see-through."""
    image = Image.fromarray(noise(5, 40, 30)).convert("RGBA")
    image.putalpha(Image.fromarray(noise(6, 40, 30)[:, :, 0]))
    image.getexif()[0x0112] = 6
    return image


@pytest.mark.parametrize("kind", EACH_KIND)
def test_run_py_works_where_the_package_is_not(
    kind: str, exports: Path, tmp_path: Path, predictor: Predictor
) -> None:
    """Its masks are the Predictor's; pictures of all forms, a sentence to be cut."""
    folder = tmp_path / "elsewhere"
    shutil.copytree(exports / kind, folder)
    sentences = ["The red CAR on the left ", WORDS[1] + " and a dog" * 20]
    pictures = [Image.fromarray(noise(3, *size)) for size in ((25, 40), (50, 21))]
    for picture in (*pictures, transparent()):
        masks, output, warnings = run_elsewhere(folder, picture, sentences, tmp_path)
        assert output.count("that nothing is meant") == 2
        assert "onnxruntime" not in warnings
        segments = predictor.segment(tmp_path / "photo.png", sentences)
        for mask, segment in zip(masks, segments, strict=True):
            np.testing.assert_array_equal(mask, segment.mask)
            assert 0 < segment.mask.mean() < 1
    exported.check_files(folder, exported.read_manifest(folder))  # nothing was left


@pytest.mark.parametrize(
    "changes",
    [
        {"groups": "none", "stem_channels": 0},
        {"groups": "low", "figure_only": True},
        {
            **{"dtype": "bfloat16", "remat": "full", "mask_stride": 2, "stages": 1},
            **{"filters": "ffn", "pixel_layers": (1,), "stem_to_patches": True},
        },
        {"stem": "efficientnet_lite0", "stem_to_patches": True, "train_size": 24},
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", GRAPH_KINDS)
def test_ablations_and_other_types_export_too(
    kind: Any,
    changes: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The computation is float32, whatever the training's was.

    The weights' spread gives logits of a trained model's size, some tens.
    """
    monkeypatch.setitem(SHAPES, "efficientnet_lite0", NARROW)
    config = tiny_config(**{f"model__{name}": x for name, x in changes.items()})
    loaded = make_loaded(tmp_path, config, spread=0.4)
    folder = export(write_run(tmp_path / "run", loaded), kind, tmp_path / kind)
    config.model.dtype = "float32"
    assert 0.1 < np.ptp(live(loaded, loaded.params, *inputs(2, 3, 9))[0]) < 100
    assert_equal_answers(folder, loaded, (2, 3, 9))


@needs_onnx
def test_onnxruntime_fuses_what_it_can(exports: Path, tmp_path: Path) -> None:
    import onnx
    import onnxruntime

    for name in ("encode_image", "segment"):
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = str(tmp_path / "fused.onnx")
        options.log_severity_level = 3  # it warns that such a file is for one machine
        file = exports / "onnx" / f"{name}.onnx"
        onnxruntime.InferenceSession(file, options, ["CPUExecutionProvider"])
        fused = [x.op_type for x in onnx.load(tmp_path / "fused.onnx").graph.node]
        assert "QuickGelu" in fused and "Tanh" not in fused
        assert fused.count("LayerNormalization") > 5
        written = [x.op_type for x in onnx.load(file).graph.node]
        assert "CastLike" not in written  # which its CPU lacks


@needs_onnx
def test_large_onnx_models_keep_parameters_beside(
    tmp_path: Path, loaded: Loaded, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_graphs, "MAX_FILE", 0)
    folder = export(run, "onnx", tmp_path / "onnx")
    assert (folder / "segment.onnx.data").stat().st_size > 0
    assert "segment.onnx.data" in exported.read_manifest(folder)["sha256"]
    assert_equal_answers(folder, loaded, (2, 3, 9))


def test_the_model_that_comes_along_computes_what_its_graphs_do() -> None:
    """They were written with its weights, whatever settings have come since."""
    loaded = exported.read(BUNDLED)
    size, rng = loaded.config.model.image_size, np.random.default_rng(0)
    images = rng.integers(0, 256, (2, size, size, 3), dtype=np.uint8)
    pictures = (images, np.array([[size, size], [size, 90]], np.int32))
    tokens = rng.integers(5, 500, (3, 8), dtype=np.int32)
    questions = (tokens, np.array([8, 5, 6], np.int32), np.array([1, 0, 1], np.int32))
    encode, segment = graph(BUNDLED, "encode_image"), graph(BUNDLED, "segment")
    answers = segment(*questions, *encode(*pictures))
    expected = live(loaded, loaded.params, pictures, questions)
    for ours, theirs in zip(expected, answers, strict=True):
        np.testing.assert_allclose(ours, theirs, TOLERANCE, TOLERANCE)


@pytest.mark.slow
@pytest.mark.parametrize("kind", GRAPH_KINDS)
def test_200_masks_equal_the_live_models(kind: Any, tmp_path: Path) -> None:
    """The model that comes with the package, on PartWorld."""
    model = unires_jax.load()
    folder = export(BUNDLED, kind, tmp_path / kind)
    encode, segment = graph(folder, "encode_image"), graph(folder, "segment")
    differ = count = 0
    size = model.config.model.image_size
    pad = BACKBONES["clip"].pad_colour
    for i in range(100):
        record = draw_record(11, "val", i)
        sentences = [x.sent for x in record.expressions][: 200 - count]
        encoded = model.encode_image(record.image)
        canvas, placement = prepare_image(record.image, size, pad)
        extent = np.array([[placement.height, placement.width]], np.int32)
        tokens, lengths = model.tokenizer.encode(sentences, 32, (16, 24, 32))
        index = np.zeros(len(sentences), np.int32)
        logits, _ = segment(tokens, lengths, index, *encode(canvas[None], extent))
        for live_one, theirs in zip(
            model.segment(encoded, sentences), np.asarray(logits), strict=True
        ):
            np.testing.assert_allclose(theirs, live_one.logits, TOLERANCE, TOLERANCE)
            differ += int((logits_to_mask(theirs, placement) != live_one.mask).sum())
        count += len(sentences)
        if count == 200:
            break
    assert (count, differ) == (200, 0)
