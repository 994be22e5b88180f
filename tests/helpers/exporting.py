"""Runs to export, and what is asked of the live model and of its exports."""

import importlib.util
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from helpers.programs import run
from unires_jax.checkpoint import Checkpoints, describe
from unires_jax.config import TrainConfig
from unires_jax.export.command import KINDS
from unires_jax.inference import exported
from unires_jax.inference.loaded import Loaded
from unires_jax.inference.steps import Compiled
from unires_jax.training.train_step import TrainState

TOLERANCE = 1e-4  # absolute and relative, of float32 logits
STEP = 7

HAS_ONNX = (
    importlib.util.find_spec("jax2onnx") is not None
    and jax.__version_info__ < (0, 12)  # jax2onnx 0.17 knows no newer one
)
needs_onnx = pytest.mark.skipif(
    not HAS_ONNX, reason="needs pip install 'unires_jax[export]'"
)
EACH_KIND = [
    pytest.param(kind, marks=needs_onnx if kind == "onnx" else ()) for kind in KINDS
]
GRAPH_KINDS = ["stablehlo", pytest.param("onnx", marks=needs_onnx)]


def write_run(workdir: Path, loaded: Loaded) -> Path:
    """A workdir whose averaged weights are the loaded ones, the raw ones twice them."""
    ema = jax.tree.map(jnp.asarray, loaded.params)
    raw = jax.tree.map(lambda x: 2 * x, ema)
    averages = ema if loaded.config.optim.ema else {}
    meta = describe(loaded.config, loaded.tokenizer.to_json(), {"partworld:train": "f"})
    with Checkpoints(workdir, TrainConfig()) as checkpoints:
        state = TrainState(jnp.int32(STEP), raw, averages, ())
        checkpoints.save(STEP, state, meta | {"no_target_trained": True}, 0.5)
    return workdir


def inputs(b: int, e: int, words: int) -> tuple[Any, Any]:
    """Pictures and questions of these sizes, as the graphs take them."""
    rng = np.random.default_rng(b + 10 * e + 100 * words)
    images = rng.integers(0, 256, (b, 32, 32, 3), dtype=np.uint8)
    extent = np.array([[32, 9 + 5 * i] for i in range(b)], np.int32)
    tokens = rng.integers(0, 500, (e, words), dtype=np.int32)
    lengths = rng.integers(2, words + 1, e).astype(np.int32)
    index = rng.integers(0, b, e).astype(np.int32)
    return (images, extent), (tokens, lengths, index)


def live(loaded: Loaded, params: Any, pictures: Any, questions: Any) -> Any:
    """Logits of the model itself, with these parameters."""
    model = Compiled(loaded.config, jax.local_devices()[:1]).bind(params)
    tokens, lengths, index = questions
    features = model.encode_image(*pictures)
    words = model.encode_text(tokens, lengths)
    return model.decode(features, words, lengths, index)


def graph(folder: Path, name: str) -> Any:
    """An exported graph with its parameters, as the folder's run.py opens it."""
    with patch.dict(sys.modules, steps=_module(folder, "steps")):
        module = _module(folder, "run")
    if hasattr(module, "load_file"):
        return module.load(name, module.load_file(folder / "model.safetensors"))
    if hasattr(module, "ocp"):
        weights = module.ocp.PyTreeCheckpointer().restore(folder / "model")
        return module.load(name, weights)
    return module.load(name)


def _module(folder: Path, name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, folder / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def assert_equal_answers(
    folder: Path, loaded: Loaded, *sizes: tuple[int, int, int]
) -> None:
    """The export's answers are the live model's, and of the same types."""
    encode, segment = graph(folder, "encode_image"), graph(folder, "segment")
    for size in sizes:
        pictures, questions = inputs(*size)
        expected = live(loaded, loaded.params, pictures, questions)
        answers = segment(*questions, *encode(*pictures))
        for ours, theirs in zip(expected, map(np.asarray, answers), strict=True):
            assert theirs.dtype == np.float32 and theirs.shape == ours.shape
            np.testing.assert_allclose(theirs, ours, TOLERANCE, TOLERANCE)


def run_elsewhere(
    folder: Path, photo: Image.Image, sentences: Sequence[str], cwd: Path
) -> tuple[list[np.ndarray], str, str]:
    """The masks that run.py writes where the package is not, and what it prints."""
    (cwd / "unires_jax.py").write_text("raise ImportError('not installed')")
    photo.save(cwd / "photo.png", exif=photo.getexif())
    argv = [folder / "run.py", "photo.png", *sentences]
    done = run(*argv, cwd=cwd, PYTHONPATH=str(cwd), XLA_FLAGS="")
    assert done.returncode == 0, done.stderr
    files = [cwd / f"mask_{i}.png" for i in range(len(sentences))]
    return [np.array(Image.open(f)) > 0 for f in files], done.stdout, done.stderr


def reseal(folder: Path) -> None:
    """Make the manifest agree with the files, as a forger would."""
    manifest = json.loads((folder / "unires.json").read_text())
    manifest["sha256"] = exported.hashes(folder)
    (folder / "unires.json").write_text(json.dumps(manifest))
