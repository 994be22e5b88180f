"""Dense, normalisation, attention and feed-forward layers of every part of UniRES.

Parameters are float32; `dtype` is the type of the computation. Normalisation statistics
and softmax are float32 always.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Bool, Float

_kernel_init = nnx.initializers.xavier_uniform()


def gelu(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Exact GELU, through the error function (LAION's CLIP)."""
    return jax.nn.gelu(x, approximate=False)


def quick_gelu(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """x * sigmoid(1.702 x) (OpenAI's CLIP), its sigmoid written as a tanh."""
    return 0.5 * x * (1 + jnp.tanh(0.851 * x))


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "gelu": gelu,
    "quick_gelu": quick_gelu,
}


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
        y = x.astype(self.dtype) @ self.kernel[...].astype(self.dtype)
        return y if self.bias is None else y + self.bias[...].astype(self.dtype)


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
        mean = x.mean(-1, keepdims=True)
        variance = jnp.square(x - mean).mean(-1, keepdims=True)
        x = (x - mean) * jax.lax.rsqrt(variance + self.eps)
        return (x * self.scale[...] + self.bias[...]).astype(self.dtype)


def attend(
    q: Float[Array, "b q h c"],
    k: Float[Array, "b k h c"],
    v: Float[Array, "b k h c"],
    mask: Bool[Array, "#b #q #k"] | None = None,
    group_bias: Float[Array, "h"] | None = None,
    groups: int = 0,
) -> Float[Array, "b q h c"]:
    """softmax(q k / sqrt(c)) v for each head, its softmax in float32.

    Keys where `mask` is False weigh nothing; a query without any key gets the plain
    mean of the values. `group_bias` is added to the logits between every query but the
    last `groups` and the last `groups` keys (self-attention, group tokens at the end).
    """
    logits = jnp.einsum("bqhc,bkhc->bhqk", q, k, preferred_element_type=jnp.float32)
    logits = logits * q.shape[-1] ** -0.5
    if group_bias is not None:
        logits = _add_group_bias(logits, group_bias[:, None, None], groups)
    if mask is not None:
        logits = jnp.where(mask[:, None], logits, jnp.finfo(jnp.float32).min)
    weights = jax.nn.softmax(logits).astype(v.dtype)
    return jnp.einsum("bhqk,bkhc->bqhc", weights, v)


def _add_group_bias(
    logits: Float[Array, "*b q k"], bias: Float[Array, "*#b 1 1"], groups: int
) -> Float[Array, "*b q k"]:
    *_, q, k = logits.shape
    patch_query = jnp.arange(q)[:, None] < q - groups
    group_key = jnp.arange(k) >= k - groups
    return jnp.where(patch_query & group_key, logits + bias, logits)


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
        return self.out(mixed.reshape(queries.shape))

    def _split(self, x: Float[Array, "b l d"]) -> Float[Array, "b l h c"]:
        return x.reshape(*x.shape[:2], self.heads, -1)


class FeedForward(nnx.Module):
    """Dense, activation, Dense."""

    def __init__(
        self,
        width: int,
        hidden: int,
        *,
        activation: str = "gelu",
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
