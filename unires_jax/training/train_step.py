"""One update of the parameters: loss, gradient, optimizer, average."""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jaxtyping import Float, Int

from unires_jax import mesh as mesh_lib
from unires_jax.config import Config, is_pretrained
from unires_jax.data.batch import Batch
from unires_jax.models.unires import Apply
from unires_jax.parameters import map_named
from unires_jax.training import losses, optim
from unires_jax.training.losses import Grid

Tree = dict[str, Any]
Metrics = dict[str, Array]


class TrainState(NamedTuple):
    """All that a run carries from update to update."""

    step: Any  # Int[Array, ""]: updates done; abstract in `Recipe.state`
    params: Tree
    ema: Tree  # empty if optim.ema is 0
    opt_state: Any


def make_update(
    config: Config, apply: Apply, optimizer: optax.GradientTransformation
) -> Callable[[TrainState, Batch], tuple[TrainState, Metrics]]:
    """The update as a pure function: (state, global batch) -> (state, metrics).

    Metrics: loss, bce, dice, no_target, empty (if it has a weight), iou (on the grid),
    rate (the schedule's factor), grad_norm, grad_norm/<module of the model> (not finite
    where it broke), cosine/<low or high> (mean pairwise cosine of the group tokens:
    near 1 is a collapse).
    """
    rate = optim.schedule(config)

    def update(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        grads, metrics = accumulate(apply, config, state.params, batch)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        ema = average(state.ema, params, state.step, config.optim.ema)
        metrics["rate"] = rate(state.step)
        metrics["grad_norm"] = optax.tree.norm(grads)
        for module, tree in grads.items():
            metrics[f"grad_norm/{module}"] = optax.tree.norm(tree)
        return TrainState(state.step + 1, params, ema, opt_state), metrics

    return update


def average(ema: Tree, params: Tree, step: Int[Array, ""], decay: float) -> Tree:
    """Exponential moving average, its decay rising from 0.1 as (1 + t) / (10 + t)."""
    if not decay:
        return ema
    d = jnp.minimum(decay, (1 + step) / (10 + step))
    return jax.tree.map(lambda e, p: d * e + (1 - d) * p, ema, params)


def accumulate(
    apply: Apply, config: Config, params: Tree, batch: Batch
) -> tuple[Tree, Metrics]:
    """Gradient and metrics of the whole batch, in `train.accumulation` rounds.

    Rounds are weighted by the rows that count in them, so the result is that of one
    round over the whole batch.
    """
    rounds = config.train.accumulation
    counts = Counts(
        masks=jnp.maximum((batch.valid & ~batch.no_target).sum(), 1),
        rows=jnp.maximum(batch.valid.sum(), 1),
        images=batch.images.shape[0],
    )
    grad = jax.grad(lambda p, b: batch_loss(apply, config, p, b, counts), has_aux=True)
    if rounds == 1:
        return grad(params, batch)

    def add_round(total: Any, portion: Batch) -> tuple[Any, None]:
        return jax.tree.map(jnp.add, total, grad(params, portion)), None

    # Row i goes to round i % rounds, so that every device keeps its own rows.
    portions = jax.tree.map(
        lambda x: x.reshape(-1, rounds, *x.shape[1:]).swapaxes(0, 1), batch
    )
    shapes = jax.eval_shape(grad, params, jax.tree.map(lambda x: x[0], portions))
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    return jax.lax.scan(add_round, zeros, portions)[0]


class Counts(NamedTuple):
    """What the sums of a batch are divided by."""

    masks: Int[Array, ""]  # valid expressions with a target
    rows: Int[Array, ""]  # valid expressions
    images: int


def batch_loss(
    apply: Apply, config: Config, params: Tree, batch: Batch, counts: Counts
) -> tuple[Float[Array, ""], Metrics]:
    """The loss of a batch, or of one round of it, and its metrics; see `Counts`."""
    if config.optim.text_rate == 0 and is_pretrained(config):
        params = {**params, "text": jax.lax.stop_gradient(params["text"])}
    b, k = batch.valid.shape

    def flat(x: Array) -> Array:  # [b, k, ...] -> [e, ...]
        return x.reshape(b * k, *x.shape[2:])

    lengths, valid, no_target = map(flat, (batch.lengths, batch.valid, batch.no_target))
    in_blocks = config.mesh.gather_in_blocks
    model = apply.bind(gather(params, in_blocks))
    with mesh_lib.gathering_in_blocks(in_blocks):
        features = model.encode_image(batch.images, batch.extent)
        words = model.encode_text(flat(batch.tokens), lengths)
        logits, no_target_logits = model.decode(features, words, lengths)

    target = flat(batch.masks).astype(jnp.float32) / 255
    side, grid = batch.images.shape[1], batch.masks.shape[-1]
    cells = losses.valid_cells(batch.extent, side, grid)
    cells = jnp.repeat(cells, k, axis=0)
    per_row = losses.row_losses(
        logits, no_target_logits, target, cells, no_target, config.loss
    )
    targeted = valid & ~no_target
    metrics = {
        "bce": jnp.where(targeted, per_row["bce"], 0).sum() / counts.masks,
        "dice": jnp.where(targeted, per_row["dice"], 0).sum() / counts.masks,
        "no_target": jnp.where(valid, per_row["no_target"], 0).sum() / counts.rows,
    }
    w = config.loss
    loss = w.bce * metrics["bce"] + w.dice * metrics["dice"]
    loss = loss + w.no_target * metrics["no_target"]
    iou = grid_iou(logits, target, cells)
    metrics["iou"] = jnp.where(targeted, iou, 0).sum() / counts.masks
    for name, groups in (("low", features.low), ("high", features.high)):
        if groups is not None:
            metrics[f"cosine/{name}"] = mean_cosine(groups).sum() / counts.images
    return loss, {"loss": loss} | metrics


# Parameters that are gathered where they are used: the table of which only rows are,
# and on request those of the layers that `layers.run_layer` runs.
TABLE = re.compile(r"text\.embedding")
BLOCKS = re.compile(r"(vision|text)\.blocks\..*|stage[12]\.layers\..*")


def gather(params: Tree, in_blocks: bool) -> Tree:
    """Whole parameters of sharded ones, but those of TABLE, and of BLOCKS if asked."""

    def stays(name: str) -> bool:
        return bool(TABLE.fullmatch(name) or (in_blocks and BLOCKS.fullmatch(name)))

    gathered: Tree = map_named(
        lambda name, x: x if stays(name) else mesh_lib.gather(x), params
    )
    return gathered


def grid_iou(logits: Grid, target: Grid, cells: Grid) -> Float[Array, "e"]:
    """IoU of the thresholded masks on the grid, to watch training by."""
    predicted, true = (logits > 0) & (cells > 0.5), target > 0.5
    intersection = (predicted & true).sum((1, 2))
    return intersection / jnp.maximum((predicted | true).sum((1, 2)), 1)


def mean_cosine(groups: Float[Array, "b g d"]) -> Float[Array, "b"]:
    """Mean cosine between different group tokens of an image."""
    groups = groups.astype(jnp.float32)
    unit = groups / (jnp.linalg.norm(groups, axis=-1, keepdims=True) + 1e-6)
    g = groups.shape[1]
    total = jnp.square(unit.sum(1)).sum(-1) - jnp.square(unit).sum((1, 2))
    return total / max(g * (g - 1), 1)
