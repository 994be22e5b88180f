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
        return_weights: bool = False,
    ) -> tuple[Float[Array, "b l d"], Float[Array, "b h l l"] | None]:
        """The new stream, and on request the attention; options as in `Attention`."""
        y = self.ln1(x)
        mixed, weights = self.attention(
            y,
            y,
            mask=mask,
            group_bias=group_bias,
            groups=groups,
            return_weights=return_weights,
        )
        x = x + mixed
        return constrain_batch(x + self.mlp(self.ln2(x))), weights


def run_block(
    block: Block, x: Float[Array, "b l d"], remat: bool, **options: Any
) -> tuple[Float[Array, "b l d"], Float[Array, "b h l l"] | None]:
    """The block, its activations recomputed in the backward pass with `remat`."""

    def run(x: Array) -> tuple[Array, Array | None]:
        return block(x, **options)

    return jax.checkpoint(run)(x) if remat else run(x)
