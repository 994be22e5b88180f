"""What every backbone's image tower does: carry group tokens through its blocks.

Sequence order is [prefix, patches, groups], the prefix being CLIP's CLS, or nothing.
Low-level group tokens enter before block 0 and leave before the split block; high-level
ones enter there and stay to the end (UniRES' figure). They attend like any token: plain
joint attention, no position.
"""

from typing import NamedTuple

import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float

from unires_jax.config import VisionConfig
from unires_jax.models.backbones.blocks import run_block
from unires_jax.models.groups import GroupTokens
from unires_jax.models.layers import LayerNorm


class VisionOutput(NamedTuple):
    """What leaves the image tower.

    `patches` went through `ln_post`; `low` and `high` are the raw residual stream, None
    where no such groups were given; `hidden` holds [prefix, patches] before the first
    and after every block, if asked for.
    """

    patches: Float[Array, "b n d"]
    low: Float[Array, "b g_low d"] | None
    high: Float[Array, "b g_high d"] | None
    hidden: tuple[Float[Array, "b _ d"], ...]


class ImageTower(nnx.Module):
    """An image tower for square images of one size.

    A backbone builds the parts named here, gives `embed`, and sets `prefix`.
    """

    prefix = 0  # tokens before the patches, and rows before theirs in `positions`

    positions: nnx.Param  # [prefix + n, d]
    blocks: nnx.List
    ln_post: LayerNorm
    patch: int
    dtype: DTypeLike
    remat: bool

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
        raise NotImplementedError

    def embed(self, images: Float[Array, "b s s 3"]) -> Float[Array, "b l d"]:
        """[prefix, patches] of normalised images with positions, as block 0 reads."""
        raise NotImplementedError

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
        return VisionOutput(
            patches=self.ln_post(x)[:, self.prefix :],
            low=low_out,
            high=high_out,
            hidden=tuple(hidden) if return_hidden else (),
        )

    def _span(
        self,
        x: Float[Array, "b l d"],
        start: int,
        stop: int,
        groups: GroupTokens | None,
        hidden: list[Array],
    ) -> tuple[Float[Array, "b l d"], Float[Array, "b g d"] | None]:
        """Blocks start..stop with `groups` on board; notes [prefix, patches] each."""
        length = x.shape[1]
        if groups is not None:
            x = jnp.concatenate([x, groups.enter(x)], axis=1)
        for i in range(start, stop):
            bias = None if groups is None else groups.block_bias(i - start)
            count = x.shape[1] - length
            x = run_block(self.blocks[i], x, self.remat, group_bias=bias, groups=count)
            hidden.append(x[:, :length])
        return x[:, :length], None if groups is None else x[:, length:]

    def cut(self, images: Float[Array, "b s s 3"]) -> Float[Array, "b n f"]:
        """The pixels of each patch, row-major: [patch, patch, 3] flattened."""
        b, s, _, _ = images.shape
        p, side = self.patch, s // self.patch
        x = images.astype(self.dtype).reshape(b, side, p, side, p, 3)
        return x.transpose(0, 1, 3, 2, 4, 5).reshape(b, side**2, 3 * p**2)
