"""What a config trains on a mesh, built once: model, optimizer, state, jitted update.

Making one and lowering its functions touches no device and no array, so that a mesh of
devices that are only described will do.
"""

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from unires_jax import mesh as mesh_lib
from unires_jax.config import Config, mask_grid, training_model
from unires_jax.data.batch import Batch
from unires_jax.errors import ConfigError, TrainingError, shorten
from unires_jax.models.unires import Apply
from unires_jax.training.optim import make_optimizer
from unires_jax.training.train_step import Metrics, TrainState, Tree, make_update

OUT_OF_MEMORY = "RESOURCE_EXHAUSTED"  # as XLA says it


@dataclasses.dataclass(frozen=True)
class Recipe:
    """All that is compiled of a run. Make it with `make_recipe`."""

    config: Config
    mesh: Mesh
    apply: Apply  # the model as pure functions of its parameters
    state: TrainState  # shapes, types and shardings, to restore a checkpoint into
    init: Any  # jitted: parameters, or none to draw them -> the first state, sharded
    step: Any  # jitted: (state, global batch) -> (state, metrics); donates the state

    def compile(self, state: TrainState, batch: Batch) -> None:
        """Compile the step for these shapes without running it.

        Raises TrainingError as `train_step` does: on TPU the compiler knows already.
        """
        with self._too_little_memory_explained(), jax.set_mesh(self.mesh):
            self.step.lower(state, batch).compile()

    def train_step(self, state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        """One update. Its metrics are those of `train_step.make_update`.

        Raises TrainingError naming what saves memory if there is too little.
        """
        with self._too_little_memory_explained(), jax.set_mesh(self.mesh):
            updated: tuple[TrainState, Metrics] = self.step(state, batch)
        return updated

    @contextlib.contextmanager
    def _too_little_memory_explained(self) -> Iterator[None]:
        try:
            yield
        except jax.errors.JaxRuntimeError as error:
            if OUT_OF_MEMORY not in str(error):
                raise
            train, model = self.config.train, self.config.model
            raise TrainingError(
                f"a device has too little memory for a step of {train.batch} pictures. "
                "Cut the batch into more rounds (--config.train.accumulation, now "
                f"{train.accumulation}), recompute activations (--config.model.remat="
                f"full, now {model.remat}), share parameters (--config.mesh.fsdp, now "
                f"{self.config.mesh.fsdp}): {shorten(str(error))}"
            ) from error


def make_recipe(config: Config, mesh: Mesh) -> Recipe:
    """The recipe of a config on a mesh.

    Raises ConfigError if a round of the batch does not divide over the devices, or for
    a parameter in no group of the optimizer.
    """
    rounds, images = config.train.accumulation, config.train.batch
    if images // rounds % mesh.size:
        raise ConfigError(
            f"train.batch={images} in train.accumulation={rounds} rounds must divide "
            f"over {mesh.size} devices"
        )
    apply = Apply(config.model)
    optimizer = make_optimizer(config, apply.abstract)

    def init(params: Tree | None = None) -> TrainState:
        if params is None:
            params = apply.init(jax.random.key(config.seed))
        # A copy: parameters and average are donated to the step separately.
        ema = jax.tree.map(jnp.copy, params) if config.optim.ema else {}
        return TrainState(jnp.int32(0), params, ema, optimizer.init(params))

    state = jax.eval_shape(init, apply.abstract)
    shardings = mesh_lib.shard_like_parameters(state, mesh)
    state = jax.tree.map(
        lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s),
        state,
        shardings,
    )
    step = jax.jit(
        make_update(config, apply, optimizer),
        in_shardings=(shardings, mesh_lib.batch_sharding(mesh)),
        out_shardings=(shardings, mesh_lib.replicated(mesh)),
        donate_argnums=0,
    )
    jitted_init = jax.jit(init, out_shardings=shardings)
    return Recipe(config, mesh, apply, state, jitted_init, step)


def abstract_batch(config: Config, mesh: Mesh, length: int) -> Batch:
    """Shapes, types and shardings of a global batch of sentences of `length` tokens."""
    b, k, model = (
        config.train.batch,
        config.data.expressions,
        training_model(config.model),
    )
    size, grid = model.image_size, mask_grid(model)
    sharding = mesh_lib.batch_sharding(mesh)

    def rows(dtype: Any, *shape: int) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((b, *shape), dtype, sharding=sharding)

    return Batch(
        images=rows(jnp.uint8, size, size, 3),
        extent=rows(jnp.int32, 2),
        tokens=rows(jnp.int32, k, length),
        lengths=rows(jnp.int32, k),
        masks=rows(jnp.uint8, k, grid, grid),
        valid=rows(jnp.bool_, k),
        no_target=rows(jnp.bool_, k),
        level=rows(jnp.int32, k),
    )
