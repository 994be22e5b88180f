"""Devices: the mesh, what is sharded how, and the feed.

The only file that names mesh axes: "data" replicates parameters, "fsdp" shards them;
the batch is split over both.
Source: ours (the layout common to large JAX code bases).
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import jax
import numpy as np
from jax import Array
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding, PartitionSpec

from unires_jax.config import MeshConfig
from unires_jax.errors import ConfigError

DATA, FSDP = "data", "fsdp"
BATCH = PartitionSpec((DATA, FSDP))
REPLICATED = PartitionSpec()

# Arrays below this many elements are cheaper to keep whole than to gather.
SHARD_ABOVE = 2**12

Tree = TypeVar("Tree")


def make_mesh(config: MeshConfig, devices: list[Any] | None = None) -> Mesh:
    """The mesh over all devices (or those given).

    Raises ConfigError if `mesh.fsdp` does not divide their number.
    """
    devices = jax.devices() if devices is None else devices
    fsdp = len(devices) if config.fsdp < 0 else config.fsdp
    if len(devices) % fsdp:
        raise ConfigError(f"mesh.fsdp={fsdp} must divide the {len(devices)} devices")
    shape = (len(devices) // fsdp, fsdp)
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


def shard_largest_axis(
    shape: tuple[int, ...], mesh: Mesh | AbstractMesh
) -> PartitionSpec:
    """FSDP: split the largest axis that divides; small arrays stay whole."""
    size = mesh.shape[FSDP]
    axes = [i for i, n in enumerate(shape) if n % size == 0]
    if size == 1 or np.prod(shape) < SHARD_ABOVE or not axes:
        return REPLICATED
    largest = max(axes, key=lambda i: shape[i])
    return PartitionSpec(*(FSDP if i == largest else None for i in range(len(shape))))


def gather(params: Tree) -> Tree:
    """Whole parameters of sharded ones, for use inside a jitted step.

    Said outright, gradients go back to the shards and activations keep the batch's
    split; left to itself, the partitioner follows the parameters and reshards
    activations. Identity without a mesh.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.size <= 1:
        return params
    return jax.tree.map(
        lambda x: _gathered(x, shard_largest_axis(x.shape, mesh)), params
    )


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def _gathered(x: Array, spec: PartitionSpec) -> Array:
    return jax.lax.with_sharding_constraint(x, REPLICATED)


def _gathered_forward(x: Array, spec: PartitionSpec) -> tuple[Array, None]:
    return _gathered(x, spec), None


def _gathered_backward(spec: PartitionSpec, _: None, grad: Array) -> tuple[Array]:
    return (jax.lax.with_sharding_constraint(grad, spec),)


_gathered.defvjp(_gathered_forward, _gathered_backward)


def shard_like_parameters(tree: Tree, mesh: Mesh) -> Tree:
    """A NamedSharding for each array (or ShapeDtypeStruct) of a tree."""
    return jax.tree.map(
        lambda x: NamedSharding(mesh, shard_largest_axis(x.shape, mesh)), tree
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
