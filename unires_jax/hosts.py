"""Processes: joining the cluster of a run, this one's share, what they tell each other.

The only file that knows how many there are. With one, nothing is sent anywhere.
"""

import contextlib
from typing import TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

Tree = TypeVar("Tree")


def join_cluster() -> None:
    """Join the cluster the environment describes, if any. First statement of main."""
    # No cluster found is how a single host looks (jax raises ValueError for it).
    with contextlib.suppress(ValueError):
        jax.distributed.initialize()


def shard() -> tuple[int, int]:
    """(index, count): items index, index + count, ... are this process's share."""
    return jax.process_index(), jax.process_count()


def is_main() -> bool:
    """Whether this process prints, and writes the files of the run."""
    return jax.process_index() == 0


def is_alone() -> bool:
    """Whether the run has no other process."""
    return jax.process_count() == 1


def gather_bytes(message: bytes) -> list[bytes]:
    """Every process's message, in their order. All must call it alike."""
    if is_alone():
        return [message]
    lengths = multihost_utils.process_allgather(np.array(len(message), np.int32))
    padded = np.zeros(int(lengths.max()), np.uint8)
    padded[: len(message)] = np.frombuffer(message, np.uint8)
    rows = multihost_utils.process_allgather(padded)
    return [row[:n].tobytes() for row, n in zip(rows, lengths.tolist(), strict=True)]


def gather_arrays(tree: Tree) -> Tree:
    """Whole numpy arrays of global ones. All processes must call it alike.

    With one process the arrays themselves, which are whole.
    """
    if is_alone():
        return tree
    gathered: Tree = multihost_utils.process_allgather(tree, tiled=True)
    return gathered
