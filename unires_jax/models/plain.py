"""The operations of a transformer as a textbook writes them.

Exporters trace these, and the fast forms are tested against them. Source: Vaswani et
al. 2017 (attention), Ba et al. 2016 (layer normalisation), Hendrycks and Gimpel 2016
(both GELUs); the bias on group tokens is ours.
"""

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float


def dense(
    x: Float[Array, "*b i"], kernel: Float[Array, "i o"], bias: Float[Array, "o"] | None
) -> Float[Array, "*b o"]:
    """x @ kernel + bias."""
    y = jnp.matmul(x, kernel)
    return y if bias is None else y + bias


def layer_norm(
    x: Float[Array, "*b d"],
    scale: Float[Array, "d"],
    bias: Float[Array, "d"],
    eps: float,
) -> Float[Array, "*b d"]:
    """(x - mean) / sqrt(variance + eps) * scale + bias over the last axis."""
    centred = x - jnp.mean(x, axis=-1, keepdims=True)
    variance = jnp.mean(centred**2, axis=-1, keepdims=True)
    return centred / jnp.sqrt(variance + eps) * scale + bias


def attend(
    q: Float[Array, "b h q c"],
    k: Float[Array, "b h k c"],
    v: Float[Array, "b h k c"],
    mask: Bool[Array, "#b #q #k"] | None = None,
    group_bias: Float[Array, "h"] | None = None,
    groups: int = 0,
) -> Float[Array, "b h q c"]:
    """softmax(q k / sqrt(c)) v for each head; the options as in `attention_logits`."""
    weights = attention_weights(q, k, mask, group_bias, groups)  # [b, h, q, k]
    return jnp.matmul(weights.astype(v.dtype), v)  # [b, h, q, c]


def attention_weights(
    q: Float[Array, "b h q c"],
    k: Float[Array, "b h k c"],
    mask: Bool[Array, "#b #q #k"] | None = None,
    group_bias: Float[Array, "h"] | None = None,
    groups: int = 0,
) -> Float[Array, "b h q k"]:
    """The share of each key in a query's mean of the values, float32."""
    logits = attention_logits(q, k, mask, group_bias, groups)
    return jax.nn.softmax(logits, axis=-1)


def attention_logits(
    q: Float[Array, "b h q c"],
    k: Float[Array, "b h k c"],
    mask: Bool[Array, "#b #q #k"] | None = None,
    group_bias: Float[Array, "h"] | None = None,
    groups: int = 0,
) -> Float[Array, "b h q k"]:
    """q k / sqrt(c), float32.

    Keys where `mask` is False weigh nothing; a query without any key gets the plain
    mean of the values. `group_bias` is added between every query but the last `groups`
    and the last `groups` keys (self-attention, group tokens at the end).
    """
    q = q * q.shape[-1] ** -0.5
    logits = jnp.matmul(q, k.swapaxes(2, 3), preferred_element_type=jnp.float32)
    if group_bias is not None:
        is_patch = jnp.arange(q.shape[2]) < q.shape[2] - groups  # [q]
        is_group = jnp.arange(k.shape[2]) >= k.shape[2] - groups  # [k]
        biased = logits + group_bias[:, None, None]
        logits = jnp.where(is_patch[:, None] & is_group, biased, logits)
    if mask is not None:
        logits = jnp.where(mask[:, None], logits, jnp.finfo(jnp.float32).min)
    return logits


def gelu(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Exact GELU, through the error function (LAION's CLIP)."""
    return jax.nn.gelu(x, approximate=False)


def gelu_tanh(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """GELU by its tanh approximation (SigLIP)."""
    return jax.nn.gelu(x, approximate=True)


def quick_gelu(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """x * sigmoid(1.702 x) (OpenAI's CLIP)."""
    return x * jax.nn.sigmoid(1.702 * x)
