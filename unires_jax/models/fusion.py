"""Language meets picture: the layer of region filters, and the decoder's stages."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jaxtyping import Bool, Float

from unires_jax.config import ModelConfig
from unires_jax.mesh import constrain_batch
from unires_jax.models.layers import Attention, FeedForward, LayerNorm


class FusionLayer(nnx.Module):
    """Pre-norm attention of queries over keys, then a feed-forward block.

    The paper draws A = T x G, R = T x A, H = R + G, FFN(H) + H for the filters; norms,
    heads and softmax are ours. Both branches end in zeros, so a new layer starts as the
    identity (ours). Keys arrive normalised.
    """

    def __init__(
        self,
        config: ModelConfig,
        *,
        attend: bool = True,
        rngs: nnx.Rngs,
    ):
        """`attend=False` puts feed-forward of equal size in attention's place."""
        d, dtype = config.width, jnp.dtype(config.dtype)
        zeros: dict[str, Any] = {"zero_init_out": True, "dtype": dtype, "rngs": rngs}
        self.ln1 = LayerNorm(d, dtype=dtype, rngs=rngs)
        self.mix = (
            Attention(d, config.heads, **zeros)
            if attend
            else FeedForward(d, 2 * d, **zeros)
        )
        self.ln2 = LayerNorm(d, dtype=dtype, rngs=rngs)
        self.mlp = FeedForward(d, config.mlp_ratio * d, **zeros)

    def __call__(
        self,
        x: Float[Array, "e q d"],
        keys: Float[Array, "e k d"] | None,
        *,
        mask: Bool[Array, "e 1 k"] | None = None,
        positions: Float[Array, "e q d"] | None = None,
    ) -> Float[Array, "e q d"]:
        """`keys=None` attends to the queries themselves; positions go to queries."""
        y = self.ln1(x)
        if isinstance(self.mix, FeedForward):
            x = x + self.mix(y)
        else:
            placed = y if positions is None else y + positions
            x = x + self.mix(placed, placed if keys is None else keys, mask=mask)
        return constrain_batch(x + self.mlp(self.ln2(x)))


class Stage(nnx.Module):
    """A decoder stage: patches query words (stage 1) or filtered groups (stage 2)."""

    def __init__(self, config: ModelConfig, depth: int, *, rngs: nnx.Rngs):
        """`depth` layers; `config.remat` recomputes each in the backward pass."""
        dtype = jnp.dtype(config.dtype)
        self.ln_keys = LayerNorm(config.width, dtype=dtype, rngs=rngs)
        self.layers = nnx.List([FusionLayer(config, rngs=rngs) for _ in range(depth)])
        self.remat = config.remat

    def __call__(
        self,
        x: Float[Array, "e n d"],
        keys: Float[Array, "e k d"],
        positions: Float[Array, "e n d"],
        mask: Bool[Array, "e 1 k"] | None = None,
    ) -> Float[Array, "e n d"]:
        """Positions join the queries of every layer, or "left" drifts away."""
        keys = self.ln_keys(keys)
        for layer in self.layers:
            run = lambda x, layer=layer: layer(  # noqa: E731
                x, keys, mask=mask, positions=positions
            )
            x = (jax.checkpoint(run) if self.remat else run)(x)
        return x
