"""The shapes of a global batch, to trace a step with."""

import jax
import jax.numpy as jnp

from unires_jax.config import Config, mask_grid
from unires_jax.data.batch import Batch


def abstract_batch(config: Config) -> Batch:
    """Shapes of a global batch."""
    b, k = config.train.batch, config.data.expressions
    size, length = config.model.image_size, config.data.lengths[0]
    grid = mask_grid(config.model)

    def array(dtype: type, *shape: int) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(shape, dtype)

    return Batch(
        images=array(jnp.uint8, b, size, size, 3),
        extent=array(jnp.int32, b, 2),
        tokens=array(jnp.int32, b, k, length),
        lengths=array(jnp.int32, b, k),
        masks=array(jnp.uint8, b, k, grid, grid),
        valid=array(jnp.bool_, b, k),
        no_target=array(jnp.bool_, b, k),
        level=array(jnp.int32, b, k),
    )
