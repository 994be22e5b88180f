"""What a picture becomes, for any number of sentences about it."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int

from unires_jax.mesh import constrain_batch


def each(
    x: Float[Array, "b *n"],
    words: Float[Array, "e *l"],
    image_index: Int[Array, "e"] | None,
) -> Float[Array, "e *n"]:
    """An image's numbers for each expression, of which `words` has a row each.

    `image_index` as in `UniRES.decode`.
    """
    if image_index is not None:
        return x[image_index]
    # Unlike a gather it stays local to a batch shard.
    return constrain_batch(jnp.repeat(x, words.shape[0] // x.shape[0], axis=0))


class ImageFeatures(NamedTuple):
    """What `decode` needs of a picture. Any number of expressions shares it."""

    patches: Float[Array, "b n d"]
    low: Float[Array, "b g_low d"] | None
    high: Float[Array, "b g_high d"] | None
    detail: Float[Array, "b g g c"] | None
    positions: Float[Array, "b n d"]

    def each(
        self, words: Float[Array, "e l d"], image_index: Int[Array, "e"] | None
    ) -> "ImageFeatures":
        """The features of each expression's image; arguments as in `decode`."""
        return jax.tree.map(lambda x: each(x, words, image_index), self)
