"""The operations of `plain` in forms that train and answer fast; same signatures.

Dense and layer normalisation carry their gradient written out. It is the textbook one;
what matters is the order of operations, which decides what XLA on CPU fuses. Left to
automatic differentiation, the gradient of the residual stream is never stored but
summed anew, over all later blocks, wherever it is used, and each weight gradient copies
its input transposed: six ViT-B/16 blocks at 965 tokens ran forward and backward at 0.55
of the matmul peak so, at 0.70 with these two. All ours. Which platform uses what stands
in `forms`.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Bool, Float

# The name of what attention kernels give, for policies of what to keep: without it the
# backward pass runs the forward kernel again.
KEPT = "attention"
# The same of a dense layer's product, which policies do not see in a function with a
# gradient of its own.
PRODUCT = "product"


def dense(
    x: Float[Array, "*b i"], kernel: Float[Array, "i o"], bias: Float[Array, "o"] | None
) -> Float[Array, "*b o"]:
    """`plain.dense`."""
    return checkpoint_name(_dense(x, kernel, bias), PRODUCT)


@jax.custom_vjp
def _dense(x: Array, kernel: Array, bias: Array | None) -> Array:
    y = x @ kernel
    return y if bias is None else y + bias


def _dense_forward(x: Array, kernel: Array, bias: Array | None) -> tuple[Array, Any]:
    return _dense(x, kernel, bias), (x, kernel, bias)


def _dense_backward(
    saved: tuple[Array, Array, Array | None], dy: Array
) -> tuple[Array, Array, Array | None]:
    x, kernel, bias = saved
    rows = dy.reshape(-1, dy.shape[-1])  # [r, o]
    dx = (rows @ kernel.T).reshape(x.shape)
    dkernel = x.reshape(-1, x.shape[-1]).T @ rows  # [i, o]
    return dx, dkernel, None if bias is None else _sum_rows(rows)


def _sum_rows(x: Float[Array, "r o"]) -> Float[Array, "o"]:
    """A matmul, so that it reads the rows the other two matmuls read."""
    return (jnp.ones((1, len(x)), x.dtype) @ x)[0]


_dense.defvjp(_dense_forward, _dense_backward)


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def layer_norm(
    x: Float[Array, "*b d"],
    scale: Float[Array, "d"],
    bias: Float[Array, "d"],
    eps: float,
) -> Float[Array, "*b d"]:
    """`plain.layer_norm`."""
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


def attend(
    q: Float[Array, "b h q c"],
    k: Float[Array, "b h k c"],
    v: Float[Array, "b h k c"],
    mask: Bool[Array, "#b #q #k"] | None = None,
    group_bias: Float[Array, "h"] | None = None,
    groups: int = 0,
) -> Float[Array, "b h q c"]:
    """`plain.attend`, divided after the product with the values.

    So the division passes over [b, h, q, c], not over [b, h, q, k].
    """
    logits = attention_logits(q, k, mask, group_bias, groups)
    top = jax.lax.stop_gradient(logits.max(axis=-1, keepdims=True))
    weights = jnp.exp(logits - top)  # [b, h, q, k]
    total = weights.sum(axis=-1, keepdims=True)
    mixed = (weights.astype(v.dtype) @ v / total).astype(v.dtype)  # [b, h, q, c]
    return checkpoint_name(mixed, KEPT)


def attention_logits(
    q: Float[Array, "b h q c"],
    k: Float[Array, "b h k c"],
    mask: Bool[Array, "#b #q #k"] | None = None,
    group_bias: Float[Array, "h"] | None = None,
    groups: int = 0,
) -> Float[Array, "b h q k"]:
    """`plain.attention_logits` of queries and keys that carry the bias."""
    q, k = with_bias(q, k, group_bias, groups)
    logits = jnp.matmul(q, k.swapaxes(2, 3), preferred_element_type=jnp.float32)
    if mask is not None:
        logits = jnp.where(mask[:, None], logits, jnp.finfo(jnp.float32).min)
    return logits


def with_bias(
    q: Float[Array, "b h q c"],
    k: Float[Array, "b h k c"],
    group_bias: Float[Array, "h"] | None = None,
    groups: int = 0,
) -> tuple[Float[Array, "b h q c1"], Float[Array, "b h k c1"]]:
    """Queries and keys whose products are `plain`'s logits: scaled, and the bias in.

    It is one more channel of both. A sum on the logits would pass over all [b, h, q, k]
    of them; this costs nothing.
    """
    q = q * q.shape[-1] ** -0.5
    if group_bias is not None:
        is_patch = jnp.arange(q.shape[2]) < q.shape[2] - groups  # [q]
        is_group = jnp.arange(k.shape[2]) >= k.shape[2] - groups  # [k]
        # 0 * -inf is not a number; exp(-1e30) is 0 as well.
        bias = jnp.maximum(group_bias, -1e30)[:, None] * is_group  # [h, k]
        q = with_channel(q, is_patch[:, None].astype(q.dtype))
        k = with_channel(k, bias[..., None])
    return q, k


def with_channel(
    x: Float[Array, "b h l c"], channel: Float[Array, "*#h #l 1"]
) -> Float[Array, "b h l c1"]:
    """One more channel, of values that broadcast to `x`."""
    channel = jnp.zeros_like(x[..., :1], channel.dtype) + channel
    return jnp.concatenate([x, channel.astype(x.dtype)], axis=3)


def quick_gelu(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """`plain.quick_gelu`, its sigmoid written as a tanh."""
    return 0.5 * x * (1 + jnp.tanh(0.851 * x))
