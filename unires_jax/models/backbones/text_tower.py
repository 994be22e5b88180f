"""What every backbone's text tower does: token ids to word features."""

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Bool, Float, Int

from unires_jax.config import TextConfig
from unires_jax.mesh import constrain_batch, look_up
from unires_jax.models.keys import Keys
from unires_jax.models.layers import Block, LayerNorm, run_layer


def word_places(x: Array) -> Int[Array, "e l"]:
    """0, 1, ... along the second axis of an array, whatever the others.

    Of both axes, so that its length may stay free: ONNX has no `arange` of a free one.
    """
    return jax.lax.broadcasted_iota(jnp.int32, x.shape[:2], 1)


class TextTower(nnx.Module):
    """Embeddings with learned positions, blocks, a last norm."""

    eps = 1e-5  # of its norms
    fills_up = False  # True: every sentence passes at the context's length

    def __init__(
        self,
        config: TextConfig,
        *,
        dtype: DTypeLike = jnp.float32,
        remat: str = "none",
        keys: Keys,
    ):
        """`remat` as in `ModelConfig`."""
        init, width = nnx.initializers.normal, config.width
        self.embedding = nnx.Param(init(0.02)(keys(), (config.vocab, width)))
        self.positions = nnx.Param(init(0.01)(keys(), (config.context, width)))
        blocks = range(config.depth)
        self.blocks = nnx.List(
            [Block(config, eps=self.eps, dtype=dtype, keys=keys) for _ in blocks]
        )
        self.ln_final = LayerNorm(width, eps=self.eps, dtype=dtype, keys=keys)
        self.dtype, self.remat = dtype, remat

    def mask(self, tokens: Int[Array, "e l"]) -> Bool[Array, "1 l l"] | None:
        """Which token reads which; None: each reads all."""
        return None

    def hidden(self, tokens: Int[Array, "e l"]) -> list[Float[Array, "e l d"]]:
        """The stream before the first and after every block."""
        mask = self.mask(tokens)
        x = look_up(self.embedding[...], tokens, self.dtype)
        places = self.positions[...][word_places(tokens)]
        hidden = [constrain_batch(x + places.astype(self.dtype))]
        for block in self.blocks:
            x, _ = run_layer(block, hidden[-1], self.remat, mask=mask)
            hidden.append(x)
        return hidden

    def __call__(
        self, tokens: Int[Array, "e l"], lengths: Int[Array, "e"]
    ) -> Float[Array, "e l d"]:
        """Word features after `ln_final`; row `length - 1` of each is the EOS feature.

        `lengths` counts the tokens up to EOS. Rows past it are zero. A backbone sees to
        it that no row before it depends on the tokens there, nor on how many they are.
        """
        words = self.ln_final(self.hidden(tokens)[-1])
        valid = word_places(tokens) < lengths[:, None]
        return jnp.where(valid[:, :, None], words, 0)
