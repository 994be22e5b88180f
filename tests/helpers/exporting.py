"""Runs to export, and what is asked of the live model and of its exports."""

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from unires_jax.checkpoint import Checkpoints, describe
from unires_jax.config import TrainConfig
from unires_jax.inference import exported
from unires_jax.inference.loaded import Loaded
from unires_jax.inference.model import Compiled
from unires_jax.training.train_step import TrainState

TOLERANCE = 1e-4  # absolute and relative, of float32 logits
STEP = 7


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


def ask(folder: Path, pictures: Any, questions: Any) -> Any:
    """The same of an export."""
    features = graph(folder, "encode_image")(*pictures)
    return graph(folder, "segment")(*questions, *features)


def graph(folder: Path, name: str) -> Any:
    """An exported graph with its parameters, as the folder's run.py opens it."""
    spec = importlib.util.spec_from_file_location("run", folder / "run.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(folder))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(folder))
        sys.modules.pop("steps")
    if hasattr(module, "load_file"):
        return module.load(name, module.load_file(folder / "model.safetensors"))
    if hasattr(module, "ocp"):
        weights = module.ocp.PyTreeCheckpointer().restore(folder / "model")
        return module.load(name, weights)
    return module.load(name)


def reseal(folder: Path) -> None:
    """Make the manifest agree with the files, as a forger would."""
    manifest = json.loads((folder / "unires.json").read_text())
    manifest["sha256"] = exported.hashes(folder)
    (folder / "unires.json").write_text(json.dumps(manifest))
