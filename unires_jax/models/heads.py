"""The image stem, the mask head and the no-target head."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float

from unires_jax.mesh import constrain_batch
from unires_jax.models.layers import Dense, LayerNorm, quick_gelu


class Conv3x3(nnx.Module):
    """A 3x3 convolution, zero padded, at stride 1 or 2."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        stride: int = 1,
        dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        init = nnx.initializers.he_normal()
        self.kernel = nnx.Param(init(rngs.params(), (3, 3, inputs, outputs)))
        self.bias = nnx.Param(jnp.zeros(outputs))
        self.stride, self.dtype = stride, dtype

    def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b h2 w2 o"]:
        y = jax.lax.conv_general_dilated(
            x.astype(self.dtype),
            self.kernel[...].astype(self.dtype),
            window_strides=(self.stride, self.stride),
            padding=((1, 1), (1, 1)),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        return y + self.bias[...].astype(self.dtype)


class Stem(nnx.Module):
    """Fine image detail at stride 4, once per image (ours).

    CLIP's last layer has one feature per patch, too coarse for small parts.
    """

    def __init__(
        self, channels: int, *, dtype: DTypeLike = jnp.float32, rngs: nnx.Rngs
    ):
        self.conv1 = Conv3x3(3, channels, stride=2, dtype=dtype, rngs=rngs)
        self.conv2 = Conv3x3(channels, channels, stride=2, dtype=dtype, rngs=rngs)
        self.conv3 = Conv3x3(channels, channels, dtype=dtype, rngs=rngs)

    def __call__(
        self, images: Float[Array, "b s s 3"], grid: int
    ) -> Float[Array, "b g g c"]:
        """Features on a mask grid of `grid` cells a side."""
        x = quick_gelu(self.conv1(images))
        x = self.conv3(quick_gelu(self.conv2(x)))
        return constrain_batch(x if x.shape[1] == grid else resize(x, grid))


def resize(x: Float[Array, "b h h c"], grid: int) -> Float[Array, "b g g c"]:
    """Linear interpolation, antialiased, as a matmul along each side.

    `jax.image.resize`'s "linear" (tested), which asks for a known number of images.
    """
    side = x.shape[1]
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


class MaskHead(nnx.Module):
    """Patches of an expression to logits on the mask grid.

    Dense and depth-to-space (a transposed convolution by another name; XLA on CPU runs
    the real one in a naive loop), the stem added, one 3x3 mix, one projection. Ours:
    the figure draws widening trapezoids only.
    """

    def __init__(
        self,
        width: int,
        ratio: int,
        channels: int,
        stem_channels: int,
        gated: bool,
        *,
        dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        """`ratio` grid cells along a patch's side; `stem_channels=0` without a stem.

        `gated`: the sentence scales the channels before the mix.
        """
        kw: dict[str, Any] = {"dtype": dtype, "rngs": rngs}
        self.norm = LayerNorm(width, **kw)
        self.expand = Dense(width, ratio**2 * channels, **kw)
        self.stem = Dense(stem_channels, channels, **kw) if stem_channels else None
        self.gate = Dense(width, channels, zero_init=True, **kw) if gated else None
        self.mix = Conv3x3(channels, channels, **kw)
        self.project = Dense(channels, 1, **kw)
        self.ratio = ratio

    def detail(self, stem: Float[Array, "b g g s"] | None) -> Array | None:
        """The stem in the head's channels, once per image."""
        return None if self.stem is None or stem is None else self.stem(stem)

    def __call__(
        self,
        x: Float[Array, "e n d"],
        detail: Float[Array, "e g g c"] | None,
        eos: Float[Array, "e d"],
    ) -> Float[Array, "e g g"]:
        cells = depth_to_space(self.expand(self.norm(x)), self.ratio)
        if detail is not None:
            cells = cells + detail
        if self.gate is not None:
            cells = cells * (1 + self.gate(eos))[:, None, None]
        cells = quick_gelu(self.mix(quick_gelu(cells)))
        return self.project(cells)[..., 0].astype(jnp.float32)


class NoTargetHead(nnx.Module):
    """The logit that an expression denotes nothing: its best patch, read with its EOS.

    Ours: the paper has no such output.
    """

    def __init__(self, width: int, *, dtype: DTypeLike = jnp.float32, rngs: nnx.Rngs):
        self.norm = LayerNorm(width, dtype=dtype, rngs=rngs)
        self.hidden = Dense(2 * width, width, dtype=dtype, rngs=rngs)
        self.out = Dense(width, 1, zero_init=True, dtype=dtype, rngs=rngs)

    def __call__(
        self, x: Float[Array, "e n d"], eos: Float[Array, "e d"]
    ) -> Float[Array, "e"]:
        # A smooth maximum: the hard one's gradient is 0/0 where a recomputed value
        # differs from the maximum in its last bit.
        best = jax.nn.logsumexp(self.norm(x).astype(jnp.float32), axis=1)
        pair = jnp.concatenate([best.astype(eos.dtype), eos], axis=-1)
        hidden = quick_gelu(self.hidden(pair))
        return self.out(hidden)[:, 0].astype(jnp.float32)
