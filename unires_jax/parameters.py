"""Parameters by name: one way to write it, "vision.blocks.0.ln1.scale"."""

import hashlib
import os
from collections.abc import Callable
from typing import Any

import jax
import ml_dtypes
import numpy as np

from unires_jax.errors import CheckpointError

LISTED = 20  # faults written out in one message
HASHED = 1024  # numbers of each array in a fingerprint (ours)


def name_of(path: tuple[Any, ...]) -> str:
    """The dotted name of a leaf from its path of keys, as jax gives it."""
    return jax.tree_util.keystr(path, simple=True, separator=".")


def flatten(tree: Any) -> dict[str, Any]:
    """The leaves of a tree by dotted name, in its order."""
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {name_of(path): leaf for path, leaf in leaves}


def unflatten(leaves: dict[str, Any], like: Any) -> Any:
    """The tree of the structure of `like` from leaves by dotted name."""
    structure = jax.tree.structure(like)
    return jax.tree.unflatten(structure, [leaves[name] for name in flatten(like)])


def nest(leaves: dict[str, Any]) -> dict[Any, Any]:
    """The tree of leaves by dotted name; a whole number is a place in a list."""
    tree: dict[Any, Any] = {}
    for name, leaf in leaves.items():
        *path, last = (int(key) if key.isdigit() else key for key in name.split("."))
        place = tree
        for key in path:
            place = place.setdefault(key, {})
        place[last] = leaf
    return tree


def map_named(function: Callable[[str, Any], Any], tree: Any) -> Any:
    """A tree of `function(name, leaf)`."""
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: function(name_of(path), leaf), tree
    )


def fingerprint(tree: Any) -> str:
    """16 hex digits of SHA-256 over the start of each array, rounded to bfloat16.

    So an export in either type has the fingerprint of the run it was made of.
    """
    digest = hashlib.sha256()
    for name, array in flatten(tree).items():
        start = np.asarray(array).ravel()[:HASHED].astype(ml_dtypes.bfloat16)
        digest.update(f"{name} {array.shape} ".encode() + start.tobytes())
    return digest.hexdigest()[:16]


def check_shapes(tree: Any, like: Any, where: str | os.PathLike[str]) -> None:
    """Compare two trees of anything with shapes, by name.

    Raises CheckpointError listing name, expected and found of each that differs.
    """
    shapes, expected = (
        {name: tuple(leaf.shape) for name, leaf in flatten(x).items()}
        for x in (tree, like)
    )
    faults = [
        f"{n}: expected {expected.get(n, 'nothing')}, found {shapes.get(n, 'nothing')}"
        for n in sorted(shapes.keys() | expected.keys())
        if shapes.get(n) != expected.get(n)
    ]
    # The optimizer's moments and the average repeat what is wrong with the parameters.
    faults = [f for f in faults if f.startswith("params.")] or faults
    if not faults:
        return
    unlisted = len(faults) - LISTED
    if unlisted > 0:
        faults = [*faults[:LISTED], f"and {unlisted} more"]
    raise CheckpointError(
        f"{where}: the checkpoint is of another architecture; compare its config.json "
        "with --config.model:\n  " + "\n  ".join(faults)
    )
