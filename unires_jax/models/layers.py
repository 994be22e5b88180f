"""The layers that every part of UniRES is built of, and their parameters.

Their mathematics is `plain`'s; `forms` says in which form it is traced. Parameters are
float32; `dtype` is the type of the computation. Normalisation statistics and softmax
are float32 always.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Bool, Float

from unires_jax.config import TextConfig, VisionConfig
from unires_jax.mesh import constrain_batch, gather, gathers_in_blocks
from unires_jax.models.fast import KEPT, PRODUCT
from unires_jax.models.forms import forms
from unires_jax.models.keys import Keys
from unires_jax.models.plain import attention_weights, gelu, gelu_tanh

_kernel_init = nnx.initializers.xavier_uniform()


def quick_gelu(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """x * sigmoid(1.702 x) (OpenAI's CLIP)."""
    return forms().quick_gelu(x)


# By the names that transformers has for them.
ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "gelu": gelu,
    "gelu_pytorch_tanh": gelu_tanh,
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
        keys: Keys,
    ):
        init = nnx.initializers.zeros if zero_init else _kernel_init
        self.kernel = nnx.Param(init(keys(), (inputs, outputs), jnp.float32))
        self.bias = nnx.Param(jnp.zeros(outputs)) if use_bias else None
        self.dtype = dtype

    def __call__(self, x: Float[Array, "*b i"]) -> Float[Array, "*b o"]:
        kernel = self.kernel[...].astype(self.dtype)
        bias = None if self.bias is None else self.bias[...].astype(self.dtype)
        return forms().dense(x.astype(self.dtype), kernel, bias)


class Conv3x3(nnx.Module):
    """A 3x3 convolution at stride 1 or 2, zero padded by one pixel a side."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        stride: int = 1,
        padding: Sequence[tuple[int, int]] | str = ((1, 1), (1, 1)),
        dtype: DTypeLike = jnp.float32,
        keys: Keys,
    ):
        """`padding` as jax's, where it is another: "SAME" is TensorFlow's."""
        init = nnx.initializers.he_normal()
        self.kernel = nnx.Param(init(keys(), (3, 3, inputs, outputs)))
        self.bias = nnx.Param(jnp.zeros(outputs))
        self.stride, self.padding, self.dtype = stride, padding, dtype

    def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b h2 w2 o"]:
        y = jax.lax.conv_general_dilated(
            x.astype(self.dtype),
            self.kernel[...].astype(self.dtype),
            window_strides=(self.stride, self.stride),
            padding=self.padding,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        return y + self.bias[...].astype(self.dtype)


class LayerNorm(nnx.Module):
    """Layer normalisation over the last axis, computed in float32."""

    def __init__(
        self,
        width: int,
        *,
        eps: float = 1e-5,
        dtype: DTypeLike = jnp.float32,
        keys: Keys,
    ):
        del keys  # nothing is drawn; taken so that all layers are built alike
        self.scale = nnx.Param(jnp.ones(width))
        self.bias = nnx.Param(jnp.zeros(width))
        self.eps, self.dtype = eps, dtype

    def __call__(self, x: Float[Array, "*b d"]) -> Float[Array, "*b d"]:
        x, scale, bias = x.astype(jnp.float32), self.scale[...], self.bias[...]
        return forms().layer_norm(x, scale, bias, self.eps).astype(self.dtype)


class Attention(nnx.Module):
    """Multi-head attention of queries over keys, with CLIP's four projections."""

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        zero_init_out: bool = False,
        dtype: DTypeLike = jnp.float32,
        keys: Keys,
    ):
        self.query = Dense(width, width, dtype=dtype, keys=keys)
        self.key = Dense(width, width, dtype=dtype, keys=keys)
        self.value = Dense(width, width, dtype=dtype, keys=keys)
        self.out = Dense(width, width, zero_init=zero_init_out, dtype=dtype, keys=keys)
        self.heads = heads

    def __call__(
        self,
        queries: Float[Array, "b q d"],
        keys: Float[Array, "b k d"],
        *,
        mask: Bool[Array, "#b #q #k"] | None = None,
        group_bias: Float[Array, "h"] | None = None,
        groups: int = 0,
        return_weights: bool = False,
    ) -> tuple[Float[Array, "b q d"], Float[Array, "b h q k"] | None]:
        """What the queries read, and on request how much of each key.

        Values come from `keys`; mask and bias as in `plain.attention_logits`.
        """
        q = self._split(self.query(queries))  # [b, h, q, c]
        k = self._split(self.key(keys))
        v = self._split(self.value(keys))
        mixed = forms().attend(q, k, v, mask, group_bias, groups)  # [b, h, q, c]
        weights = (
            attention_weights(q, k, mask, group_bias, groups)
            if return_weights
            else None
        )
        return self.out(mixed.swapaxes(1, 2).reshape(queries.shape)), weights

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
        keys: Keys,
    ):
        """`activation` names one of ACTIVATIONS."""
        self.up = Dense(width, hidden, dtype=dtype, keys=keys)
        self.down = Dense(
            hidden, width, zero_init=zero_init_out, dtype=dtype, keys=keys
        )
        self.activation = ACTIVATIONS[activation]

    def __call__(self, x: Float[Array, "*b d"]) -> Float[Array, "*b d"]:
        return self.down(self.activation(self.up(x)))


class Block(nnx.Module):
    """Attention and feed-forward, each after a norm and around a residual.

    The pre-norm transformer block of every backbone so far.
    """

    def __init__(
        self,
        config: VisionConfig | TextConfig,
        *,
        eps: float,
        dtype: DTypeLike = jnp.float32,
        keys: Keys,
    ):
        """`eps` is that of both norms."""
        width = config.width
        self.ln1 = LayerNorm(width, eps=eps, dtype=dtype, keys=keys)
        self.attention = Attention(width, config.heads, dtype=dtype, keys=keys)
        self.ln2 = LayerNorm(width, eps=eps, dtype=dtype, keys=keys)
        self.mlp = FeedForward(
            width, config.mlp, activation=config.activation, dtype=dtype, keys=keys
        )

    def __call__(
        self,
        x: Float[Array, "b l d"],
        *,
        mask: Array | None = None,
        group_bias: Float[Array, "h"] | None = None,
        groups: int = 0,
        return_weights: bool = False,
    ) -> tuple[Float[Array, "b l d"], Float[Array, "b h l l"] | None]:
        """The new stream, and on request the attention; options as in `Attention`."""
        y = self.ln1(x)
        mixed, weights = self.attention(
            y,
            y,
            mask=mask,
            group_bias=group_bias,
            groups=groups,
            return_weights=return_weights,
        )
        x = x + mixed
        return constrain_batch(x + self.mlp(self.ln2(x))), weights


# What the forward pass keeps of a block beside its input, by the names of
# `ModelConfig.remat`; the rest is computed again in the backward pass.
_policies = jax.checkpoint_policies
REMAT: dict[str, Callable[..., bool]] = {
    "full": _policies.nothing_saveable,
    "attention": _policies.save_only_these_names(KEPT),
    "dots": _policies.save_from_both_policies(
        _policies.dots_with_no_batch_dims_saveable,
        _policies.save_only_these_names(KEPT, PRODUCT),
    ),
}


def run_layer(
    layer: nnx.Module, x: Float[Array, "b l d"], remat: str, **options: Any
) -> tuple[Float[Array, "b l d"], Float[Array, "b h l k"] | None]:
    """`layer(x, **options)`; `remat` as in `ModelConfig`.

    Where `mesh.gathering_in_blocks` says so, its parameters are gathered here: one that
    is recomputed gathers them again, and keeps none in between.
    """

    def run(x: Array) -> tuple[Array, Array | None]:
        return _gathered(layer)(x, **options)

    if remat != "none":
        run = jax.checkpoint(run, policy=REMAT[remat])
    return run(x)


def _gathered(layer: nnx.Module) -> Any:
    if not gathers_in_blocks():
        return layer
    graph, state = nnx.split(layer)
    return nnx.merge(graph, gather(nnx.to_pure_dict(state)))
