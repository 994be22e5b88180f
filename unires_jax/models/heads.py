"""The mask heads and the no-target head: what becomes of an expression's patches."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float, Int

from unires_jax.config import ModelConfig, patch_cells
from unires_jax.mesh import constrain_batch
from unires_jax.models.features import each
from unires_jax.models.keys import Keys
from unires_jax.models.layers import Conv3x3, Dense, LayerNorm, quick_gelu
from unires_jax.models.pixel_features import (
    PixelFeatures,
    StemFeatures,
    depth_to_space,
    resize,
    space_to_depth,
)


class ProductHead(nnx.Module):
    """A logit is the product of a cell's features with an embedding of its patch.

    MaskFormer (Cheng et al. 2021, arXiv 2107.06278) multiplies one embedding per mask
    with features of the pixels; that each patch of an expression has its own is ours,
    as is what it adds for each cell of the first grid that `PixelFeatures` passes. The
    pixels' features are those of the picture: an expression costs no convolution.
    """

    def __init__(
        self,
        config: ModelConfig,
        stem_channels: int,
        *,
        dtype: DTypeLike = jnp.float32,
        keys: Keys,
    ):
        """`stem_channels=0` without a stem."""
        kw: dict[str, Any] = {"dtype": dtype, "keys": keys}
        width = config.width
        self.pixels = PixelFeatures(config, stem_channels, **kw)
        self.norm = LayerNorm(width, **kw)
        # The last is no channel: it is added to all cells.
        self.embed = Dense(width, config.mask_channels + 1, **kw)
        self.coarse = Dense(width, self.pixels.steps[0] ** 2, zero_init=True, **kw)

    def detail(
        self,
        patches: Float[Array, "b n d"],
        hidden: Sequence[Float[Array, "b n t"]],
        stem: StemFeatures | None,
    ) -> Float[Array, "b g g c"]:
        """The pixels' features, once per image."""
        return self.pixels(patches, hidden, stem)

    def __call__(
        self,
        x: Float[Array, "e n d"],
        eos: Float[Array, "e d"],
        detail: Float[Array, "b g g c"] | None,
        image_index: Int[Array, "e"] | None,
    ) -> Float[Array, "e g g"]:
        """Logits on the mask grid; `image_index` as in `UniRES.decode`."""
        assert detail is not None
        del eos  # the patches have read it
        y = self.norm(x)
        embedding = self.embed(y)
        scaled = embedding[..., :-1] * detail.shape[-1] ** -0.5
        first, cells = self.pixels.steps[0], self.pixels.steps[-1]
        pixels = space_to_depth(detail, cells)
        fine = products(scaled, pixels, image_index) + embedding[..., -1:]
        coarse = depth_to_space(self.coarse(y), first)[..., 0].astype(jnp.float32)
        coarse = jnp.repeat(jnp.repeat(coarse, cells // first, 1), cells // first, 2)
        return depth_to_space(fine, cells)[..., 0] + coarse


def products(
    embedding: Float[Array, "e n c"],
    pixels: Float[Array, "b n m c"],
    image_index: Int[Array, "e"] | None,
) -> Float[Array, "e n m"]:
    """Each patch's embedding times the features of its cells, summed in float32.

    Where all expressions of a picture stand together, as they do where there is but
    one, its features are read where they lie; otherwise each expression has a copy.
    """
    e, n, c = embedding.shape
    b, _, m, _ = pixels.shape
    if image_index is None or b == 1:
        of_image = embedding.reshape(b, e // b, n, c)
        logits = jnp.einsum(
            "bknc,bnmc->bknm", of_image, pixels, preferred_element_type=jnp.float32
        )
        return constrain_batch(logits.reshape(e, n, m))
    return jnp.einsum(
        "enc,enmc->enm",
        embedding,
        pixels[image_index],
        preferred_element_type=jnp.float32,
    )


class UpsampleHead(nnx.Module):
    """The patches of an expression, widened to the mask grid [figure: trapezoids].

    Dense and depth-to-space, the stem added, one 3x3 mix, one projection: sizes and
    stem are ours.
    """

    def __init__(
        self,
        config: ModelConfig,
        stem_channels: int,
        *,
        dtype: DTypeLike = jnp.float32,
        keys: Keys,
    ):
        """`stem_channels=0` without a stem."""
        kw: dict[str, Any] = {"dtype": dtype, "keys": keys}
        width, c = config.width, config.mask_channels
        self.ratio = patch_cells(config)
        self.norm = LayerNorm(width, **kw)
        self.expand = Dense(width, self.ratio**2 * c, **kw)
        self.stem = Dense(stem_channels, c, **kw) if stem_channels else None
        gated = config.gate and not config.figure_only
        self.gate = Dense(width, c, zero_init=True, **kw) if gated else None
        self.mix = Conv3x3(c, c, **kw)
        self.project = Dense(c, 1, **kw)

    def detail(
        self,
        patches: Float[Array, "b n d"],
        hidden: Sequence[Float[Array, "b n t"]],
        stem: StemFeatures | None,
    ) -> Float[Array, "b g g c"] | None:
        """The stem in the head's channels, once per image."""
        del hidden
        if self.stem is None or stem is None:
            return None
        grid = round(patches.shape[1] ** 0.5) * self.ratio
        return self.stem(constrain_batch(resize(stem.quarter, grid)))

    def __call__(
        self,
        x: Float[Array, "e n d"],
        eos: Float[Array, "e d"],
        detail: Float[Array, "b g g c"] | None,
        image_index: Int[Array, "e"] | None,
    ) -> Float[Array, "e g g"]:
        """Logits on the mask grid; the sentence scales the channels before the mix."""
        cells = depth_to_space(self.expand(self.norm(x)), self.ratio)
        if detail is not None:
            cells = cells + each(detail, x, image_index)
        if self.gate is not None:
            cells = cells * (1 + self.gate(eos))[:, None, None]
        cells = quick_gelu(self.mix(quick_gelu(cells)))
        return self.project(cells)[..., 0].astype(jnp.float32)


class NoTargetHead(nnx.Module):
    """The logit that an expression denotes nothing: its best patch, read with its EOS.

    Ours: the paper has no such output.
    """

    def __init__(
        self,
        width: int,
        *,
        dtype: DTypeLike = jnp.float32,
        keys: Keys,
    ):
        kw: dict[str, Any] = {"dtype": dtype, "keys": keys}
        self.norm = LayerNorm(width, **kw)
        self.hidden = Dense(2 * width, width, **kw)
        self.out = Dense(width, 1, zero_init=True, **kw)

    def __call__(
        self,
        x: Float[Array, "e n d"],
        eos: Float[Array, "e d"],
    ) -> Float[Array, "e"]:
        # A smooth maximum: the hard one's gradient is 0/0 where a recomputed value
        # differs from the maximum in its last bit.
        best = jax.nn.logsumexp(self.norm(x).astype(jnp.float32), axis=1)
        pair = jnp.concatenate([best.astype(eos.dtype), eos], axis=-1)
        return self.out(quick_gelu(self.hidden(pair)))[:, 0].astype(jnp.float32)
