"""What a backbone's file hands to the model, to the start of a run, the optimizer."""

import dataclasses
import re
from typing import Literal

from unires_jax.config import TextConfig, VisionConfig
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
    eps: float  # of every norm
    rules: tuple[Rule, ...]
    not_ours: str  # pattern of the tensors without a place here


@dataclasses.dataclass(frozen=True)
class Towers:
    """A backbone. Patterns match whole names such as `vision/blocks/0/ln1/scale`."""

    title: str  # as people call it
    vision: type[ImageTower]
    text: type[TextTower]
    published: Published
    roles: tuple[tuple[str, Role], ...]  # each parameter matches one row
    no_decay: re.Pattern[str]  # beside norms and biases
