"""Processes: joining the cluster of a run, this one's share, what they tell each other.

The only file that knows how many there are. With one, nothing is sent anywhere.
"""

import contextlib
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

Tree = TypeVar("Tree")

PIECE = 1 << 20  # bytes of a message that are sent at a time; ours


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
    """Every process's message, in their order. All must call it alike.

    Any length, also none; sent in pieces, so that devices never hold more than one
    `PIECE` of each process.
    """
    if is_alone():
        return [message]
    # As two words each: jax keeps no int64.
    words = np.array([len(message)], np.int64).view(np.int32)
    lengths = multihost_utils.process_allgather(words).view(np.int64)[:, 0].tolist()
    messages = [bytearray() for _ in lengths]
    for start in range(0, max(lengths), PIECE):
        # Of few sizes: each is compiled.
        size = 1 << (max(lengths) - start - 1).bit_length()
        piece = np.zeros(min(PIECE, size), np.uint8)
        part = np.frombuffer(message[start : start + PIECE], np.uint8)
        piece[: len(part)] = part
        rows = multihost_utils.process_allgather(piece)
        for whole, row, length in zip(messages, rows, lengths, strict=True):
            whole += row[: max(length - start, 0)].tobytes()
    return [bytes(whole) for whole in messages]


def gather_arrays(tree: Tree) -> Tree:
    """Whole numpy arrays of those that lie on devices of several processes.

    Arrays that this process holds whole stay as they are. All processes must call it
    alike.
    """

    def gather(x: Any) -> Any:
        if getattr(x, "is_fully_addressable", True):
            return x
        return multihost_utils.process_allgather(x, tiled=True)

    gathered: Tree = jax.tree.map(gather, tree)
    return gathered
