"""The one tiny config, parameters drawn at random, and a model loaded with them."""

import copy
from pathlib import Path
from typing import Any

import jax
import numpy as np

from unires_jax.config import (
    Config,
    DataConfig,
    ModelConfig,
    TextConfig,
    TrainConfig,
    VisionConfig,
)
from unires_jax.data.tokenizer import train_bpe
from unires_jax.inference.loaded import Loaded
from unires_jax.models.unires import Apply

WORDS = ["the red car on the left", "wheels of the truck", "big dog head", "a house"]


def tiny_config(**changes: Any) -> Config:
    """All parts of the model, each as small as can be; changed as `change` does."""
    config = Config(
        name="tiny",
        seed=3,
        model=ModelConfig(
            image_size=32,
            vision=VisionConfig(patch=8, width=16, depth=2, heads=2, mlp=16),
            text=TextConfig(vocab=600, context=16, width=16, depth=1, heads=2, mlp=16),
            width=16,
            heads=2,
            stage_layers=1,
            low_groups=3,
            high_groups=2,
            mask_channels=4,
            stem_channels=4,
        ),
        data=DataConfig(expressions=4, workers=0, lengths=(8, 16)),
        train=TrainConfig(batch=4),
    )
    return change(config, **changes)


def change(config: Config, **values: Any) -> Config:
    """A copy with dotted fields set, a dot written as `__` (`model__width=32`)."""
    config = copy.deepcopy(config)
    for name, value in values.items():
        *path, field = name.split("__")
        target: Any = config
        for step in path:
            target = getattr(target, step)
        assert hasattr(target, field), name
        setattr(target, field, value)
    return config


def data_config(folder: Path | str, **changes: Any) -> Config:
    """The tiny config on the train split of a prepared folder."""
    reading = {"data__lengths": (16, 32), "model__text__context": 32}
    return tiny_config(data__train=(f"{folder}:train",), **reading | changes)


def random_params(model: ModelConfig, spread: float, seed: int = 1) -> dict[str, Any]:
    """Every tensor N(0, spread): branches that start at zero take part too."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(
        lambda x: rng.normal(0, spread, x.shape).astype(np.float32),
        Apply(model).abstract,
    )


def make_loaded(folder: Path, config: Config, spread: float = 0.5) -> Loaded:
    """What `model.load` would give; random weights, so that masks are not empty."""
    tokenizer = train_bpe(WORDS, folder / "tokenizer.json", 600)
    meta = {"config": {}, "revision": "none", "versions": {}, "data": {}}
    meta["no_target_trained"] = True
    params = random_params(config.model, spread)
    return Loaded(folder, config, tokenizer, params, meta)
