"""One update of the parameters: loss, gradient, optimizer, EMA, in one jitted step."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jax.sharding import Mesh
from jaxtyping import Bool, Float, Int, UInt8

from unires_jax import mesh as mesh_lib
from unires_jax.config import Config, is_pretrained
from unires_jax.errors import ConfigError
from unires_jax.models.unires import Apply
from unires_jax.training import losses, optim

Tree = dict[str, Any]
Metrics = dict[str, Array]


class Rows(NamedTuple):
    """A batch on devices; the fields of `data.pipeline.Batch`."""

    images: UInt8[Array, "b s s 3"]
    extent: Int[Array, "b 2"]
    tokens: Int[Array, "b k l"]
    lengths: Int[Array, "b k"]
    masks: UInt8[Array, "b k g g"]  # share of the cell in 1/255
    valid: Bool[Array, "b k"]
    no_target: Bool[Array, "b k"]
    level: Int[Array, "b k"]


class TrainState(NamedTuple):
    """All that a run carries from update to update."""

    step: Any  # Int[Array, ""]: updates done; a ShapeDtypeStruct in `abstract_state`
    params: Tree
    ema: Tree  # empty if optim.ema is 0
    opt_state: Any


def init_state(config: Config, mesh: Mesh, params: Tree | None = None) -> TrainState:
    """The state before the first update, sharded over the mesh.

    `params` starts it (pretrained or taken over); None draws them from `config.seed`.
    """
    apply = Apply(config.model)
    optimizer = optim.make_optimizer(config, apply.abstract)
    shardings = jax.tree.map(lambda x: x.sharding, abstract_state(config, mesh))

    def start(params: Tree) -> TrainState:
        # A copy: parameters and average are donated to the step separately.
        ema = jax.tree.map(jnp.copy, params) if config.optim.ema else {}
        return TrainState(jnp.int32(0), params, ema, optimizer.init(params))

    if params is None:
        key = jax.random.key(config.seed)
        return jax.jit(lambda: start(apply.init(key)), out_shardings=shardings)()
    return jax.jit(start, out_shardings=shardings)(params)


def abstract_state(config: Config, mesh: Mesh) -> TrainState:
    """Shapes, types and shardings of the state, to restore a checkpoint into."""
    apply = Apply(config.model)
    optimizer = optim.make_optimizer(config, apply.abstract)
    params = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), apply.abstract
    )
    state = TrainState(
        step=jax.ShapeDtypeStruct((), jnp.int32),
        params=params,
        ema=params if config.optim.ema else {},
        opt_state=jax.eval_shape(optimizer.init, params),
    )
    shardings = mesh_lib.shard_like_parameters(state, mesh)
    return jax.tree.map(
        lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s),
        state,
        shardings,
    )


def make_train_step(
    config: Config, mesh: Mesh
) -> Callable[[TrainState, Rows], tuple[TrainState, Metrics]]:
    """The jitted update: (state, global batch) -> (state, metrics). Donates the state.

    Metrics: loss, bce, dice, no_target, iou (on the grid), rate (the schedule's
    factor), grad_norm, grad_norm/<part of the model> (not finite where the part broke),
    cosine/<level> (mean pairwise cosine of the group tokens: near 1 is a collapse).
    Raises ConfigError if a round of the batch does not divide over the devices.
    """
    jitted = jit_step(config, mesh)

    def step(state: TrainState, rows: Rows) -> tuple[TrainState, Metrics]:
        with jax.set_mesh(mesh):
            return jitted(state, rows)

    return step


def jit_step(config: Config, mesh: Mesh) -> Any:
    """The jitted update of `make_train_step`, to be called under `jax.set_mesh`."""
    rounds, images = config.train.accumulation, config.train.batch
    if images // rounds % mesh.size:
        raise ConfigError(
            f"train.batch={images} in train.accumulation={rounds} rounds must divide "
            f"over {mesh.size} devices"
        )
    apply = Apply(config.model)
    optimizer = optim.make_optimizer(config, apply.abstract)
    rate = optim.schedule(config)

    def update(state: TrainState, rows: Rows) -> tuple[TrainState, Metrics]:
        grads, metrics = accumulate(apply, config, state.params, rows)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        ema = average(state.ema, params, state.step, config.optim.ema)
        metrics["rate"] = rate(state.step)
        metrics["grad_norm"] = optax.tree.norm(grads)
        for part, tree in grads.items():
            metrics[f"grad_norm/{part}"] = optax.tree.norm(tree)
        return TrainState(state.step + 1, params, ema, opt_state), metrics

    shardings = jax.tree.map(lambda x: x.sharding, abstract_state(config, mesh))
    return jax.jit(
        update,
        in_shardings=(shardings, mesh_lib.batch_sharding(mesh)),
        out_shardings=(shardings, mesh_lib.replicated(mesh)),
        donate_argnums=0,
    )


def average(ema: Tree, params: Tree, step: Int[Array, ""], decay: float) -> Tree:
    """Exponential moving average, its decay rising from 0.1 as (1 + t) / (10 + t)."""
    if not decay:
        return ema
    d = jnp.minimum(decay, (1 + step) / (10 + step))
    return jax.tree.map(lambda e, p: d * e + (1 - d) * p, ema, params)


def accumulate(
    apply: Apply, config: Config, params: Tree, rows: Rows
) -> tuple[Tree, Metrics]:
    """Gradient and metrics of the whole batch, in `train.accumulation` rounds.

    Rounds are weighted by the rows that count in them, so the result is that of one
    round over the whole batch.
    """
    rounds = config.train.accumulation
    counts = Counts(
        masks=jnp.maximum((rows.valid & ~rows.no_target).sum(), 1),
        rows=jnp.maximum(rows.valid.sum(), 1),
        images=rows.images.shape[0],
    )
    grad = jax.grad(lambda p, r: batch_loss(apply, config, p, r, counts), has_aux=True)
    if rounds == 1:
        return grad(params, rows)

    def one(total: Any, part: Rows) -> tuple[Any, None]:
        return jax.tree.map(jnp.add, total, grad(params, part)), None

    # Row i goes to round i % rounds, so that every device keeps its own rows.
    parts = jax.tree.map(
        lambda x: x.reshape(-1, rounds, *x.shape[1:]).swapaxes(0, 1), rows
    )
    shapes = jax.eval_shape(grad, params, jax.tree.map(lambda x: x[0], parts))
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    return jax.lax.scan(one, zeros, parts)[0]


class Counts(NamedTuple):
    """What the sums of a batch are divided by."""

    masks: Int[Array, ""]  # valid expressions with a target
    rows: Int[Array, ""]  # valid expressions
    images: int


def batch_loss(
    apply: Apply, config: Config, params: Tree, rows: Rows, counts: Counts
) -> tuple[Float[Array, ""], Metrics]:
    """The loss of a batch, or of one round of it, and its metrics; see `Counts`."""
    if config.optim.text_rate == 0 and is_pretrained(config):
        params = {**params, "text": jax.lax.stop_gradient(params["text"])}
    b, k = rows.valid.shape
    # [b, k, ...] -> [e, ...]
    flat = jax.tree.map(lambda x: x.reshape(b * k, *x.shape[2:]), rows[2:])
    tokens, lengths, masks, valid, no_target, _ = flat
    model = apply.bind(mesh_lib.gather(params))
    features = model.encode_image(rows.images, rows.extent)
    words = model.encode_text(tokens, lengths)
    logits, no_target_logits = model.decode(features, words, lengths)

    target = masks.astype(jnp.float32) / 255
    cells = losses.valid_cells(rows.extent, config.model.image_size, model.grid)
    cells = jnp.repeat(cells, k, axis=0)
    each = losses.row_losses(
        logits, no_target_logits, target, cells, no_target, config.loss
    )
    targeted = valid & ~no_target
    metrics = {
        "bce": jnp.where(targeted, each["bce"], 0).sum() / counts.masks,
        "dice": jnp.where(targeted, each["dice"], 0).sum() / counts.masks,
        "no_target": jnp.where(valid, each["no_target"], 0).sum() / counts.rows,
    }
    weights = config.loss
    loss = (
        weights.bce * metrics["bce"]
        + weights.dice * metrics["dice"]
        + weights.no_target * metrics["no_target"]
    )
    iou = grid_iou(logits, target, cells)
    metrics["iou"] = jnp.where(targeted, iou, 0).sum() / counts.masks
    for level in ("low", "high"):
        groups = getattr(features, level)
        if groups is not None:
            metrics[f"cosine/{level}"] = mean_cosine(groups).sum() / counts.images
    return loss, {"loss": loss} | metrics


def grid_iou(
    logits: Float[Array, "e g g"],
    target: Float[Array, "e g g"],
    cells: Float[Array, "e g g"],
) -> Float[Array, "e"]:
    """IoU of the thresholded masks on the grid, to watch training by."""
    predicted, true = (logits > 0) & (cells > 0.5), target > 0.5
    both, either = (predicted & true).sum((1, 2)), (predicted | true).sum((1, 2))
    return both / jnp.maximum(either, 1)


def mean_cosine(groups: Float[Array, "b g d"]) -> Float[Array, "b"]:
    """Mean cosine between different group tokens of an image."""
    groups = groups.astype(jnp.float32)
    unit = groups / (jnp.linalg.norm(groups, axis=-1, keepdims=True) + 1e-6)
    g = groups.shape[1]
    total = jnp.square(unit.sum(1)).sum(-1) - jnp.square(unit).sum((1, 2))
    return total / max(g * (g - 1), 1)
