"""Group tokens: learned tokens that ride through blocks of an image tower [figure]."""

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float

from unires_jax.config import VisionConfig
from unires_jax.models.layers import LayerNorm


class GroupTokens(nnx.Module):
    """Learned tokens that pass `blocks` consecutive blocks of the image tower.

    They start N(0, 1), pass a LayerNorm, and enter at the scale of the patch stream at
    that depth, so that they need no calibration to one set of weights (ours). A learned
    bias for each block and head on patch -> group logits starts at `bias`: at -10 the
    patches of a pretrained tower are at first what they are without groups (ours). With
    `bias=None` there is none, as in the figure.
    """

    def __init__(
        self,
        count: int,
        blocks: int,
        config: VisionConfig,
        *,
        bias: float | None = -10.0,
        dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        self.tokens = nnx.Param(jax.random.normal(rngs.params(), (count, config.width)))
        self.norm = LayerNorm(config.width, dtype=dtype, rngs=rngs)
        self.bias = (
            None
            if bias is None
            else nnx.Param(jnp.full((blocks, config.heads), bias, jnp.float32))
        )

    def enter(self, stream: Float[Array, "b l d"]) -> Float[Array, "b g d"]:
        """The tokens for each image, at the mean standard deviation of its stream."""
        spread = stream.astype(jnp.float32).std(-1).mean(-1)
        scale = jax.lax.stop_gradient(spread).astype(stream.dtype)
        return scale[:, None, None] * self.norm(self.tokens[...])

    def block_bias(self, block: int) -> Float[Array, "h"] | None:
        """The bias of the `block`-th block these tokens pass."""
        return None if self.bias is None else self.bias[...][block]
