"""CLIP's two towers. The image tower carries group tokens through some of its blocks.

Sequence order in the image tower is [CLS, patches, groups]. Low-level group tokens
enter after `ln_pre` and leave before the split block; high-level ones enter there and
stay to the end (UniRES' figure). They attend like any token: plain joint attention, no
position.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float, Int

from unires_jax.config import TextConfig, VisionConfig
from unires_jax.mesh import constrain_batch
from unires_jax.models.layers import Attention, Dense, FeedForward, LayerNorm


class VisionOutput(NamedTuple):
    """What leaves the image tower.

    `patches` went through `ln_post`, which CLIP itself applies to CLS alone (ours);
    `low` and `high` are the raw residual stream, None where no such groups were given;
    `hidden` holds [CLS, patches] before the first and after every block, if asked for.
    """

    patches: Float[Array, "b n d"]
    cls: Float[Array, "b d"]
    low: Float[Array, "b g_low d"] | None
    high: Float[Array, "b g_high d"] | None
    hidden: tuple[Float[Array, "b _ d"], ...]


class Block(nnx.Module):
    """A pre-norm transformer block."""

    def __init__(
        self,
        config: VisionConfig | TextConfig,
        *,
        dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        width = config.width
        self.ln1 = LayerNorm(width, dtype=dtype, rngs=rngs)
        self.attention = Attention(width, config.heads, dtype=dtype, rngs=rngs)
        self.ln2 = LayerNorm(width, dtype=dtype, rngs=rngs)
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


def _run(
    block: Block, x: Float[Array, "b l d"], remat: bool, **options: Any
) -> Float[Array, "b l d"]:
    """The block, its activations recomputed in the backward pass with `remat`."""

    def run(x: Array) -> Array:
        return block(x, **options)

    return jax.checkpoint(run)(x) if remat else run(x)


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


class VisionTower(nnx.Module):
    """CLIP's image tower for square images of one size."""

    def __init__(
        self,
        config: VisionConfig,
        image_size: int,
        *,
        dtype: DTypeLike = jnp.float32,
        remat: bool = False,
        rngs: nnx.Rngs,
    ):
        """`image_size` in pixels, a multiple of the patch; `remat` saves memory."""
        width, side = config.width, image_size // config.patch
        self.patch_embed = Dense(
            3 * config.patch**2, width, use_bias=False, dtype=dtype, rngs=rngs
        )
        init = nnx.initializers.normal(width**-0.5)
        self.cls = nnx.Param(init(rngs.params(), (width,)))
        self.positions = nnx.Param(init(rngs.params(), (1 + side**2, width)))
        self.ln_pre = LayerNorm(width, dtype=dtype, rngs=rngs)
        self.blocks = nnx.List(
            [Block(config, dtype=dtype, rngs=rngs) for _ in range(config.depth)]
        )
        self.ln_post = LayerNorm(width, dtype=dtype, rngs=rngs)
        self.patch, self.dtype, self.remat = config.patch, dtype, remat

    def __call__(
        self,
        images: Float[Array, "b s s 3"],
        low: GroupTokens | None = None,
        high: GroupTokens | None = None,
        *,
        split_layer: int | None = None,
        return_hidden: bool = False,
    ) -> VisionOutput:
        """Encode normalised images.

        `split_layer` is the block before which `high` replaces `low`; None = half.
        """
        split = len(self.blocks) // 2 if split_layer is None else split_layer
        x = self.embed(images)
        hidden = [x]
        x, low_out = self._span(x, 0, split, low, hidden)
        x, high_out = self._span(x, split, len(self.blocks), high, hidden)
        x = self.ln_post(x)
        return VisionOutput(
            patches=x[:, 1:],
            cls=x[:, 0],
            low=low_out,
            high=high_out,
            hidden=tuple(hidden) if return_hidden else (),
        )

    def embed(self, images: Float[Array, "b s s 3"]) -> Float[Array, "b l d"]:
        """[CLS, patches] with positions, after `ln_pre`."""
        b, s, _, _ = images.shape
        p, side = self.patch, s // self.patch
        x = images.astype(self.dtype).reshape(b, side, p, side, p, 3)
        x = x.transpose(0, 1, 3, 2, 4, 5).reshape(b, side**2, 3 * p**2)
        x = self.patch_embed(x)
        cls = jnp.broadcast_to(self.cls[...].astype(self.dtype), (b, 1, x.shape[-1]))
        x = jnp.concatenate([cls, x], axis=1) + self.positions[...].astype(self.dtype)
        return constrain_batch(self.ln_pre(x))

    def _span(
        self,
        x: Float[Array, "b l d"],
        start: int,
        stop: int,
        groups: GroupTokens | None,
        hidden: list[Array],
    ) -> tuple[Float[Array, "b l d"], Float[Array, "b g d"] | None]:
        """Blocks start..stop with `groups` on board; notes [CLS, patches] of each."""
        length = x.shape[1]
        if groups is not None:
            x = jnp.concatenate([x, groups.enter(x)], axis=1)
        for i in range(start, stop):
            bias = None if groups is None else groups.block_bias(i - start)
            count = x.shape[1] - length
            x = _run(self.blocks[i], x, self.remat, group_bias=bias, groups=count)
            hidden.append(x[:, :length])
        return x[:, :length], None if groups is None else x[:, length:]


def word_places(x: Array) -> Int[Array, "e l"]:
    """0, 1, ... along the second axis of an array, whatever the others.

    An iota of the array's own shape, because exporters follow its free axes; they lose
    those of `jnp.arange(x.shape[1])`.
    """
    return jax.lax.broadcasted_iota(jnp.int32, x.shape[:2], 1)


class TextTower(nnx.Module):
    """CLIP's causal text tower."""

    def __init__(
        self,
        config: TextConfig,
        *,
        dtype: DTypeLike = jnp.float32,
        remat: bool = False,
        rngs: nnx.Rngs,
    ):
        """`remat` recomputes each block's activations in the backward pass."""
        init = nnx.initializers.normal
        self.embedding = nnx.Param(
            init(0.02)(rngs.params(), (config.vocab, config.width))
        )
        self.positions = nnx.Param(
            init(0.01)(rngs.params(), (config.context, config.width))
        )
        self.blocks = nnx.List(
            [Block(config, dtype=dtype, rngs=rngs) for _ in range(config.depth)]
        )
        self.ln_final = LayerNorm(config.width, dtype=dtype, rngs=rngs)
        self.dtype, self.remat = dtype, remat

    def __call__(
        self, tokens: Int[Array, "e l"], lengths: Int[Array, "e"]
    ) -> Float[Array, "e l d"]:
        """Word features after `ln_final`; row `length - 1` of each is the EOS feature.

        `lengths` counts SOS to EOS. Rows past it are zero; no row before it depends on
        them. `l` may be shorter than the context.
        """
        words = self.ln_final(self.hidden(tokens)[-1])
        valid = word_places(tokens) < lengths[:, None]
        return jnp.where(valid[:, :, None], words, 0)

    def hidden(self, tokens: Int[Array, "e l"]) -> list[Float[Array, "e l d"]]:
        """The stream before the first and after every block."""
        places = word_places(tokens)
        causal = places[:1, :, None] >= places[:1, None]
        x = self.embedding[...][tokens] + self.positions[...][places]
        hidden = [constrain_batch(x.astype(self.dtype))]
        for block in self.blocks:
            hidden.append(_run(block, hidden[-1], self.remat, mask=causal))
        return hidden
