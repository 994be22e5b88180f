"""Attention on NVIDIA GPUs by cuDNN, which never writes the logits to memory.

cuDNN wants 16-bit numbers and a number of channels that 8 divides, and to train, as jax
calls it, an even number of queries and of keys; ours are odd. So the bias on group
tokens stays in its channel, one row of zeros makes a number even, one more channel
hides that key, and channels of zeros fill up the rest.
"""

from typing import Literal

import jax
import jax.numpy as jnp
from jax import Array
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Bool, Float

from unires_jax.models import fast

SMALLEST = 2**15  # logits of a head from which the kernel is worth its start (ours)
MULTIPLE, WIDEST = 8, 120  # channels; two are added at most
HIDDEN = -1e30  # a logit that weighs nothing


def attend(
    q: Float[Array, "b h q c"],
    k: Float[Array, "b h k c"],
    v: Float[Array, "b h k c"],
    mask: Bool[Array, "#b #q #k"] | None = None,
    group_bias: Float[Array, "h"] | None = None,
    groups: int = 0,
) -> Float[Array, "b h q c"]:
    """`plain.attend`; what is masked, small, wide or float32 goes to `fast.attend`."""
    small = q.shape[2] * k.shape[2] < SMALLEST or q.shape[3] > WIDEST
    if mask is not None or small or q.dtype != jnp.bfloat16:
        return fast.attend(q, k, v, mask, group_bias, groups)
    return attend_by("cudnn", q, k, v, group_bias, groups)


def attend_by(
    implementation: Literal["cudnn", "xla"],
    q: Float[Array, "b h q c"],
    k: Float[Array, "b h k c"],
    v: Float[Array, "b h k c"],
    group_bias: Float[Array, "h"] | None = None,
    groups: int = 0,
) -> Float[Array, "b h q c"]:
    """`plain.attend` without a mask, by an implementation that jax has."""
    queries, width = q.shape[2:]
    q, k = fast.with_bias(q, k, group_bias, groups)
    if k.shape[2] % 2:
        is_added = jnp.arange(k.shape[2] + 1)[:, None] == k.shape[2]
        q = fast.with_channel(q, jnp.ones((1, 1)))
        k = fast.with_channel(_even_rows(k), jnp.where(is_added, HIDDEN, 0))
    channels = -(-q.shape[3] // MULTIPLE) * MULTIPLE
    mixed = jax.nn.dot_product_attention(
        *(_tokens_first(_even_rows(x), channels) for x in (q, k, v)),
        scale=1.0,
        implementation=implementation,
    )
    mixed = checkpoint_name(mixed[:, :queries, :, :width], fast.KEPT)
    return mixed.swapaxes(1, 2)


def _even_rows(x: Float[Array, "b h l c"]) -> Float[Array, "b h l2 c"]:
    return jnp.pad(x, ((0, 0), (0, 0), (0, x.shape[2] % 2), (0, 0)))


def _tokens_first(
    x: Float[Array, "b h l c"], channels: int
) -> Float[Array, "b l h channels"]:
    padding = ((0, 0), (0, 0), (0, 0), (0, channels - x.shape[3]))
    return jnp.pad(x, padding).swapaxes(1, 2)
