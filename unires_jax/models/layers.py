"""Dense, normalisation, attention and feed-forward layers of every part of UniRES.

Parameters are float32; `dtype` is the type of the computation. Normalisation statistics
and softmax are float32 always.

Dense and LayerNorm carry their gradient written out. It is the textbook one; what
matters is the order of operations, which decides what XLA on CPU fuses. Left to
automatic differentiation, the gradient of the residual stream is never stored but
summed anew, over all later blocks, wherever it is used, and each weight gradient copies
its input transposed: six ViT-B/16 blocks at 965 tokens ran forward and backward at 0.55
of the matmul peak so, at 0.70 with these two. Other platforms lose nothing.

`plain_form` traces the textbook form instead, which exporters recognise.
"""

import contextlib
import contextvars
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Bool, Float

_kernel_init = nnx.initializers.xavier_uniform()
_plain = contextvars.ContextVar("plain", default=False)


@contextlib.contextmanager
def plain_form() -> Iterator[None]:
    """What is traced inside is made of whole matmuls, means and softmaxes.

    The same function within rounding (tested), for inference: other runtimes have fast
    operations for these and none for their pieces.
    """
    token = _plain.set(True)
    try:
        yield
    finally:
        _plain.reset(token)


def gelu(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Exact GELU, through the error function (LAION's CLIP)."""
    return jax.nn.gelu(x, approximate=False)


def quick_gelu(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """x * sigmoid(1.702 x) (OpenAI's CLIP), its sigmoid written as a tanh."""
    if _plain.get():
        return x * jax.nn.sigmoid(1.702 * x)
    return 0.5 * x * (1 + jnp.tanh(0.851 * x))


def gelu_tanh(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """GELU by its tanh approximation (SigLIP)."""
    return jax.nn.gelu(x, approximate=True)


# By the names that transformers has for them.
ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "gelu": gelu,
    "gelu_pytorch_tanh": gelu_tanh,
    "quick_gelu": quick_gelu,
}


@jax.custom_vjp
def dense(
    x: Float[Array, "*b i"], kernel: Float[Array, "i o"], bias: Float[Array, "o"] | None
) -> Float[Array, "*b o"]:
    """x @ kernel + bias."""
    y = x @ kernel
    return y if bias is None else y + bias


def _dense_forward(x: Array, kernel: Array, bias: Array | None) -> tuple[Array, Any]:
    return dense(x, kernel, bias), (x, kernel, bias)


def _dense_backward(
    saved: tuple[Array, Array, Array | None], dy: Array
) -> tuple[Array, Array, Array | None]:
    x, kernel, bias = saved
    rows = dy.reshape(-1, dy.shape[-1])
    dx = (rows @ kernel.T).reshape(x.shape)
    dkernel = x.reshape(-1, x.shape[-1]).T @ rows
    return dx, dkernel, None if bias is None else _sum_rows(rows)


def _sum_rows(x: Float[Array, "r o"]) -> Float[Array, "o"]:
    """A matmul, so that it reads the rows the other two matmuls read."""
    return (jnp.ones((1, len(x)), x.dtype) @ x)[0]


dense.defvjp(_dense_forward, _dense_backward)


class Dense(nnx.Module):
    """x @ kernel + bias. The kernel starts Xavier uniform, or zero."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        use_bias: bool = True,
        zero_init: bool = False,
        dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        init = nnx.initializers.zeros if zero_init else _kernel_init
        self.kernel = nnx.Param(init(rngs.params(), (inputs, outputs), jnp.float32))
        self.bias = nnx.Param(jnp.zeros(outputs)) if use_bias else None
        self.dtype = dtype

    def __call__(self, x: Float[Array, "*b i"]) -> Float[Array, "*b o"]:
        bias = None if self.bias is None else self.bias[...].astype(self.dtype)
        x, kernel = x.astype(self.dtype), self.kernel[...].astype(self.dtype)
        if _plain.get():
            y = jnp.matmul(x, kernel)
            return y if bias is None else y + bias
        return dense(x, kernel, bias)


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def layer_norm(
    x: Float[Array, "*b d"],
    scale: Float[Array, "d"],
    bias: Float[Array, "d"],
    eps: float,
) -> Float[Array, "*b d"]:
    """(x - mean) / sqrt(variance + eps) * scale + bias over the last axis."""
    return _layer_norm_forward(x, scale, bias, eps)[0]


def _layer_norm_forward(
    x: Array, scale: Array, bias: Array, eps: float
) -> tuple[Array, Any]:
    mean = x.mean(-1, keepdims=True)
    variance = jnp.square(x - mean).mean(-1, keepdims=True)
    rate = jax.lax.rsqrt(variance + eps)
    return (x - mean) * rate * scale + bias, (x, mean, rate, scale)


def _layer_norm_backward(
    eps: float, saved: tuple[Array, Array, Array, Array], dy: Array
) -> tuple[Array, Array, Array]:
    x, mean, rate, scale = saved
    unit = (x - mean) * rate
    dunit = dy * scale
    along = (dunit * unit).mean(-1, keepdims=True)
    dx = rate * (dunit - dunit.mean(-1, keepdims=True) - along * unit)
    width = x.shape[-1]
    dscale = _sum_rows((dy * unit).reshape(-1, width))
    return dx, dscale, _sum_rows(dy.reshape(-1, width))


layer_norm.defvjp(_layer_norm_forward, _layer_norm_backward)


def plain_layer_norm(
    x: Float[Array, "*b d"],
    scale: Float[Array, "d"],
    bias: Float[Array, "d"],
    eps: float,
) -> Float[Array, "*b d"]:
    """`layer_norm` in the operations that onnxruntime fuses into one."""
    centred = x - jnp.mean(x, axis=-1, keepdims=True)
    variance = jnp.mean(jax.lax.integer_pow(centred, 2), axis=-1, keepdims=True)
    return centred / jnp.sqrt(variance + eps) * scale + bias


class LayerNorm(nnx.Module):
    """Layer normalisation over the last axis, computed in float32."""

    def __init__(
        self,
        width: int,
        *,
        eps: float = 1e-5,
        dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        del rngs  # nothing is drawn; taken so that all layers are built alike
        self.scale = nnx.Param(jnp.ones(width))
        self.bias = nnx.Param(jnp.zeros(width))
        self.eps, self.dtype = eps, dtype

    def __call__(self, x: Float[Array, "*b d"]) -> Float[Array, "*b d"]:
        x = x.astype(jnp.float32)
        form = plain_layer_norm if _plain.get() else layer_norm
        return form(x, self.scale[...], self.bias[...], self.eps).astype(self.dtype)


def attend(
    q: Float[Array, "b h q c"],
    k: Float[Array, "b h k c"],
    v: Float[Array, "b h k c"],
    mask: Bool[Array, "#b #q #k"] | None = None,
    group_bias: Float[Array, "h"] | None = None,
    groups: int = 0,
) -> Float[Array, "b h q c"]:
    """softmax(q k / sqrt(c)) v for each head, its softmax in float32.

    Keys where `mask` is False weigh nothing; a query without any key gets the plain
    mean of the values. `group_bias` is added to the logits between every query but the
    last `groups` and the last `groups` keys (self-attention, group tokens at the end).
    """
    q = q * q.shape[-1] ** -0.5
    if group_bias is not None:
        q, k = _with_group_bias(q, k, group_bias, groups)
    logits = jnp.matmul(q, k.swapaxes(2, 3), preferred_element_type=jnp.float32)
    if mask is not None:
        logits = jnp.where(mask[:, None], logits, jnp.finfo(jnp.float32).min)
    if _plain.get():
        return jnp.matmul(jax.nn.softmax(logits, axis=-1).astype(v.dtype), v)
    # Divided after the product with the values: [b, h, q, c], not [b, h, q, k].
    top = jax.lax.stop_gradient(logits.max(axis=-1, keepdims=True))
    weights = jnp.exp(logits - top)
    total = weights.sum(axis=-1, keepdims=True)
    return (weights.astype(v.dtype) @ v / total).astype(v.dtype)


def _with_group_bias(
    q: Float[Array, "b h q c"],
    k: Float[Array, "b h k c"],
    bias: Float[Array, "h"],
    groups: int,
) -> tuple[Float[Array, "b h q c1"], Float[Array, "b h k c1"]]:
    """Queries and keys with one more channel, whose product is the bias.

    A sum on the logits would pass over all [b, h, q, k] of them; this costs nothing.
    """
    is_patch = jnp.arange(q.shape[2]) < q.shape[2] - groups
    is_group = jnp.arange(k.shape[2]) >= k.shape[2] - groups
    # 0 * -inf is not a number; exp(-1e30) is 0 as well.
    bias = jnp.maximum(bias, -1e30)[:, None] * is_group
    extra_q = jnp.where(_true(q), is_patch[:, None].astype(q.dtype), 0)
    extra_k = jnp.where(_true(k), bias[..., None], 0)
    return (
        jnp.concatenate([q, extra_q.astype(q.dtype)], axis=3),
        jnp.concatenate([k, extra_k.astype(k.dtype)], axis=3),
    )


def _true(x: Float[Array, "b h l c"]) -> Bool[Array, "b h l 1"]:
    """True in the shape of x; exporters lose the free axes of `broadcast_to`."""
    first = x[..., :1]
    return first == first


class Attention(nnx.Module):
    """Multi-head attention of queries over keys, with CLIP's four projections."""

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        key_width: int | None = None,
        zero_init_out: bool = False,
        dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        """`key_width` is the width of the keys where it differs from the queries'."""
        key_width = key_width or width
        self.query = Dense(width, width, dtype=dtype, rngs=rngs)
        self.key = Dense(key_width, width, dtype=dtype, rngs=rngs)
        self.value = Dense(key_width, width, dtype=dtype, rngs=rngs)
        self.out = Dense(width, width, zero_init=zero_init_out, dtype=dtype, rngs=rngs)
        self.heads = heads

    def __call__(
        self,
        queries: Float[Array, "b q d"],
        keys: Float[Array, "b k dk"],
        *,
        mask: Bool[Array, "#b #q #k"] | None = None,
        group_bias: Float[Array, "h"] | None = None,
        groups: int = 0,
    ) -> Float[Array, "b q d"]:
        """Values come from `keys`; `mask`, `group_bias` and `groups` as in `attend`."""
        q = self._split(self.query(queries))
        k = self._split(self.key(keys))
        v = self._split(self.value(keys))
        mixed = attend(q, k, v, mask, group_bias, groups)
        return self.out(mixed.swapaxes(1, 2).reshape(queries.shape))

    def _split(self, x: Float[Array, "b l d"]) -> Float[Array, "b h l c"]:
        return x.reshape(*x.shape[:2], self.heads, -1).swapaxes(1, 2)


class FeedForward(nnx.Module):
    """Dense, activation, Dense."""

    def __init__(
        self,
        width: int,
        hidden: int,
        *,
        activation: str = "quick_gelu",
        zero_init_out: bool = False,
        dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        """`activation` names one of ACTIVATIONS."""
        self.up = Dense(width, hidden, dtype=dtype, rngs=rngs)
        self.down = Dense(
            hidden, width, zero_init=zero_init_out, dtype=dtype, rngs=rngs
        )
        self.activation = ACTIVATIONS[activation]

    def __call__(self, x: Float[Array, "*b d"]) -> Float[Array, "*b d"]:
        return self.down(self.activation(self.up(x)))
