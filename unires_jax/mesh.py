"""Devices: the mesh, what is sharded how, and the feed.

The only file that names mesh axes: "data" replicates parameters, "fsdp" shards them
(both: HSDP, hybrid sharded data parallelism); the batch is split over both.
Source: ours (the layout common to large JAX code bases).
"""

import contextlib
import contextvars
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar

import jax
import numpy as np
from jax import Array
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding, PartitionSpec
from jax.typing import DTypeLike
from jaxtyping import Float, Int

from unires_jax import hosts
from unires_jax.config import MeshConfig
from unires_jax.errors import ConfigError

DATA, FSDP = "data", "fsdp"
BATCH = PartitionSpec((DATA, FSDP))
REPLICATED = PartitionSpec()

# Arrays below this many elements are cheaper to keep whole than to gather.
SHARD_ABOVE = 2**12

# Rows to a column above which a matrix is taken for a table, whose rows are looked up.
TALL = 16

# Devices to a copy of the parameters above which XLA makes an all-reduce of a gather:
# 1.7 times the traffic, compiled for v5e:16x16.
WIDEST = 16

Tree = TypeVar("Tree")


def make_mesh(config: MeshConfig, devices: list[Any] | None = None) -> Mesh:
    """The mesh over all devices (or those given).

    `mesh.fsdp` is what a large machine has: fewer devices share one copy among all.
    Warns above `WIDEST`. Raises ConfigError if it does not divide their number.
    """
    devices = jax.devices() if devices is None else devices
    count = len(devices)
    fsdp = count if config.fsdp < 0 else min(config.fsdp, count)
    if count % fsdp:
        raise ConfigError(f"mesh.fsdp={fsdp} must divide the {count} devices")
    if fsdp > WIDEST and hosts.is_main():
        warnings.warn(
            f"mesh.fsdp={config.fsdp} shards the parameters over {fsdp} devices, which "
            f"costs traffic; {WIDEST} is the most that pays: --config.mesh.fsdp="
            f"{WIDEST}",
            stacklevel=2,
        )
    shape = (count // fsdp, fsdp)
    auto = (AxisType.Auto, AxisType.Auto)
    return jax.make_mesh(shape, (DATA, FSDP), axis_types=auto, devices=devices)


def constrain_batch(x: Array) -> Array:
    """Keep the first axis of an activation split over the mesh like the batch.

    Left alone, the partitioner reshards activations between blocks. Identity without a
    mesh, or where the axis does not divide.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.size <= 1 or x.shape[0] % mesh.size:
        return x
    return jax.lax.with_sharding_constraint(x, BATCH)


def over_batch(
    function: Callable[..., Any], batched: Sequence[Array], whole: Sequence[Array] = ()
) -> Any:
    """`function(*batched, *whole)`, each device for its own rows of the batch.

    For kernels, into which the partitioner does not look: it would gather their
    arguments. The first axis of `batched` and of all results is the batch's. A plain
    call without a mesh, or where the axis does not divide.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.size <= 1 or len(batched[0]) % mesh.size:
        return function(*batched, *whole)
    split = jax.shard_map(
        function,
        in_specs=(BATCH,) * len(batched) + (REPLICATED,) * len(whole),
        out_specs=BATCH,
        check_vma=False,
    )
    return split(*batched, *whole)


def shard_one_axis(shape: tuple[int, ...], mesh: Mesh | AbstractMesh) -> PartitionSpec:
    """FSDP: split the first axis that divides, of a table the last; see SHARD_ABOVE.

    The gradient of rows is scattered; of columns the TPU compiler sums the whole on
    every device, twice the traffic. A table's is never whole: see `look_up`.
    """
    size = mesh.shape[FSDP]
    axes = [i for i, n in enumerate(shape) if n % size == 0]
    if size == 1 or np.prod(shape) < SHARD_ABOVE or not axes:
        return REPLICATED
    is_table = len(shape) == 2 and shape[0] > TALL * shape[1]
    split = axes[-1 if is_table else 0]
    return PartitionSpec(*(FSDP if i == split else None for i in range(len(shape))))


def gather(params: Tree) -> Tree:
    """Whole parameters of sharded ones, for use inside a jitted step.

    Said outright, gradients go back to the shards and activations keep the batch's
    split; left to itself, the partitioner follows the parameters and reshards
    activations. Identity without a mesh.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.size <= 1:
        return params
    return jax.tree.map(lambda x: _gathered(x, shard_one_axis(x.shape, mesh)), params)


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def _gathered(x: Array, spec: PartitionSpec) -> Array:
    return jax.lax.with_sharding_constraint(x, REPLICATED)


def _gathered_forward(x: Array, spec: PartitionSpec) -> tuple[Array, None]:
    return _gathered(x, spec), None


def _gathered_backward(spec: PartitionSpec, _: None, grad: Array) -> tuple[Array]:
    return (jax.lax.with_sharding_constraint(grad, spec),)


_gathered.defvjp(_gathered_forward, _gathered_backward)


_in_blocks = contextvars.ContextVar("gathers in blocks", default=False)


@contextlib.contextmanager
def gathering_in_blocks(on: bool) -> Iterator[None]:
    """Whether the model traced inside gathers a block's parameters where it runs."""
    token = _in_blocks.set(on)
    try:
        yield
    finally:
        _in_blocks.reset(token)


def gathers_in_blocks() -> bool:
    """What `gathering_in_blocks` said; without it False."""
    return _in_blocks.get()


def look_up(
    table: Float[Array, "v d"], ids: Int[Array, "e l"], dtype: DTypeLike
) -> Float[Array, "e l d"]:
    """Rows of a table, as `dtype`; not gathered first if it is split by columns.

    Each device then has a part of every row, and sends it to those of its copy that ask
    for the row; the gradient goes the same way back. So a row travels to one device,
    where a gathered table would go to all of them. Summed in float32.
    """
    mesh = jax.sharding.get_abstract_mesh()
    by_columns = PartitionSpec(None, FSDP)
    if mesh.size <= 1 or ids.shape[0] % mesh.size:
        return gather(table)[ids].astype(dtype)
    if shard_one_axis(table.shape, mesh) != by_columns:
        return gather(table)[ids].astype(dtype)

    def rows(shard: Array, ids: Array) -> Array:
        parts = shard[jax.lax.all_gather(ids, FSDP, tiled=True)].astype(dtype)
        return jax.lax.all_to_all(parts, FSDP, split_axis=0, concat_axis=2, tiled=True)

    in_specs = (by_columns, BATCH)
    return jax.shard_map(rows, in_specs=in_specs, out_specs=BATCH)(table, ids)


def shard_like_parameters(tree: Tree, mesh: Mesh) -> Tree:
    """A NamedSharding for each array (or ShapeDtypeStruct) of a tree."""
    return jax.tree.map(
        lambda x: NamedSharding(mesh, shard_one_axis(x.shape, mesh)), tree
    )


def replicated(mesh: Mesh) -> NamedSharding:
    """Every device holds the whole."""
    return NamedSharding(mesh, REPLICATED)


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """The first axis split over all devices."""
    return NamedSharding(mesh, BATCH)


def feed(batch: Tree, mesh: Mesh) -> Tree:
    """This process's rows of a batch, as global arrays split over the devices."""
    sharding = batch_sharding(mesh)
    return jax.tree.map(
        lambda x: jax.make_array_from_process_local_data(sharding, x), batch
    )
