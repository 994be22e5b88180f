"""The pre-norm transformer block of every backbone so far."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float

from unires_jax.config import TextConfig, VisionConfig
from unires_jax.mesh import constrain_batch
from unires_jax.models.layers import Attention, FeedForward, LayerNorm


class Block(nnx.Module):
    """Attention and feed-forward, each after a norm and around a residual."""

    def __init__(
        self,
        config: VisionConfig | TextConfig,
        *,
        eps: float,
        dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        """`eps` is that of both norms."""
        width = config.width
        self.ln1 = LayerNorm(width, eps=eps, dtype=dtype, rngs=rngs)
        self.attention = Attention(width, config.heads, dtype=dtype, rngs=rngs)
        self.ln2 = LayerNorm(width, eps=eps, dtype=dtype, rngs=rngs)
        self.mlp = FeedForward(
            width, config.mlp, activation=config.activation, dtype=dtype, rngs=rngs
        )

    def __call__(
        self,
        x: Float[Array, "b l d"],
        *,
        mask: Array | None = None,
        group_bias: Float[Array, "h"] | None = None,
        groups: int = 0,
    ) -> Float[Array, "b l d"]:
        """`mask`, `group_bias` and `groups` as in `layers.attend`."""
        y = self.ln1(x)
        x = x + self.attention(y, y, mask=mask, group_bias=group_bias, groups=groups)
        return constrain_batch(x + self.mlp(self.ln2(x)))


def run_block(
    block: Block, x: Float[Array, "b l d"], remat: bool, **options: Any
) -> Float[Array, "b l d"]:
    """The block, its activations recomputed in the backward pass with `remat`."""

    def run(x: Array) -> Array:
        return block(x, **options)

    return jax.checkpoint(run)(x) if remat else run(x)
