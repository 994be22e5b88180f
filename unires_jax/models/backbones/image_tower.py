"""What every backbone's image tower does: carry group tokens through its blocks.

Sequence order is [prefix, patches, groups], the prefix being CLIP's CLS, or nothing.
Low-level group tokens enter before block 0 and leave before the split block; high-level
ones enter there and stay to the end (UniRES' figure). They attend like any token: plain
joint attention, no position.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float

from unires_jax.config import VisionConfig
from unires_jax.mesh import constrain_batch
from unires_jax.models.backbones.positions import positions_at
from unires_jax.models.keys import Keys
from unires_jax.models.layers import Block, Dense, LayerNorm, run_layer


class GroupTokens(nnx.Module):
    """Learned tokens that ride through `blocks` blocks of an image tower [figure].

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
        keys: Keys,
    ):
        self.tokens = nnx.Param(jax.random.normal(keys(), (count, config.width)))
        self.norm = LayerNorm(config.width, dtype=dtype, keys=keys)
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


class VisionOutput(NamedTuple):
    """What leaves the image tower.

    `patches` went through `ln_post`; `low` and `high` are the raw residual stream, None
    where no such groups were given. On request: `hidden`, [prefix, patches] before the
    first and after every block; `layers`, the patches before the blocks asked for; the
    attention of each group token to the patches in the last block it passes, the mean
    over heads (what goes to the prefix and to groups is left out).
    """

    patches: Float[Array, "b n d"]
    low: Float[Array, "b g_low d"] | None
    high: Float[Array, "b g_high d"] | None
    hidden: tuple[Float[Array, "b _ d"], ...]
    layers: tuple[Float[Array, "b n d"], ...]
    low_attention: Float[Array, "b g_low n"] | None
    high_attention: Float[Array, "b g_high n"] | None


class ImageTower(nnx.Module):
    """An image tower for square images.

    As it stands: patches with positions, nothing before them. The positions are a table
    for images of one side, and interpolated for those of another.
    """

    prefix = 0  # 1: CLS before the patches, and its row before theirs in `positions`
    patch_bias = True
    eps = 1e-5  # of its norms

    def __init__(
        self,
        config: VisionConfig,
        image_size: int,
        *,
        dtype: DTypeLike = jnp.float32,
        remat: str = "none",
        keys: Keys,
    ):
        """`image_size`: that of the table, pixels; `remat`: as in `ModelConfig`."""
        width, side = config.width, image_size // config.patch
        self.patch_embed = Dense(
            3 * config.patch**2, width, use_bias=self.patch_bias, dtype=dtype, keys=keys
        )
        init = nnx.initializers.normal(width**-0.5)
        self.cls = nnx.Param(init(keys(), (width,))) if self.prefix else None
        places = self.prefix + side**2
        self.positions = nnx.Param(init(keys(), (places, width)))
        blocks = range(config.depth)
        self.blocks = nnx.List(
            [Block(config, eps=self.eps, dtype=dtype, keys=keys) for _ in blocks]
        )
        self.ln_post = LayerNorm(width, eps=self.eps, dtype=dtype, keys=keys)
        self.patch, self.dtype, self.remat = config.patch, dtype, remat

    def embed(
        self,
        images: Float[Array, "b s s 3"],
        detail: Float[Array, "b n d"] | None = None,
    ) -> Float[Array, "b l d"]:
        """[CLS, patches] of normalised images with positions, as block 0 reads.

        `detail` is added to the patches.
        """
        x = self.patch_embed(self.cut(images))
        side = images.shape[1] // self.patch
        positions = positions_at(self.positions[...], side, self.prefix)
        if detail is not None:
            x = x + detail
        if self.cls is not None:
            cls = self.cls[...].astype(self.dtype)
            cls = jnp.broadcast_to(cls, (x.shape[0], 1, *cls.shape))
            x = jnp.concatenate([cls, x], axis=1)
        return x + positions.astype(self.dtype)

    def __call__(
        self,
        images: Float[Array, "b s s 3"],
        low: GroupTokens | None = None,
        high: GroupTokens | None = None,
        *,
        detail: Float[Array, "b n d"] | None = None,
        split_layer: int | None = None,
        layers: Sequence[int] = (),
        return_hidden: bool = False,
        return_attention: bool = False,
    ) -> VisionOutput:
        """Encode normalised images, with `detail` added to their embedded patches.

        `split_layer` is the block before which `high` replaces `low`; None = half.
        `layers` are blocks before which the patches are given back.
        """
        split = len(self.blocks) // 2 if split_layer is None else split_layer
        x = constrain_batch(self.embed(images, detail))
        hidden = [x]
        run, depth = self._span, len(self.blocks)
        x, low_out, low_maps = run(x, 0, split, low, hidden, return_attention)
        x, high_out, high_maps = run(x, split, depth, high, hidden, return_attention)
        return VisionOutput(
            patches=self.ln_post(x)[:, self.prefix :],
            low=low_out,
            high=high_out,
            hidden=tuple(hidden) if return_hidden else (),
            layers=tuple(hidden[i][:, self.prefix :] for i in layers),
            low_attention=low_maps,
            high_attention=high_maps,
        )

    def _span(
        self,
        x: Float[Array, "b l d"],
        start: int,
        stop: int,
        groups: GroupTokens | None,
        hidden: list[Array],
        return_attention: bool,
    ) -> tuple[
        Float[Array, "b l d"],
        Float[Array, "b g d"] | None,
        Float[Array, "b g n"] | None,
    ]:
        """Blocks start..stop with `groups` on board; notes [prefix, patches] each.

        The stream without the groups, the groups, and on request what they attend to.
        """
        length, weights = x.shape[1], None
        if groups is not None:
            x = jnp.concatenate([x, groups.enter(x)], axis=1)
        for i in range(start, stop):
            x, weights = run_layer(
                self.blocks[i],
                x,
                self.remat,
                group_bias=None if groups is None else groups.block_bias(i - start),
                groups=x.shape[1] - length,
                return_weights=return_attention and i == stop - 1,
            )
            hidden.append(x[:, :length])
        if groups is None:
            return x, None, None
        if weights is not None:  # [b, h, l, l] -> [b, g, n]
            weights = weights[:, :, length:, self.prefix : length].mean(1)
        return x[:, :length], x[:, length:], weights

    def cut(self, images: Float[Array, "b s s 3"]) -> Float[Array, "b n f"]:
        """The pixels of each patch, row-major: [patch, patch, 3] flattened."""
        b, s, _, _ = images.shape
        p, side = self.patch, s // self.patch
        x = images.astype(self.dtype).reshape(b, side, p, side, p, 3)
        return x.transpose(0, 1, 3, 2, 4, 5).reshape(b, side**2, 3 * p**2)
