"""What a run would hold and where, said without running it: `train.py --dry_run`."""

import itertools
import math
import re
from collections.abc import Iterator
from typing import Any

from unires_jax.mesh import Mesh
from unires_jax.parameters import flatten
from unires_jax.training.recipe import Recipe, abstract_batch

GB = 1e9


def describe(recipe: Recipe) -> str:
    """Parameters with their sharding, bytes of a device, and the batch, as text.

    Blocks of a kind are one line. Sentences are those of the longest bucket.
    """
    lines = [*_mesh(recipe), "", *_parameters(recipe), "", *_state(recipe), ""]
    return "\n".join([*lines, *_batch(recipe)])


def device_bytes(tree: Any) -> int:
    """Bytes that one device holds of a tree of shapes with shardings."""
    return sum(_bytes(x) for x in flatten(tree).values())


def _bytes(x: Any) -> int:
    return math.prod(x.sharding.shard_shape(x.shape)) * x.dtype.itemsize


def shape_of(mesh: Mesh) -> str:
    """`data 16 x fsdp 16`."""
    return " x ".join(f"{axis} {size}" for axis, size in mesh.shape.items())


def _mesh(recipe: Recipe) -> list[str]:
    mesh, kind = recipe.mesh, recipe.mesh.devices.flat[0].device_kind
    return [f"{recipe.config.name} on {mesh.size} devices ({kind}): {shape_of(mesh)}"]


def _parameters(recipe: Recipe) -> Iterator[str]:
    """A line for all parameters whose names differ in their numbers only."""
    params = flatten(recipe.state.params)
    kinds: dict[tuple[str, str, str], list[Any]] = {}
    for name, x in params.items():
        spec = ", ".join(str(axis or "-") for axis in x.sharding.spec)
        key = (re.sub(r"\b\d+\b", "*", name), str(x.shape), spec or "whole")
        kinds.setdefault(key, []).append(x)
    head = [("parameter", "shape", "sharding", "arrays", "MB a device")]
    rows = head + [
        (*key, str(len(arrays)), f"{sum(map(_bytes, arrays)) / 1e6:.3f}")
        for key, arrays in kinds.items()
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        left = [t.ljust(w) for t, w in zip(row[:3], widths, strict=False)]
        right = [t.rjust(w) for t, w in zip(row[3:], widths[3:], strict=True)]
        yield "  ".join(itertools.chain(left, right))
    count = sum(math.prod(x.shape) for x in params.values())
    yield f"{count:,} parameters in {len(params)} arrays"


def _state(recipe: Recipe) -> Iterator[str]:
    state, total = recipe.state, device_bytes(recipe.state)
    yield f"state, GB a device: {total / GB:.3f}"
    parts = {"params": "parameters", "ema": "average", "opt_state": "optimizer"}
    for field, title in parts.items():
        yield f"  {title} {device_bytes(getattr(state, field)) / GB:.3f}"


def _batch(recipe: Recipe) -> Iterator[str]:
    config, mesh = recipe.config, recipe.mesh
    images, rounds = config.train.batch, config.train.accumulation
    yield (
        f"batch: {images} pictures in {rounds} rounds, "
        f"{images // rounds // mesh.size} a device and round"
    )
    batch = abstract_batch(config, mesh, config.data.lengths[-1])
    for field, x in batch._asdict().items():
        yield f"  {field} {x.dtype} {x.shape}: {x.sharding.shard_shape(x.shape)} each"
    yield f"  GB a device: {device_bytes(batch) / GB:.3f}"
