"""The optimizer: AdamW or Muon with a rate per group of parameters. Source: ours.

Muon (Jordan et al. 2024) turns the momentum of each matrix into the nearest orthogonal
one. Its step is scaled to the size of AdamW's (Liu et al. 2025, arXiv 2502.16982), so
that rate and decay mean the same for both. Meant for training from scratch.
"""

import re
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jaxtyping import Float
from optax.contrib import MuonDimensionNumbers, scale_by_muon

from unires_jax.config import Config, ModelConfig, OptimConfig, is_pretrained
from unires_jax.errors import ConfigError
from unires_jax.models.backbones import towers_of
from unires_jax.parameters import map_named

# The parts of the model outside its backbone, which names the roles of its own.
NEW = (
    r"(low|high)\..*",
    r"(low|high)_filter\..*",
    r"(patch_project|word_project|eos_project|stem_project|patch_gate)\..*",
    r"(mixers|stage1|stage2|head|no_target_head)\..*",
    r"stem\.(?!tower\.).*",
)
# The network that feeds the stem, pretrained or not.
STEM_TOWER = r"stem\.tower\..*"

# Norms, biases and tokens are not pulled towards zero, nor what the backbone names.
NO_DECAY = re.compile(r".*\.(bias|scale|tokens)")


def group_of(name: str, model: ModelConfig) -> tuple[str, int]:
    """The group of a parameter and its block (-1 outside the image tower's blocks).

    Raises ConfigError for a parameter in no group, or in several.
    """
    rows = [*towers_of(model).roles, *((pattern, "new") for pattern in NEW)]
    rows.append((STEM_TOWER, "stem tower"))
    matches = [(g, m) for pattern, g in rows if (m := re.fullmatch(pattern, name))]
    if not matches:
        raise ConfigError(f"no optimizer group covers the parameter {name}")
    if len(matches) > 1:
        groups = [group for group, _ in matches]
        raise ConfigError(f"optimizer groups {groups} share the parameter {name}")
    group, match = matches[0]
    return group, int(match[1]) if group == "vision block" else -1


def rate_of(name: str, config: Config) -> float:
    """The peak learning rate of a parameter."""
    optim, depth = config.optim, config.model.vision.depth
    group, block = group_of(name, config.model)
    if group == "stem tower" and (config.stem or config.init_from):
        return optim.stem_rate
    if not is_pretrained(config):
        return optim.scratch_rate
    if group in ("new", "stem tower"):
        return optim.rate
    if group == "text":
        return optim.text_rate
    below_top = {"vision top": 0, "vision embedding": depth + 1}.get(
        group, depth - block
    )
    return optim.vision_rate * optim.layer_decay**below_top


def rates(params: Any, config: Config) -> Any:
    """The peak learning rate of every parameter, a tree like `params`."""
    return map_named(lambda name, _: rate_of(name, config), params)


def decays(params: Any, model: ModelConfig) -> Any:
    """Whether weight decay applies, a tree like `params`."""
    spared = towers_of(model).no_decay
    return map_named(
        lambda name, _: not (NO_DECAY.fullmatch(name) or spared.fullmatch(name)), params
    )


def schedule(config: Config) -> optax.Schedule:
    """Linear warm-up to 1, cosine to 0, over optimizer updates."""
    steps = config.train.steps
    warmup = min(config.optim.warmup, steps // 2)
    return optax.warmup_cosine_decay_schedule(0, 1, warmup, max(steps, warmup + 1))


def make_optimizer(config: Config, params: Any) -> optax.GradientTransformation:
    """Clip by global norm, AdamW or Muon, each parameter at its own rate.

    `params` may be abstract. Raises ConfigError for a parameter in no group.
    """
    optim, rate = config.optim, rates(params, config)

    def at_own_rate(updates: Any, _: Any = None) -> Any:
        return jax.tree.map(lambda u, r: u * r, updates, rate)

    return optax.chain(
        optax.clip_by_global_norm(optim.clip),
        _direction(optim, params),
        optax.add_decayed_weights(
            optim.weight_decay, mask=partial(decays, model=config.model)
        ),
        optax.stateless(at_own_rate),
        optax.scale_by_learning_rate(schedule(config)),
    )


MUON_RMS = 0.2  # root mean square of AdamW's update, found by Liu et al.


def _direction(optim: OptimConfig, params: Any) -> optax.GradientTransformation:
    """The update before decay and rate."""
    adam = optax.scale_by_adam(optim.b1, optim.b2)
    if optim.method == "adamw":
        return adam
    as_matrices = partial(jax.tree.map, lambda _: MuonDimensionNumbers())
    muon = optax.chain(
        # The momentum alone; its norm, which this divides by, decides nothing.
        scale_by_muon(ns_steps=0, weight_dimension_numbers=as_matrices),
        optax.stateless(partial(orthogonalize, steps=optim.muon_steps)),
        optax.stateless(_to_adam_size),
    )
    return optax.partition({"muon": muon, "adam": adam}, muon_labels(params))


def muon_labels(params: Any) -> Any:
    """Which optimizer takes each parameter, a tree like `params`.

    Kernels of Dense layers go to "muon", all else to "adam", a kernel of one row or
    column too, and those of the stem's network, which is pretrained by other steps.
    """

    def label(name: str, x: Any) -> str:
        is_matrix = len(x.shape) == 2 and min(x.shape) > 1
        is_new = not re.fullmatch(STEM_TOWER, name)
        return "muon" if is_matrix and is_new and name.endswith(".kernel") else "adam"

    return map_named(label, params)


def orthogonalize(matrices: Any, _: Any = None, *, steps: int = 5) -> Any:
    """The nearest orthogonal matrix of each, roughly: a tree of the same shapes.

    By so many of Muon's Newton-Schulz steps, of all matrices of a shape at once,
    upright and lying ones together: f(X) = f(X^T)^T.
    """
    leaves, tree = jax.tree.flatten(matrices)
    stacks: dict[tuple[int, ...], list[int]] = {}
    for i, x in enumerate(leaves):
        stacks.setdefault(tuple(sorted(x.shape)), []).append(i)
    # Without momentum it keeps nothing. The first axis of a stack is a batch's.
    newton_schulz = scale_by_muon(
        ns_steps=steps,
        beta=0.0,
        nesterov=False,
        weight_dimension_numbers=partial(
            jax.tree.map, lambda _: MuonDimensionNumbers(1, 2)
        ),
    )
    for shape, places in stacks.items():
        stack = jnp.stack([_lying(leaves[i]) for i in places])
        stack, _ = newton_schulz.update(stack, newton_schulz.init(stack))
        for i, x in zip(places, stack, strict=True):
            leaves[i] = x if leaves[i].shape == shape else x.T
    return jax.tree.unflatten(tree, leaves)


def _lying(x: Float[Array, "m n"]) -> Float[Array, "a b"]:
    """The matrix, or its transpose, that is no taller than wide."""
    return x if x.shape[0] <= x.shape[1] else x.T


def _to_adam_size(updates: Any, _: Any = None) -> Any:
    """An orthogonal [m, n] has root mean square 1 / sqrt(max(m, n))."""
    return jax.tree.map(lambda u: u * (MUON_RMS * max(u.shape) ** 0.5), updates)
