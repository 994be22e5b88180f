"""Losses on the mask grid and on the no-target logit (ours: the paper names none).

Every loss is a row of values, one per expression; the caller averages over the rows
that count in the global batch.
"""

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Int

from unires_jax.config import LossConfig

Grid = Float[Array, "e g g"]  # a number per cell of each expression's mask grid


def valid_cells(
    extent: Int[Array, "b 2"], image_size: int, grid: int
) -> Float[Array, "b g g"]:
    """The share of each grid cell that lies on the picture, not on the padding."""
    edges = jnp.arange(grid) * (image_size / grid)
    covered = (extent[:, :, None] - edges) * (grid / image_size)  # [b, 2, g]
    covered = jnp.clip(covered, 0, 1)
    return covered[:, 0, :, None] * covered[:, 1, None, :]


def mask_bce(
    logits: Grid, target: Grid, cells: Grid, positive_cap: float
) -> Float[Array, "e"]:
    """Cross-entropy over valid cells, positives weighted up to balance, at most by cap.

    A row is divided by its total weight, so its size does not depend on the mask's.
    """
    positive = (target * cells).sum((1, 2))
    negative = ((1 - target) * cells).sum((1, 2))
    weight = jnp.clip(negative / jnp.maximum(positive, 1e-6), 1, positive_cap)
    weight = weight[:, None, None]
    loss = weight * target * jax.nn.softplus(-logits)
    loss = loss + (1 - target) * jax.nn.softplus(logits)
    total = (cells * (weight * target + 1 - target)).sum((1, 2))
    return (loss * cells).sum((1, 2)) / jnp.maximum(total, 1e-6)


def mask_dice(logits: Grid, target: Grid, cells: Grid, eps: float) -> Float[Array, "e"]:
    """1 - Dice of the probabilities over valid cells, `eps` in both halves."""
    probability = jax.nn.sigmoid(logits) * cells
    target = target * cells
    overlap = (probability * target).sum((1, 2))
    total = probability.sum((1, 2)) + target.sum((1, 2))
    return 1 - (2 * overlap + eps) / (total + eps)


def no_target_bce(
    logits: Float[Array, "e"], no_target: Bool[Array, "e"], weight: float = 1.0
) -> Float[Array, "e"]:
    """Cross-entropy of the decision that an expression denotes nothing.

    `weight` is that of one which does: they are few.
    """
    loss = jax.nn.softplus(jnp.where(no_target, -logits, logits))
    return jnp.where(no_target, weight * loss, loss)


def row_losses(
    logits: Grid,
    no_target_logits: Float[Array, "e"],
    target: Grid,
    cells: Grid,
    no_target: Bool[Array, "e"],
    config: LossConfig,
) -> dict[str, Float[Array, "e"]]:
    """All losses of each expression, unweighted."""
    none = no_target_bce(no_target_logits, no_target, config.no_target_weight)
    return {
        "bce": mask_bce(logits, target, cells, config.positive_cap),
        "dice": mask_dice(logits, target, cells, config.dice_eps),
        "no_target": none,
    }
