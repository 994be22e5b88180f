"""Where patches lie in the picture."""

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int


def grid_positions(
    extent: Int[Array, "b 2"], image_size: int, side: int, width: int
) -> Float[Array, "b n d"]:
    """2-D sine-cosine positions of patches, relative to the valid part of the canvas.

    A patch's centre is (row, column) / extent, so a place means the same in every
    picture whatever its padding. Half a cycle to 16 cycles across the picture (ours).
    """
    centres = (jnp.arange(side) + 0.5) * (image_size / side)  # [side] pixels
    place = centres[None, :, None] / extent[:, None, :]  # [b, side, 2]
    frequencies = jnp.pi * 2.0 ** jnp.linspace(0, 5, width // 4)
    angles = place[..., None] * frequencies  # [b, side, 2, d/4]
    waves = jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)
    b, half = extent.shape[0], width // 2
    rows = jnp.broadcast_to(waves[:, :, None, 0], (b, side, side, half))
    columns = jnp.broadcast_to(waves[:, None, :, 1], (b, side, side, half))
    return jnp.concatenate([rows, columns], axis=-1).reshape(b, side**2, width)
