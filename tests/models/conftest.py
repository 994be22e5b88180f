"""Checkpoints as transformers writes them, and our towers filled from one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from unires_jax.config import ModelConfig
from unires_jax.models.keys import Keys

TINY_VISION = {
    "hidden_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 96,
    "image_size": 64,
    "patch_size": 16,
}
TINY_TEXT = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
}
# The vocabulary is cut so that no test draws 25M embeddings nobody looks at.
SPECIAL = {"vocab_size": 1000, "bos_token_id": 998, "eos_token_id": 2}


def _make_clip(
    vision: dict[str, Any] = TINY_VISION,
    text: dict[str, Any] = TINY_TEXT,
    activation: str = "quick_gelu",
) -> Any:
    transformers = pytest.importorskip("transformers")
    config = transformers.CLIPConfig(
        vision_config=vision | {"hidden_act": activation},
        text_config=SPECIAL | text | {"hidden_act": activation},
    )
    return _perturbed(transformers.CLIPModel, config)


def _make_siglip(
    vision: dict[str, Any] = TINY_VISION,
    text: dict[str, Any] = TINY_TEXT,
    form: str = "Siglip",
) -> Any:
    transformers = pytest.importorskip("transformers")
    if form == "Siglip2":
        vision = {k: v for k, v in vision.items() if k != "image_size"} | {
            "num_patches": (vision["image_size"] // vision["patch_size"]) ** 2
        }
    config = getattr(transformers, f"{form}Config")(
        vision_config=vision, text_config={"vocab_size": 1000} | text
    )
    return _perturbed(getattr(transformers, f"{form}Model"), config)


def _perturbed(model_class: Any, config: Any) -> Any:
    """Transformers starts with zero biases and unit norms: swapped ones would pass."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    model = model_class(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.02)
    return model


def _load_towers(
    folder: Path,
    image_size: int,
    context: int | None = None,
    backbone: str = "clip",
    **options: Any,
) -> tuple[Any, Any]:
    from unires_jax.models.backbones import towers_of
    from unires_jax.models.backbones.published import load_towers, read_config

    towers = towers_of(ModelConfig(backbone=backbone))
    vision_config, text_config = read_config(towers, str(folder))
    text_config.context = context or text_config.context
    vision, text = nnx.eval_shape(
        lambda: (
            towers.vision(vision_config, image_size, keys=Keys(0), **options),
            towers.text(text_config, keys=Keys(0), **options),
        )
    )
    (v_graph, v_state), (t_graph, t_state) = nnx.split(vision), nnx.split(text)
    shapes = nnx.to_pure_dict(v_state), nnx.to_pure_dict(t_state)
    v_tree, t_tree = jax.tree.map(
        jnp.asarray, load_towers(towers, str(folder), *shapes)
    )
    return nnx.merge(v_graph, v_tree), nnx.merge(t_graph, t_tree)


@pytest.fixture(scope="session")
def make_clip() -> Callable[..., Any]:
    """(vision, text, activation) -> a random CLIPModel without zeros or ones."""
    return _make_clip


@pytest.fixture(scope="session")
def make_siglip() -> Callable[..., Any]:
    """(vision, text, form) -> a random SiglipModel or Siglip2Model, as `make_clip`."""
    return _make_siglip


@pytest.fixture(scope="session")
def load_towers() -> Callable[..., tuple[Any, Any]]:
    """(folder, image_size, context, backbone, ...) -> towers, built as a run does."""
    return _load_towers


@pytest.fixture(scope="session")
def tiny_clip(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """A small perturbed CLIPModel and the folder transformers saved it to."""
    folder = tmp_path_factory.mktemp("tiny_clip")
    model = _make_clip()
    model.save_pretrained(folder)
    return model, folder
