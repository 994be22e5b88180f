"""Published weights into our towers. Host arrays only.

The import is strict: every tensor of the file is placed, or named as not ours, and
every parameter of the towers is filled. Faults are collected and told at once.
"""

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from unires_jax.config import ModelConfig, TextConfig, VisionConfig, to_dict
from unires_jax.errors import ConfigError, WeightsError
from unires_jax.models.backbones import Published, Towers
from unires_jax.models.backbones.files import (
    config_file,
    local,
    read_config_json,
    read_tensors,
)
from unires_jax.models.backbones.weights import Transform, keep
from unires_jax.models.layers import ACTIVATIONS
from unires_jax.parameters import flatten, unflatten

Tree = dict[Any, Any]  # nested dicts of arrays, or of anything with a shape

NAMED = 40  # faults that an error lists

log = logging.getLogger(__name__)


def load_towers(
    towers: Towers, path: str, vision: Tree, text: Tree
) -> tuple[Tree, Tree]:
    """Parameter trees of both towers, float32 numpy arrays.

    `vision` and `text` are the pure dicts of the towers' parameters, concrete or
    abstract: they say which shapes are wanted. The position table of the image tower is
    interpolated to the grid asked for, that of the text tower cut to its context.
    Raises WeightsError listing every unmatched, missing or misshapen tensor.
    """
    like = {"vision": vision, "text": text}
    shapes = {name: leaf.shape for name, leaf in flatten(like).items()}
    placed, faults = _place(towers.published, read_tensors(path), shapes)
    faults += [f"missing: {name} {shapes[name]}" for name in shapes.keys() - placed]
    if faults:
        more = [f"and {len(faults) - NAMED} more"] if len(faults) > NAMED else []
        raise WeightsError(
            f"{path}: these {towers.title} weights do not fit the model; compare its "
            "config.json with model.vision and model.text:\n  "
            + "\n  ".join([*sorted(faults)[:NAMED], *more])
        )
    filled = unflatten(placed, like)
    return filled["vision"], filled["text"]


def _place(
    published: Published,
    tensors: Iterator[tuple[str, np.ndarray]],
    shapes: dict[str, tuple[int, ...]],
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Tensors under our names, and the faults of those that have no place."""
    placed: dict[str, np.ndarray] = {}
    faults = []
    for name, tensor in tensors:
        if re.fullmatch(published.not_ours, name):
            continue
        target, transform = _rule(published, name)
        if target not in shapes:
            faults.append(f"unmatched: {name} {tensor.shape}")
            continue
        shape = shapes[target]
        placed[target] = transform(tensor.astype(np.float32), shape)
        if placed[target].shape != shape:
            faults.append(
                f"misshapen: {name} {tensor.shape}; {target} is {shape}, from a tensor "
                f"that becomes {placed[target].shape}"
            )
    return placed, faults


def _rule(published: Published, name: str) -> tuple[str, Transform]:
    for pattern, target, transform in published.rules:
        if match := re.fullmatch(pattern, name):
            return match.expand(target), transform
    return "", keep


_TYPES: dict[str, type] = {  # of what is read of a tower's config
    "hidden_act": str,
    "hidden_size": int,
    "num_hidden_layers": int,
    "num_attention_heads": int,
    "intermediate_size": int,
    "patch_size": int,
    "vocab_size": int,
    "max_position_embeddings": int,
    "layer_norm_eps": float,
}


def read_config(towers: Towers, path: str) -> tuple[VisionConfig, TextConfig]:
    """Tower sizes and activations from the weights' config.json.

    Raises WeightsError when the file is missing, of another model, or asks for what
    the towers do not have. `eos_token_id` is not read: OpenAI's files carry a wrong one
    (2), and EOS is found by length.
    """
    published, eps = towers.published, towers.vision.eps
    file, content = read_config_json(path, published.architecture)
    kind = content.get("model_type", published.model_types[0])
    if kind not in published.model_types:
        raise WeightsError(
            f"{file}: model_type={kind!r}, and {towers.title} is one of "
            f"{published.model_types}; set model.backbone."
        )
    vision, text = content["vision_config"], content["text_config"]
    for tower in (vision, text):
        _check_types(tower, file)
    for tower, usual in ((vision, published.vision), (text, published.text)):
        activation = tower.get("hidden_act", usual.activation)
        stated = tower.get("layer_norm_eps", eps)
        if not isinstance(activation, str) or not isinstance(stated, (int, float)):
            raise WeightsError(f"{file}: hidden_act or layer_norm_eps is no such value")
        same_eps = np.isclose(stated, eps, rtol=1e-3, atol=0)
        if activation not in ACTIVATIONS or not same_eps:
            raise WeightsError(
                f"{file}: hidden_act={activation!r}, layer_norm_eps={stated}; this "
                f"implementation has {sorted(ACTIVATIONS)} and {eps}."
            )
    patch = vision.get("patch_size", published.vision.patch)
    vocab = text.get("vocab_size", published.text.vocab)
    context = text.get("max_position_embeddings", published.text.context)
    return (
        VisionConfig(patch=patch, **_sizes(vision, published.vision)),
        TextConfig(vocab=vocab, context=context, **_sizes(text, published.text)),
    )


def _check_types(tower: dict[str, Any], file: Path) -> None:
    """Raise WeightsError for a field that is read and is of another type."""
    for name, kind in _TYPES.items():
        value = tower.get(name, kind())
        if type(value) is not kind:
            raise WeightsError(
                f"{file}: {name}={str(value)[:60]!r} is no {kind.__name__}; take the "
                "file from the repository of the weights."
            )


def _sizes(tower: dict[str, Any], usual: VisionConfig | TextConfig) -> dict[str, Any]:
    return {
        "width": tower.get("hidden_size", usual.width),
        "depth": tower.get("num_hidden_layers", usual.depth),
        "heads": tower.get("num_attention_heads", usual.heads),
        "mlp": tower.get("intermediate_size", usual.mlp),
        "activation": tower.get("hidden_act", usual.activation),
    }


def check_config(towers: Towers, path: str, model: ModelConfig) -> None:
    """Raise ConfigError naming what the weights' config.json says otherwise.

    Heads and activation do not show in shapes, so they are compared by name. A single
    file may come without a config.json beside it: then it is told that nobody did.
    """
    if not local(path).is_dir() and not config_file(path).is_file():
        log.warning(
            "%s has no config.json beside it: nothing says whether model.vision (%d "
            "heads, %s) and model.text (%d heads, %s) are so in the weights, which do "
            "not show it.",
            path,
            *(model.vision.heads, model.vision.activation),
            *(model.text.heads, model.text.activation),
        )
        return
    faults = []
    for part, theirs in zip(("vision", "text"), read_config(towers, path), strict=True):
        ours = to_dict(getattr(model, part))
        faults += [
            f"model.{part}.{name}={ours[name]!r}, {towers.title} has {value!r}"
            for name, value in to_dict(theirs).items()
            if ours[name] != value and name != "context"
        ]
    if faults:
        raise ConfigError(f"{path} does not fit the config:\n  " + "\n  ".join(faults))
