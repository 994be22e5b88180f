"""A depthwise convolution as a sum of shifted products, for CPUs; its plain form.

XLA on CPU runs a grouped convolution in a naive loop, and the gradient of one worse: at
[4, 64, 64, 144], 5x5, stride 2, forward and backward took 335 ms on a core, so 13 ms.
"""

from functools import partial, reduce

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float

NHWC = ("NHWC", "HWIO", "NHWC")


def plain(
    x: Float[Array, "b h w c"], kernel: Float[Array, "k k c"], stride: int
) -> Float[Array, "b h2 w2 c"]:
    """Each channel convolved with its own kernel, padded as TensorFlow's SAME."""
    return lax.conv_general_dilated(
        x,
        kernel[:, :, None],
        window_strides=(stride, stride),
        padding="SAME",
        dimension_numbers=NHWC,
        feature_group_count=x.shape[-1],
    )


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def fast(
    x: Float[Array, "b h w c"], kernel: Float[Array, "k k c"], stride: int
) -> Float[Array, "b h2 w2 c"]:
    """`plain` within rounding."""
    k, padded = len(kernel), _padded(x, len(kernel), stride)
    height, width = (-(-side // stride) for side in x.shape[1:3])
    products = [
        kernel[i, j] * _shifted(padded, i, j, height, width, stride)
        for i, j in np.ndindex(k, k)
    ]
    return reduce(jnp.add, products)


def _forward(x: Array, kernel: Array, stride: int) -> tuple[Array, tuple[Array, Array]]:
    return fast(x, kernel, stride), (x, kernel)


def _backward(
    stride: int, saved: tuple[Array, Array], dy: Array
) -> tuple[Array, Array]:
    x, kernel = saved
    return _input_gradient(x.shape, kernel, stride, dy), _kernel_gradient(
        _padded(x, len(kernel), stride), len(kernel), stride, dy
    )


fast.defvjp(_forward, _backward)


def _input_gradient(
    shape: tuple[int, ...], kernel: Array, stride: int, dy: Array
) -> Float[Array, "b h w c"]:
    """The output's gradient, spread out by the stride, under the kernel turned."""
    k, (height, width) = len(kernel), shape[1:3]

    def spread(side: int, outputs: int) -> tuple[int, int, int]:
        low = k - 1 - _padding(side, k, stride)[0]
        return low, side + k - 1 - low - ((outputs - 1) * stride + 1), stride - 1

    rows, columns = spread(height, dy.shape[1]), spread(width, dy.shape[2])
    zero = jnp.zeros((), dy.dtype)
    spaced = lax.pad(dy, zero, ((0, 0, 0), rows, columns, (0, 0, 0)))
    products = [
        kernel[k - 1 - i, k - 1 - j] * _shifted(spaced, i, j, height, width, 1)
        for i, j in np.ndindex(k, k)
    ]
    return reduce(jnp.add, products)


def _kernel_gradient(
    padded: Array, k: int, stride: int, dy: Array
) -> Float[Array, "k k c"]:
    """Summed row by row of the output: so the sums stay in the cache."""
    _, height, width, channels = dy.shape

    def add(total: Array, row: Array) -> tuple[Array, None]:
        gradient = lax.dynamic_slice_in_dim(dy, row, 1, 1)
        window = lax.dynamic_slice_in_dim(padded, row * stride, k, 1)
        products = [
            (gradient * _shifted(window, i, j, 1, width, stride))[:, 0].sum(0)
            for i, j in np.ndindex(k, k)
        ]
        return total + jnp.stack(products), None

    zeros = jnp.zeros((k * k, width, channels), dy.dtype)
    total, _ = lax.scan(add, zeros, jnp.arange(height))
    return total.sum(1).reshape(k, k, channels)


def _shifted(
    x: Array, top: int, left: int, height: int, width: int, stride: int
) -> Float[Array, "b h w c"]:
    """So many rows and columns from there on, every `stride`-th."""
    b, _, _, c = x.shape
    end = (b, top + (height - 1) * stride + 1, left + (width - 1) * stride + 1, c)
    return lax.slice(x, (0, top, left, 0), end, (1, stride, stride, 1))


def _padded(x: Array, k: int, stride: int) -> Float[Array, "b h w c"]:
    rows, columns = (_padding(side, k, stride) for side in x.shape[1:3])
    return jnp.pad(x, ((0, 0), rows, columns, (0, 0)))


def _padding(side: int, k: int, stride: int) -> tuple[int, int]:
    """SAME: before and after a side, the odd one after."""
    total = max((-(-side // stride) - 1) * stride + k - side, 0)
    return total // 2, total - total // 2
