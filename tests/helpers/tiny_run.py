"""The smallest real run: a model of one block a tower on a handful of pictures."""

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np

from helpers import small_data
from unires_jax.config import (
    Config,
    DataConfig,
    EvalConfig,
    ModelConfig,
    OptimConfig,
    TextConfig,
    TrainConfig,
    VisionConfig,
)

STEPS = 8


def write_data(folder: Path) -> Path:
    """A prepared data set with splits train and val."""
    scenes = [small_data.scene(i, pairs=2) for i in range(20)]
    return small_data.write(folder, train=scenes[:16], val=scenes[16:])


def tiny_config(data: Path, **train: Any) -> Config:
    """Eight images a batch, so that eight devices can share it."""
    given = {"steps": STEPS, "batch": 8, "log_every": 2, "checkpoint_every": 3}
    return Config(
        name="tiny",
        seed=3,
        model=ModelConfig(
            image_size=16,
            vision=VisionConfig(patch=8, width=16, depth=1, heads=2, mlp=16),
            text=TextConfig(vocab=600, context=16, width=16, depth=1, heads=2, mlp=16),
            width=16,
            heads=2,
            mlp_ratio=1,
            stage_layers=1,
            groups="none",
            figure_only=True,
        ),
        data=DataConfig(
            train=(f"{data}:train",), expressions=2, workers=0, lengths=(16,)
        ),
        optim=OptimConfig(warmup=2, scratch_rate=1e-2, ema=0.9),
        train=TrainConfig(**{**given, "eval_every": 4, **train}),
        eval=EvalConfig(splits=(f"{data}:val",), watch_images=2, batch=2),
    )


def config_file(folder: Path, config: Config) -> Path:
    """A config file that returns just this config."""
    file = folder / f"{config.name}.py"
    file.write_text(
        f"from unires_jax.config import *\n\ndef get_config():\n    return {config!r}\n"
    )
    return file


def lines(workdir: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl."""
    text = (workdir / "metrics.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def untimed(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The lines without what the clock decides, its presence kept."""
    clock = "train/images_per_second"
    return [{k: k == clock or v for k, v in line.items()} for line in found]


def assert_same(one: Any, other: Any) -> None:
    """Two trees are equal bit by bit."""
    leaves, others = jax.tree.leaves(one), jax.tree.leaves(other)
    assert len(leaves) == len(others) > 0
    for a, b in zip(map(np.asarray, leaves), map(np.asarray, others), strict=True):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        assert a.tobytes() == b.tobytes()
