"""What a picture becomes, for any number of sentences about it."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int

from unires_jax.mesh import constrain_batch


class ImageFeatures(NamedTuple):
    """What `decode` needs of a picture. Any number of expressions shares it."""

    patches: Float[Array, "b n d"]
    low: Float[Array, "b g_low d"] | None
    high: Float[Array, "b g_high d"] | None
    detail: Float[Array, "b g g c"] | None
    positions: Float[Array, "b n d"]

    def of(self, image_index: Int[Array, "e"]) -> "ImageFeatures":
        """The features of each expression's image."""
        return jax.tree.map(lambda x: x[image_index], self)

    def repeat(self, times: int) -> "ImageFeatures":
        """Each image `times` over. Unlike a gather it stays local to a batch shard."""
        return jax.tree.map(lambda x: constrain_batch(jnp.repeat(x, times, 0)), self)
