"""Pretrained towers: a file a backbone, and what they share.

A backbone is a row of `config.BACKBONES` and the file of that name here, which holds
its towers, its weight table and the optimizer's role of each parameter, as `TOWERS`.
"""

import importlib

from unires_jax.config import ModelConfig, preprocessing
from unires_jax.models.backbones.towers import Towers


def towers_of(model: ModelConfig) -> Towers:
    """The backbone of a model. Raises ConfigError if there is none of that name."""
    preprocessing(model)
    towers: Towers = importlib.import_module(f"{__name__}.{model.backbone}").TOWERS
    return towers
