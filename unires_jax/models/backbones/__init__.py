"""Pretrained towers: a file a backbone, and what they share.

A backbone is a row of `config.BACKBONES` and the file of that name here, which holds
its towers, its weight table and, where it has parameters that the towers here do not
know, the optimizer's role of each, as `TOWERS`.
"""

import dataclasses
import importlib
import re
from typing import Literal

from unires_jax.config import ModelConfig, TextConfig, VisionConfig, preprocessing
from unires_jax.models.backbones.image_tower import ImageTower
from unires_jax.models.backbones.text_tower import TextTower
from unires_jax.models.backbones.weights import Rule

# What the optimizer makes of a parameter; "vision block" patterns capture its number.
Role = Literal["vision embedding", "vision block", "vision top", "text"]


@dataclasses.dataclass(frozen=True)
class Published:
    """Weights of Hugging Face transformers, and what their config.json must say."""

    model_types: tuple[str, ...]
    architecture: str  # to name it in messages
    vision: VisionConfig  # of fields absent from config.json: transformers' defaults
    text: TextConfig
    rules: tuple[Rule, ...]
    not_ours: str  # pattern of the tensors without a place here


@dataclasses.dataclass(frozen=True)
class Towers:
    """A backbone. Patterns match whole names such as `vision.blocks.0.ln1.scale`."""

    title: str  # as people call it
    vision: type[ImageTower]
    text: type[TextTower]
    published: Published
    roles: tuple[tuple[str, Role], ...] = (  # each parameter matches one row
        (r"vision\.(patch_embed|cls|positions|ln_pre)(\..*)?", "vision embedding"),
        (r"vision\.blocks\.(\d+)\..*", "vision block"),
        (r"vision\.ln_post\..*", "vision top"),
        (r"text\..*", "text"),
    )
    no_decay: re.Pattern[str] = re.compile(  # beside norms and biases
        r"vision\.cls|(vision|text)\.positions|text\.embedding"
    )


def towers_of(model: ModelConfig) -> Towers:
    """The backbone of a model. Raises ConfigError if there is none of that name."""
    preprocessing(model)
    towers: Towers = importlib.import_module(f"{__name__}.{model.backbone}").TOWERS
    return towers
