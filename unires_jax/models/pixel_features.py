"""Fine features of a picture, once whatever is asked of it: the stem and the pixels.

All ours: a backbone's last layer has one feature per patch, too coarse for small parts.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float, UInt8

from unires_jax.config import ModelConfig, patch_cells
from unires_jax.mesh import constrain_batch
from unires_jax.models.efficientnet import (
    IMAGE_MEAN,
    IMAGE_STD,
    EfficientNetLite,
    map_channels,
)
from unires_jax.models.keys import Keys
from unires_jax.models.layers import Conv3x3, Dense, LayerNorm, quick_gelu


class StemFeatures(NamedTuple):
    """What the stem makes of a picture of s x s pixels, a side halved rounding up."""

    half: Float[Array, "b h h c"]
    quarter: Float[Array, "b q q c"]
    deep: Float[Array, "b d d k"] | None = None  # of stride 16, by a network

    def on(self, grid: int) -> Float[Array, "b g g c"]:
        """On a grid of so many cells a side: of the coarser map that is as fine."""
        is_finer = grid > self.quarter.shape[1]
        return resize(self.half if is_finer else self.quarter, grid)


class Stem(nnx.Module):
    """Image detail at strides 2 and 4."""

    def __init__(self, channels: int, *, dtype: DTypeLike = jnp.float32, keys: Keys):
        self.conv1 = Conv3x3(3, channels, stride=2, dtype=dtype, keys=keys)
        self.conv2 = Conv3x3(channels, channels, stride=2, dtype=dtype, keys=keys)
        self.conv3 = Conv3x3(channels, channels, dtype=dtype, keys=keys)

    def __call__(self, images: Float[Array, "b s s 3"]) -> StemFeatures:
        """Features of normalised images."""
        half = quick_gelu(self.conv1(images))
        quarter = self.conv3(quick_gelu(self.conv2(half)))
        return StemFeatures(constrain_batch(half), constrain_batch(quarter))


class NetworkStem(nnx.Module):
    """The maps of a network of `config.STEMS`, in the channels of `Stem`.

    Those of strides 4 and 8 are added, those of 16 and 32 stand side by side for the
    patches; all normed first, as a bottleneck's output has no scale of its own. Ours.
    """

    def __init__(
        self,
        name: str,
        channels: int,
        *,
        dtype: DTypeLike = jnp.float32,
        keys: Keys,
    ):
        """`name` is one of `efficientnet.SHAPES`."""
        kw: dict[str, Any] = {"dtype": dtype, "keys": keys}
        self.tower = EfficientNetLite(name, **kw)
        widths = map_channels(name)
        self.norms = nnx.List([LayerNorm(c, **kw) for c in widths])
        self.projects = nnx.List([Dense(c, channels, **kw) for c in widths[:3]])
        self.dtype = dtype

    def __call__(self, images: UInt8[Array, "b s s 3"]) -> StemFeatures:
        """Features of pictures as they are: a network has statistics of its own."""
        pixels = normalised(images, IMAGE_MEAN, IMAGE_STD).astype(self.dtype)
        maps = zip(self.norms, self.tower(pixels), strict=True)
        *fine, sixteenth, last = (norm(constrain_batch(x)) for norm, x in maps)
        projects = zip(self.projects, fine, strict=True)
        half, quarter, eighth = (project(x) for project, x in projects)
        quarter = quarter + resize(eighth, quarter.shape[1])
        deep = jnp.concatenate([sixteenth, resize(last, sixteenth.shape[1])], -1)
        return StemFeatures(half, quarter, deep)


def normalised(
    images: UInt8[Array, "b s s 3"],
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
) -> Float[Array, "b s s 3"]:
    """Pictures less a mean, in standard deviations, float32; both of RGB in [0, 1]."""
    return (images.astype(jnp.float32) / 255 - jnp.array(mean)) / jnp.array(std)


def resize(x: Float[Array, "b h h c"], grid: int) -> Float[Array, "b g g c"]:
    """Linear interpolation, antialiased, as a matmul along each side.

    `jax.image.resize`'s "linear" (tested), which asks for a known number of images.
    """
    side = x.shape[1]
    if side == grid:
        return x
    centre = (np.arange(grid)[:, None] + 0.5) * side / grid - 0.5
    away = abs(np.arange(side) - centre) / max(1, side / grid)  # antialiased
    share = np.maximum(1 - away, 0)
    rows = jnp.asarray(share / share.sum(1, keepdims=True), x.dtype)
    return jnp.einsum("gh,bhwc,fw->bgfc", rows, x, rows)


def depth_to_space(x: Float[Array, "e n f"], ratio: int) -> Float[Array, "e g g c"]:
    """Each patch's features become ratio x ratio cells of the grid (row-major)."""
    e, n, f = x.shape
    side = round(n**0.5)
    x = x.reshape(e, side, side, ratio, ratio, f // ratio**2)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(e, side * ratio, side * ratio, -1)


def space_to_depth(x: Float[Array, "e g g c"], ratio: int) -> Float[Array, "e n m c"]:
    """The ratio x ratio cells of each patch, one after the other (row-major)."""
    e, g, _, c = x.shape
    side = g // ratio
    x = x.reshape(e, side, ratio, side, ratio, c)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(e, side**2, ratio**2, c)


class PixelFeatures(nnx.Module):
    """Features of every cell of the mask grid, of patches of several depths and stem.

    Dense and depth-to-space (a transposed convolution by another name; XLA on CPU runs
    the real one in a naive loop), the stem added, a 3x3 mix. A grid of stride 2 is
    reached over one of stride 4, where a patch has an even number of cells.
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
        width, tower, c = config.width, config.vision.width, config.mask_channels

        def of_stem() -> Dense | None:
            return Dense(stem_channels, c, **kw) if stem_channels else None

        self.steps = pixel_steps(config)
        fine, layers = len(self.steps) == 2, config.pixel_layers
        self.norms = nnx.List([LayerNorm(tower, **kw) for _ in layers])
        self.projects = nnx.List(
            [Dense(tower, width, zero_init=True, **kw) for _ in layers]
        )
        self.expand = Dense(width, self.steps[0] ** 2 * c, **kw)
        self.stem = of_stem()
        self.mix = Conv3x3(c, c, **kw)
        self.split = Dense(c, 4 * c, **kw) if fine else None
        self.fine_stem = of_stem() if fine else None
        self.fine_mix = Conv3x3(c, c, **kw)
        self.norm = LayerNorm(c, **kw)

    def __call__(
        self,
        patches: Float[Array, "b n d"],
        hidden: Sequence[Float[Array, "b n t"]],
        stem: StemFeatures | None,
    ) -> Float[Array, "b g g c"]:
        """The features of a batch of pictures."""
        for norm, project, x in zip(self.norms, self.projects, hidden, strict=True):
            patches = patches + project(norm(x))
        x = depth_to_space(self.expand(patches), self.steps[0])
        x = quick_gelu(self.mix(quick_gelu(_add(x, self.stem, stem))))
        if self.split is not None:
            b, g, _, _ = x.shape
            x = depth_to_space(self.split(x).reshape(b, g * g, -1), 2)
            x = quick_gelu(_add(x, self.fine_stem, stem))
        return constrain_batch(self.norm(self.fine_mix(x)))


def pixel_steps(config: ModelConfig) -> tuple[int, ...]:
    """Cells along a patch's side of the grids `PixelFeatures` passes, one or two."""
    cells = patch_cells(config)
    two = config.mask_stride == 2 and cells % 2 == 0
    return (cells // 2, cells) if two else (cells,)


def stem_cells(patch: int) -> int:
    """Cells of stride 4 along the side of a patch of so many pixels, rounded."""
    return max(1, round(patch / 4))


def _add(
    x: Float[Array, "b g g c"], project: Dense | None, stem: StemFeatures | None
) -> Float[Array, "b g g c"]:
    """A map with the stem's features on its grid, if there is a stem."""
    if project is None or stem is None:
        return x
    return x + project(stem.on(x.shape[1]))
