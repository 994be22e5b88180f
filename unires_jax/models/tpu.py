"""Attention on TPU as one kernel, which never writes the logits to memory.

An image tower's keys of one head fit into the chip's vector memory whole, so softmax
needs no running maximum, and the backward pass computes it anew from queries and keys:
nothing is kept for it but the arguments. Queries, keys and values are read where the
projections left them, [b, l, d]: heads lie side by side in the 128 lanes of a vector,
and a product over all lanes is that of one head once the other heads' lanes are zero in
one factor. Two of those lanes carry, for nothing, the bias on group tokens and what
hides the rows beyond the last key.
Source: Dao et al. 2022 (FlashAttention: recompute, do not store); the rest is ours.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.ad_checkpoint import checkpoint_name
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu
from jaxtyping import Bool, Float

from unires_jax.mesh import over_batch
from unires_jax.models import fast

LANES = 128
ROWS = 128  # queries at a time
SHORTEST, LONGEST = 256, 2048  # lengths the kernel takes (ours: memory, and its worth)
VECTOR_MEMORY = 32 * 2**20  # bytes that the kernel may use; a v5e has 128 MiB
HIDDEN = -1e30  # a logit that weighs nothing


class Layout(NamedTuple):
    """How the heads lie in the lanes, and which rows are what."""

    heads: int
    width: int  # channels of a head
    length: int  # tokens
    groups: int  # of these, group tokens, the last

    @property
    def lanes(self) -> int:
        """Of a head: its channels, rounded up to a power of two."""
        return 1 << (self.width - 1).bit_length()

    @property
    def together(self) -> int:
        """Heads that share the lanes of a vector."""
        return LANES // self.lanes

    @property
    def rows(self) -> int:
        """Tokens, rounded up to whole blocks."""
        return pl.cdiv(self.length, ROWS) * ROWS

    @property
    def fits(self) -> bool:
        """Whether the kernel takes it: two lanes are free, heads fill whole vectors."""
        return (
            SHORTEST <= self.length <= LONGEST
            and 16 <= self.width <= LANES - 2
            and self.heads % self.together == 0
        )

    def own(self, head: int) -> Bool[Array, "1 lanes"]:
        """The lanes of a head, `head` counted within its vector."""
        lane = _lane() - head * self.lanes
        return (lane >= 0) & (lane < self.width)

    def free(self, head: int) -> tuple[int, int]:
        """Two lanes that are not a head's own."""
        first = (head * self.lanes + self.width) % LANES
        return first, (first + 1) % LANES


def attend(
    q: Float[Array, "b h q c"],
    k: Float[Array, "b h k c"],
    v: Float[Array, "b h k c"],
    mask: Bool[Array, "#b #q #k"] | None = None,
    group_bias: Float[Array, "h"] | None = None,
    groups: int = 0,
) -> Float[Array, "b h q c"]:
    """`plain.attend`; what is masked, short or oddly shaped goes to `fast.attend`.

    The bias is rounded to the type of the keys.
    """
    layout = Layout(q.shape[1], q.shape[3], k.shape[2], groups)
    if mask is not None or q.shape != k.shape or not layout.fits:
        return fast.attend(q, k, v, mask, group_bias, groups)
    if group_bias is None:
        group_bias = jnp.zeros(layout.heads)
    bias = jnp.maximum(group_bias, HIDDEN).astype(jnp.float32)
    flat = (_flat(x, layout) for x in (q, k, v))
    mixed = checkpoint_name(_attend(*flat, bias, layout), fast.KEPT)
    return _heads_first(mixed, layout)


def _flat(x: Float[Array, "b h l c"], layout: Layout) -> Float[Array, "b l d"]:
    """Heads side by side. Undoes what `Attention` did, so that nothing moves."""
    if layout.lanes != layout.width:
        x = jnp.pad(x, ((0, 0),) * 3 + ((0, layout.lanes - layout.width),))
    return x.swapaxes(1, 2).reshape(x.shape[0], layout.length, -1)


def _heads_first(x: Float[Array, "b l d"], layout: Layout) -> Float[Array, "b h l c"]:
    x = x.reshape(*x.shape[:2], layout.heads, layout.lanes)
    return x[..., : layout.width].swapaxes(1, 2)


@partial(jax.custom_vjp, nondiff_argnums=(4,))
def _attend(
    q: Float[Array, "b l d"],
    k: Float[Array, "b l d"],
    v: Float[Array, "b l d"],
    bias: Float[Array, "h"],
    layout: Layout,
) -> Float[Array, "b l d"]:
    return over_batch(partial(_forward, layout), (q, k, v), (bias,))


def _attend_forward(
    q: Array, k: Array, v: Array, bias: Array, layout: Layout
) -> tuple[Array, Any]:
    return _attend(q, k, v, bias, layout), (q, k, v, bias)


def _attend_backward(
    layout: Layout, saved: tuple[Array, Array, Array, Array], do: Array
) -> tuple[Array, Array, Array, Array]:
    q, k, v, bias = saved
    backward = partial(_backward, layout)
    dq, dk, dv, sums = over_batch(backward, (q, k, v, do), (bias,))
    # [b, vectors, together, lanes] -> [h]: of each head the lane that held its bias.
    each = [sums[:, :, i, layout.free(i)[0]] for i in range(layout.together)]
    return dq, dk, dv, jnp.stack(each, axis=-1).sum(0).reshape(layout.heads)


_attend.defvjp(_attend_forward, _attend_backward)


def _forward(
    layout: Layout, q: Array, k: Array, v: Array, bias: Array
) -> Float[Array, "b l d"]:
    """The kernel over pictures and vectors of heads."""
    return _call(
        layout,
        _forward_kernel,
        [q, k, v],
        bias,
        out_shape=_like(q),
        out_specs=_block(layout),
        scratch_shapes=[_scratch(layout, q.dtype)] * 2,
        cost_estimate=_cost(layout, q, arrays=4, products=2),
    )


def _backward(
    layout: Layout, q: Array, k: Array, v: Array, do: Array, bias: Array
) -> tuple[Array, Array, Array, Array]:
    """Gradients of q, k and v, and sums over group rows that hold the bias's."""
    vectors = layout.heads // layout.together
    sums = jax.ShapeDtypeStruct((q.shape[0], vectors, 8, LANES), jnp.float32)
    sums_block = pl.BlockSpec((1, 1, 8, LANES), lambda b, vector: (b, vector, 0, 0))
    dq, dk, dv, sums = _call(
        layout,
        _backward_kernel,
        [q, k, v, do],
        bias,
        out_shape=[*[_like(q)] * 3, sums],
        out_specs=[*[_block(layout)] * 3, sums_block],
        scratch_shapes=[
            *[_scratch(layout, q.dtype)] * 2,
            *[_scratch(layout, jnp.float32)] * 2,
        ],
        cost_estimate=_cost(layout, q, arrays=7, products=5),
    )
    return dq, dk, dv, sums


def _call(
    layout: Layout, kernel: Any, arrays: list[Array], bias: Array, **outputs: Any
) -> Any:
    """Run a kernel for every picture and vector of heads."""
    return pl.pallas_call(
        partial(kernel, layout),
        grid=(len(arrays[0]), layout.heads // layout.together),
        in_specs=[
            pl.BlockSpec(memory_space=pltpu.SMEM),
            *[_block(layout)] * len(arrays),
        ],
        compiler_params=pltpu.CompilerParams(
            dimension_semantics=("parallel", "parallel"),
            vmem_limit_bytes=VECTOR_MEMORY,
        ),
        **outputs,
    )(bias, *arrays)


def _cost(
    layout: Layout, q: Float[Array, "b l d"], *, arrays: int, products: int
) -> pl.CostEstimate:
    """For the compiler's accounts: so many arrays like q, and products of [l, l]."""
    logits = len(q) * layout.heads * layout.length**2
    return pl.CostEstimate(
        flops=2 * products * logits * layout.width,
        transcendentals=logits,
        bytes_accessed=arrays * q.size * q.dtype.itemsize,
    )


def _like(x: Array) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(x.shape, x.dtype)


def _block(layout: Layout) -> pl.BlockSpec:
    """One vector of all rows of a picture. Those beyond the last hold anything."""
    return pl.BlockSpec((1, layout.rows, LANES), lambda b, vector: (b, 0, vector))


def _scratch(layout: Layout, dtype: Any) -> Any:
    return pltpu.VMEM((layout.rows, LANES), dtype)


# Within the kernels: references to blocks [1, rows, LANES], scratch [rows, LANES].


def _forward_kernel(
    layout: Layout, bias: Any, q: Any, k: Any, v: Any, out: Any, keys: Any, values: Any
) -> None:
    values[...] = jnp.where(_row(layout.rows) < layout.length, v[0], 0)
    for head in range(layout.together):
        _forward_head(layout, head, bias, q, k, out, keys, values)


def _forward_head(
    layout: Layout,
    head: int,
    bias: Any,
    q: Any,
    k: Any,
    out: Any,
    keys: Any,
    values: Any,
) -> None:
    keys[...] = _keys(layout, head, k[0], bias)

    @pl.loop(0, layout.rows // ROWS)
    def _(i: Array) -> None:
        queries = _queries(layout, head, q, i)
        share, total = _shares(queries, keys[...])
        mixed = _dot(share.astype(values.dtype), values[...]) / total
        _put(out, _at(i), layout, head, mixed)


def _backward_kernel(
    layout: Layout,
    bias: Any,
    q: Any,
    k: Any,
    v: Any,
    do: Any,
    dq: Any,
    dk: Any,
    dv: Any,
    sums: Any,
    keys: Any,
    values: Any,
    dkeys: Any,
    dvalues: Any,
) -> None:
    values[...] = jnp.where(_row(layout.rows) < layout.length, v[0], 0)
    dvalues[...] = jnp.zeros_like(dvalues)
    sums[...] = jnp.zeros_like(sums)
    is_group = _row(layout.rows) >= layout.length - layout.groups
    for head in range(layout.together):
        keys[...] = _keys(layout, head, k[0], bias)
        dkeys[...] = jnp.zeros_like(dkeys)
        _backward_head(layout, head, q, do, dq, keys, values, dkeys, dvalues)
        _put(dk, slice(None), layout, head, dkeys[...])
        of_groups = jnp.where(is_group, dkeys[...], 0)
        sums[0, 0, head : head + 1] = of_groups.sum(axis=0, keepdims=True)
    dv[0] = dvalues[...].astype(dv.dtype)


def _backward_head(
    layout: Layout,
    head: int,
    q: Any,
    do: Any,
    dq: Any,
    keys: Any,
    values: Any,
    dkeys: Any,
    dvalues: Any,
) -> None:
    """Adds to `dkeys` and `dvalues`."""

    @pl.loop(0, layout.rows // ROWS)
    def _(i: Array) -> None:
        queries = _queries(layout, head, q, i)
        share, total = _shares(queries, keys[...])
        share = share / total  # [ROWS, l]
        real = layout.own(head) & (_row(ROWS) + i * ROWS < layout.length)
        dmixed = jnp.where(real, do[0, _at(i)], 0)
        dshare = _dot_transposed(dmixed, values[...])
        mean = (share * dshare).sum(axis=1, keepdims=True)
        dlogits = (share * (dshare - mean)).astype(keys.dtype)
        dqueries = layout.width**-0.5 * _dot(dlogits, keys[...])
        _put(dq, _at(i), layout, head, dqueries)
        dkeys[...] += _dot(dlogits.T, queries)
        dvalues[...] += _dot(share.astype(dmixed.dtype).T, dmixed)


def _keys(
    layout: Layout, head: int, k: Float[Array, "l lanes"], bias: Any
) -> Float[Array, "l lanes"]:
    """A head's keys; free lanes hold the bias of groups, and hide what is no key."""
    row, (for_bias, for_end) = _row(layout.rows), layout.free(head)
    of_head = bias[pl.program_id(1) * layout.together + head]
    is_real = row < layout.length
    is_group = is_real & (row >= layout.length - layout.groups)
    keys = jnp.where(is_real & layout.own(head), k.astype(jnp.float32), 0)
    keys = jnp.where((_lane() == for_bias) & is_group, of_head, keys)
    keys = jnp.where((_lane() == for_end) & ~is_real, HIDDEN, keys)
    return keys.astype(k.dtype)


def _queries(layout: Layout, head: int, q: Any, i: Array) -> Float[Array, "r lanes"]:
    """Block i of a head's scaled queries; their free lanes take what the keys' hold."""
    row, (for_bias, for_end) = _row(ROWS) + i * ROWS, layout.free(head)
    is_patch = row < layout.length - layout.groups
    scaled = q[0, _at(i)].astype(jnp.float32) * layout.width**-0.5
    queries = jnp.where((row < layout.length) & layout.own(head), scaled, 0)
    queries = jnp.where((_lane() == for_bias) & is_patch, 1, queries)
    return jnp.where(_lane() == for_end, 1, queries).astype(q.dtype)


def _shares(
    queries: Float[Array, "r lanes"], keys: Float[Array, "l lanes"]
) -> tuple[Float[Array, "r l"], Float[Array, "r 1"]]:
    """What each query takes of each key, float32, and the sum to divide it by."""
    logits = _dot_transposed(queries, keys)
    share = jnp.exp(logits - logits.max(axis=1, keepdims=True))
    return share, share.sum(axis=1, keepdims=True)


def _put(out: Any, at: Any, layout: Layout, head: int, x: Array) -> None:
    """Write a head's own lanes; the first clears the others."""
    others = out[0, at] if head else jnp.zeros((), out.dtype)
    out[0, at] = jnp.where(layout.own(head), x.astype(out.dtype), others)


def _at(i: Array) -> Any:
    """The rows of block i."""
    return pl.ds(pl.multiple_of(i * ROWS, ROWS), ROWS)


def _row(count: int) -> Array:
    return jax.lax.broadcasted_iota(jnp.int32, (count, LANES), 0)


def _lane() -> Array:
    return jax.lax.broadcasted_iota(jnp.int32, (1, LANES), 1)


def _dot(a: Float[Array, "m k"], b: Float[Array, "k n"]) -> Float[Array, "m n"]:
    return jnp.dot(a, b, preferred_element_type=jnp.float32)


def _dot_transposed(
    a: Float[Array, "m k"], b: Float[Array, "n k"]
) -> Float[Array, "m n"]:
    dimensions = (((1,), (1,)), ((), ()))
    return jax.lax.dot_general(a, b, dimensions, preferred_element_type=jnp.float32)
