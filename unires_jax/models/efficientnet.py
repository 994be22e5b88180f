"""EfficientNet-Lite (Tan and Le 2019, arXiv 1905.11946; Google 2020), as a stem.

Without squeeze and excitation, ReLU6 throughout. Its batch norms are folded into the
convolutions (`efficientnet_weights`): their statistics stay those of ImageNet, which
few pictures could not estimate (ours), and the convolutions are trained on.
"""

import dataclasses

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float

from unires_jax.models.forms import forms
from unires_jax.models.keys import Keys
from unires_jax.models.layers import Conv3x3, Dense

# What the published weights expect of pictures: ImageNet's statistics, RGB in [0, 1].
IMAGE_MEAN, IMAGE_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclasses.dataclass(frozen=True)
class BlockShape:
    """One inverted bottleneck."""

    kernel: int
    stride: int
    inputs: int
    expansion: int  # of the inputs; 1: nothing widens them
    outputs: int

    @property
    def hidden(self) -> int:
        """Channels of the depthwise convolution."""
        return self.inputs * self.expansion


def _blocks(widths: tuple[int, ...], repeats: tuple[int, ...]) -> list[BlockShape]:
    kernels, strides = (3, 3, 5, 3, 5, 5, 3), (1, 2, 2, 2, 1, 2, 1)
    blocks, inputs = [], STEM
    for stage, (outputs, count) in enumerate(zip(widths, repeats, strict=True)):
        for i in range(count):
            stride, expansion = strides[stage] if i == 0 else 1, 6 if stage else 1
            shape = BlockShape(kernels[stage], stride, inputs, expansion, outputs)
            blocks.append(shape)
            inputs = outputs
    return blocks


STEM = 32  # channels of the first convolution
_WIDTHS = (16, 24, 40, 80, 112, 192, 320)
SHAPES: dict[str, list[BlockShape]] = {
    "efficientnet_lite0": _blocks(_WIDTHS, (1, 2, 2, 3, 3, 4, 1)),
    "efficientnet_lite1": _blocks(_WIDTHS, (1, 3, 3, 4, 4, 5, 1)),
    "efficientnet_lite2": _blocks(
        (16, 24, 48, 88, 120, 208, 352), (1, 3, 3, 4, 4, 5, 1)
    ),
}


def map_channels(name: str) -> tuple[int, ...]:
    """Channels of the maps of strides 2, 4, 8, 16 and 32."""
    blocks = SHAPES[name]
    return tuple(blocks[i].outputs for i in _last_of_stride(blocks))


def _last_of_stride(blocks: list[BlockShape]) -> list[int]:
    """The last block of each stride."""
    starts = [i for i, block in enumerate(blocks) if block.stride == 2]
    return [i - 1 for i in starts] + [len(blocks) - 1]


class Depthwise(nnx.Module):
    """A depthwise convolution with its bias."""

    def __init__(self, shape: BlockShape, *, dtype: DTypeLike, keys: Keys):
        k, c = shape.kernel, shape.hidden
        draw = jax.random.normal(keys(), (k, k, c))
        self.kernel = nnx.Param(draw * (2 / k**2) ** 0.5)
        self.bias = nnx.Param(jnp.zeros(c))
        self.stride, self.dtype = shape.stride, dtype

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 c"]:
        kernel, bias = (p[...].astype(self.dtype) for p in (self.kernel, self.bias))
        return forms().depthwise(x.astype(self.dtype), kernel, self.stride) + bias


class Bottleneck(nnx.Module):
    """Widened, convolved by channel, narrowed; the input added where it fits."""

    def __init__(self, shape: BlockShape, *, dtype: DTypeLike, keys: Keys):
        hidden = shape.hidden
        widens = shape.expansion > 1
        self.expand = (
            Dense(shape.inputs, hidden, dtype=dtype, keys=keys) if widens else None
        )
        self.depthwise = Depthwise(shape, dtype=dtype, keys=keys)
        self.project = Dense(hidden, shape.outputs, dtype=dtype, keys=keys)
        self.adds = shape.stride == 1 and shape.inputs == shape.outputs

    def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b h2 w2 o"]:
        y = x if self.expand is None else jax.nn.relu6(self.expand(x))
        y = self.project(jax.nn.relu6(self.depthwise(y)))
        return x + y if self.adds else y


class EfficientNetLite(nnx.Module):
    """The network up to its last bottleneck; what classifies is left out."""

    def __init__(self, name: str, *, dtype: DTypeLike = jnp.float32, keys: Keys):
        """`name` is a row of SHAPES."""
        self.first = Conv3x3(3, STEM, stride=2, padding="SAME", dtype=dtype, keys=keys)
        self.blocks = nnx.List(
            [Bottleneck(shape, dtype=dtype, keys=keys) for shape in SHAPES[name]]
        )
        self.last_of_stride = tuple(_last_of_stride(SHAPES[name]))

    def __call__(
        self, images: Float[Array, "b s s 3"]
    ) -> tuple[Float[Array, "b h h c"], ...]:
        """Maps of strides 2, 4, 8, 16 and 32 of images normalised by ImageNet's."""
        x, maps = jax.nn.relu6(self.first(images)), []
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i in self.last_of_stride:
                maps.append(x)
        return tuple(maps)
