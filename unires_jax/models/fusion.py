"""Language meets picture: region filters and decoder stages."""

from typing import Any

import jax.numpy as jnp
from flax import nnx
from jax import Array
from jaxtyping import Bool, Float, Int

from unires_jax.config import ModelConfig
from unires_jax.mesh import constrain_batch
from unires_jax.models.keys import Keys
from unires_jax.models.layers import Attention, Dense, FeedForward, LayerNorm, run_layer


class FusionLayer(nnx.Module):
    """Pre-norm attention of queries over keys, then a feed-forward block.

    The paper draws A = T x G, R = T x A, H = R + G, FFN(H) + H for the filters; norms,
    heads and softmax are ours. Both branches end in zeros, so a new layer starts as the
    identity (ours). Keys arrive normalised.
    """

    def __init__(self, config: ModelConfig, *, attend: bool = True, keys: Keys):
        """`attend=False` puts feed-forward of equal size in attention's place."""
        d, dtype = config.width, jnp.dtype(config.dtype)
        zeros: dict[str, Any] = {"zero_init_out": True, "dtype": dtype, "keys": keys}
        self.ln1 = LayerNorm(d, dtype=dtype, keys=keys)
        kind, size = (Attention, config.heads) if attend else (FeedForward, 2 * d)
        self.mix = kind(d, size, **zeros)
        self.ln2 = LayerNorm(d, dtype=dtype, keys=keys)
        self.mlp = FeedForward(d, config.mlp_ratio * d, **zeros)

    def __call__(
        self,
        x: Float[Array, "e q d"],
        keys: Float[Array, "e k d"] | None,
        *,
        mask: Bool[Array, "e 1 k"] | None = None,
        positions: Float[Array, "e q d"] | None = None,
        return_weights: bool = False,
    ) -> tuple[Float[Array, "e q d"], Float[Array, "e h q k"] | None]:
        """The new queries, and on request their attention, None without any.

        `keys=None` attends to the queries themselves; positions go to queries.
        """
        y, weights = self.ln1(x), None
        if isinstance(self.mix, FeedForward):
            mixed = self.mix(y)
        else:
            placed = y if positions is None else y + positions
            keys = placed if keys is None else keys
            mixed, weights = self.mix(
                placed, keys, mask=mask, return_weights=return_weights
            )
        x = x + mixed
        return constrain_batch(x + self.mlp(self.ln2(x))), weights


class Filter(nnx.Module):
    """LRF: the group tokens of one level, filtered by the words [figure]."""

    def __init__(self, config: ModelConfig, *, keys: Keys):
        dtype = jnp.dtype(config.dtype)
        self.project = Dense(config.vision.width, config.width, dtype=dtype, keys=keys)
        self.ln_words = LayerNorm(config.width, dtype=dtype, keys=keys)
        self.layer = FusionLayer(config, attend=config.filters == "lrf", keys=keys)

    def __call__(
        self,
        groups: Float[Array, "e g d"],
        words: Float[Array, "e l d"],
        mask: Bool[Array, "e 1 l"],
        *,
        return_weights: bool = False,
    ) -> tuple[Float[Array, "e g d"], Float[Array, "e h g l"] | None]:
        """The filtered groups, and on request how much of each word they read."""
        keys = self.ln_words(words)
        return self.layer(groups, keys, mask=mask, return_weights=return_weights)


class Stage(nnx.Module):
    """A decoder stage: patches query words (stage 1) or filtered groups (stage 2)."""

    def __init__(self, config: ModelConfig, depth: int, *, keys: Keys):
        """`depth` layers, each recomputed as `config.remat` says."""
        dtype = jnp.dtype(config.dtype)
        self.ln_keys = LayerNorm(config.width, dtype=dtype, keys=keys)
        self.layers = nnx.List([FusionLayer(config, keys=keys) for _ in range(depth)])
        self.remat = config.remat

    def __call__(
        self,
        x: Float[Array, "e n d"],
        keys: Float[Array, "e k d"],
        positions: Float[Array, "e n d"],
        mask: Bool[Array, "e 1 k"] | None = None,
    ) -> Float[Array, "e n d"]:
        """Positions join the queries of every layer, or "left" drifts away."""
        options = {"keys": self.ln_keys(keys), "mask": mask, "positions": positions}
        for layer in self.layers:
            x, _ = run_layer(layer, x, self.remat, **options)
        return x


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
