"""Exports give what the live model gives, without this package."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import jax.export
import numpy as np
import pytest
from PIL import Image
from test_predictor import noise
from tiny_model import WORDS, make_loaded, tiny_config

import unires_jax
from unires_jax import cli
from unires_jax.config import ConfigError
from unires_jax.data.partworld.world import draw_record
from unires_jax.data.transforms import prepare_image
from unires_jax.evaluation.geometry import logits_to_mask
from unires_jax.evaluation.segmenter import Loaded
from unires_jax.serving import export as export_module
from unires_jax.serving import exported
from unires_jax.serving.export import KINDS, export
from unires_jax.serving.graphs import Graphs
from unires_jax.serving.photo import encode_png
from unires_jax.serving.predictor import BUNDLED, Predictor
from unires_jax.training.checkpoint import CheckpointError

TOLERANCE = 1e-4  # absolute and relative, of float32 logits


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory, loaded: Loaded) -> Path:
    """An export of each kind, in folders of their names."""
    folder = tmp_path_factory.mktemp("exports")
    with pytest.MonkeyPatch.context() as patch:
        give(patch, loaded)
        for kind in KINDS:
            export("anything", kind, folder / kind)
    return folder


def give(patch: pytest.MonkeyPatch, loaded: Loaded) -> None:
    """Let `loaded` be what the checkpoint holds."""
    patch.setattr(export_module.segmenter, "load", lambda *_, **__: loaded)


def inputs(b: int, e: int, words: int) -> tuple[Any, Any]:
    """Pictures and questions of these sizes, as the graphs take them."""
    rng = np.random.default_rng(b + 10 * e + 100 * words)
    images = rng.integers(0, 256, (b, 32, 32, 3), dtype=np.uint8)
    extent = np.array([[32, 9 + 5 * i] for i in range(b)], np.int32)
    tokens = rng.integers(0, 500, (e, words), dtype=np.int32)
    lengths = rng.integers(2, words + 1, e).astype(np.int32)
    index = rng.integers(0, b, e).astype(np.int32)
    return (images, extent), (tokens, lengths, index)


def live(loaded: Loaded, params: Any, pictures: Any, asked: Any) -> Any:
    """Logits of the model itself, with these parameters."""
    graphs, flat = Graphs(loaded.config), exported.flatten(params)
    flat = jax.tree.map(jax.numpy.asarray, flat)
    features = jax.jit(graphs.encode_image)(flat, *pictures)
    return jax.jit(graphs.segment)(flat, *asked, *features)


def graph(folder: Path, name: str) -> Any:
    """An exported graph with its parameters."""
    spec = importlib.util.spec_from_file_location("run", folder / "run.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(folder))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(folder))
        sys.modules.pop("steps")
    if folder.name == "safetensors":
        weights = module.load_file(folder / "model.safetensors")
    elif folder.name == "orbax":
        weights = module.ocp.PyTreeCheckpointer().restore(folder / "model")
    else:
        return module.load(name)
    return module.load(name, weights)


@pytest.mark.parametrize("kind", KINDS)
def test_logits_equal_the_live_models(kind: str, exports: Path, loaded: Loaded) -> None:
    """For numbers of pictures, expressions and tokens that were never traced."""
    folder = exports / kind
    encode, segment = graph(folder, "encode_image"), graph(folder, "segment")
    for sizes in ((1, 1, 8), (3, 5, 16), (2, 9, 7)):
        pictures, asked = inputs(*sizes)
        expected = live(loaded, loaded.params, pictures, asked)
        found = segment(*asked, *encode(*pictures))
        for ours, theirs in zip(expected, found, strict=True):
            theirs = np.asarray(theirs)
            assert theirs.dtype == np.float32 and theirs.shape == ours.shape
            np.testing.assert_allclose(theirs, ours, TOLERANCE, TOLERANCE)


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


@pytest.mark.parametrize("kind", ["safetensors", "orbax", "stablehlo"])
def test_bfloat16_rounds_the_parameters_once(
    kind: Any, tmp_path: Path, loaded: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    give(monkeypatch, loaded)
    folder = export("x", kind, tmp_path / kind, dtype="bfloat16")
    assert json.loads((folder / "unires.json").read_text())["dtype"] == "bfloat16"
    rounded = jax.tree.map(
        lambda x: x.astype(jax.numpy.bfloat16).astype(np.float32), loaded.params
    )
    if kind != "stablehlo":
        jax.tree.map(
            np.testing.assert_array_equal, exported.read(folder).params, rounded
        )
    pictures, asked = inputs(1, 2, 8)
    expected = live(loaded, rounded, pictures, asked)
    found = graph(folder, "segment")(*asked, *graph(folder, "encode_image")(*pictures))
    np.testing.assert_allclose(found[0], expected[0], TOLERANCE, TOLERANCE)


@pytest.mark.parametrize("kind", KINDS)
def test_run_py_works_where_the_package_is_not(
    kind: str, exports: Path, tmp_path: Path, predictor: Predictor
) -> None:
    """Its masks are the Predictor's; a wide and an upright picture."""
    folder = tmp_path / "elsewhere"
    shutil.copytree(exports / kind, folder)
    (tmp_path / "unires_jax.py").write_text("raise ImportError('not installed')")
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "XLA_FLAGS": ""}
    for picture in (noise(3, 25, 40), noise(4, 50, 21)):
        (tmp_path / "photo.png").write_bytes(encode_png(picture))
        done = subprocess.run(
            [sys.executable, folder / "run.py", "photo.png", *WORDS[:2]],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        for i, segment in enumerate(predictor.segment(picture, WORDS[:2])):
            written = np.array(Image.open(tmp_path / f"mask_{i}.png")) > 0
            # Shrunk pictures may differ by a grey level where OpenCV rounds ties.
            assert (written != segment.mask).mean() < 0.01
            assert 0 < segment.mask.mean() < 1
    exported.check_files(folder, exported.read_manifest(folder))  # nothing was left


@pytest.mark.parametrize("kind", ["stablehlo", "onnx"])
def test_graphs_hold_no_parameters_to_load(kind: str, exports: Path) -> None:
    with pytest.raises(CheckpointError, match=r"graphs.*run\.py"):
        unires_jax.load(exports / kind)


@pytest.mark.parametrize(
    ("file", "content", "told"),
    [
        ("model.safetensors", b"\0" * 64, "model.safetensors: changed"),
        ("tokenizer.json", None, "tokenizer.json: missing"),
        ("config.json", b"{}", "config.json: changed"),
        ("more.py", b"print()", "more.py: not of this export"),
        ("unires.json", b"{", "unires.json: cannot be read"),
        ("unires.json", b"[]", "format None"),
        ("unires.json", b'{"format": "unires_jax-export/9"}', "export/9"),
        ("unires.json", b'{"format": "unires_jax-export/1"}', "damaged"),
    ],
)
def test_tampered_exports_are_refused(
    file: str, content: bytes | None, told: str, exports: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "export"
    shutil.copytree(exports / "safetensors", folder)
    if content is None:
        (folder / file).unlink()
    else:
        (folder / file).write_bytes(content)
    with pytest.raises(CheckpointError, match=told) as error:
        exported.read(folder)
    assert str(folder) in str(error.value)


def reseal(folder: Path) -> None:
    """Make the manifest agree with the files, as a forger would."""
    manifest = json.loads((folder / "unires.json").read_text())
    manifest["sha256"] = exported.hashes(folder)
    (folder / "unires.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("file", "content", "told"),
    [
        ("model.safetensors", b"\x80\x04K\x01.", "no readable safetensors"),
        ("model.safetensors", b"\xff" * 100, "no readable safetensors"),
        ("config.json", b"{}", "cannot be used"),
        ("config.json", b"[1]", "cannot be used"),
    ],
)
def test_forged_exports_are_refused(
    file: str, content: bytes, told: str, exports: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "export"
    shutil.copytree(exports / "safetensors", folder)
    (folder / file).write_bytes(content)
    reseal(folder)
    with pytest.raises(CheckpointError, match=told):
        exported.read(folder)


def test_another_architecture_is_told_by_its_shapes(
    exports: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "export"
    shutil.copytree(exports / "safetensors", folder)
    config = json.loads((folder / "config.json").read_text())
    config["model"]["width"] = 32
    (folder / "config.json").write_text(json.dumps(config))
    reseal(folder)
    with pytest.raises(
        CheckpointError, match=r"eos_project.bias: expected \(32,\), found"
    ):
        exported.read(folder)


def test_existing_folders_are_kept(
    tmp_path: Path, loaded: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    give(monkeypatch, loaded)
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    for overwrite in (False, True):
        with pytest.raises(ConfigError, match="exists"):
            export("x", "safetensors", mine, overwrite=overwrite)
    assert (mine / "thesis.txt").read_text() == "years of work"
    out = export("x", "safetensors", tmp_path / "out")
    with pytest.raises(ConfigError, match="--overwrite"):
        export("x", "safetensors", out)
    export("x", "orbax", out, overwrite=True)
    assert json.loads((out / "unires.json").read_text())["kind"] == "orbax"


def test_a_failed_export_leaves_nothing(
    tmp_path: Path, loaded: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    give(monkeypatch, loaded)

    def fail(*_: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setitem(export_module.WRITERS, "safetensors", fail)
    with pytest.raises(OSError, match="disk full"):
        export("x", "safetensors", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"groups": "none"},
        {"figure_only": True},
        {"stem_channels": 0},
        {"groups": "low"},
    ],
)
@pytest.mark.parametrize("kind", ["stablehlo", "onnx"])
def test_ablations_export_too(
    kind: Any, changes: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_config()
    for field, value in changes.items():
        setattr(config.model, field, value)
    loaded = make_loaded(tmp_path, config)
    give(monkeypatch, loaded)
    folder = export("x", kind, tmp_path / kind)
    pictures, asked = inputs(2, 3, 9)
    expected = live(loaded, loaded.params, pictures, asked)
    found = graph(folder, "segment")(*asked, *graph(folder, "encode_image")(*pictures))
    np.testing.assert_allclose(found[0], expected[0], TOLERANCE, TOLERANCE)


def test_command_line_and_errors(
    exports: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "again"
    argv = ["--checkpoint", str(exports / "orbax"), "--out", str(out)]
    assert cli.main(["export", *argv, "--to", "safetensors"]) == 0
    assert "safetensors" in capsys.readouterr().out
    card = (out / "README.md").read_text()
    assert "# tiny" in card and "Nothing was measured" in card and "Apache-2.0" in card
    assert cli.main(["export", *argv, "--to", "onnx", "--dtype", "bfloat16"]) == 1
    assert "float32" in capsys.readouterr().err
    missing = ["--checkpoint", str(tmp_path / "no"), "--out", str(tmp_path / "x")]
    assert cli.main(["export", *missing, "--to", "orbax"]) == 1
    assert "no such folder" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["stablehlo", "onnx"])
def test_masks_of_200_expressions_equal_the_live_models(
    kind: Any, tmp_path: Path
) -> None:
    """The model that comes with the package, on PartWorld."""
    model = unires_jax.load()
    folder = export(BUNDLED, kind, tmp_path / kind)
    encode, segment = graph(folder, "encode_image"), graph(folder, "segment")
    differ = asked = 0
    for i in range(100):
        record = draw_record(11, "val", i)
        sentences = [x.sent for x in record.expressions][: 200 - asked]
        seen = model.encode_image(record.image)
        canvas, placement = prepare_image(record.image, model.config.model.image_size)
        extent = np.array([[placement.height, placement.width]], np.int32)
        tokens, lengths = model.tokenizer.encode(sentences, 32, (16, 24, 32))
        index = np.zeros(len(sentences), np.int32)
        logits, _ = segment(tokens, lengths, index, *encode(canvas[None], extent))
        for live_one, theirs in zip(
            model.segment(seen, sentences), np.asarray(logits), strict=True
        ):
            np.testing.assert_allclose(theirs, live_one.logits, TOLERANCE, TOLERANCE)
            differ += int((logits_to_mask(theirs, placement) != live_one.mask).sum())
        asked += len(sentences)
        if asked == 200:
            break
    assert (asked, differ) == (200, 0)
