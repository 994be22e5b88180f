"""This operating-system process: its memory, and its end. Standard library only."""

import ctypes
import multiprocessing
import os
import threading

# Parameters of mallopt(3), from glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8


def start() -> None:
    """What every program of ours does first, before jax starts its threads."""
    keep_freed_memory()
    # Readers are ended with batches in flight. Their tracker frees these, and need not
    # tell the user about it.
    os.environ.setdefault("PYTHONWARNINGS", "ignore:resource_tracker:UserWarning")


def keep_freed_memory() -> bool:
    """Make the C allocator reuse large blocks instead of returning them to the system.

    XLA on CPU allocates its buffers anew for every call. By default glibc maps and
    unmaps each large one, and the kernel zeroes every page again: three blocks of B/16,
    forward and backward at 965 tokens, took 1.47 s so and 1.06 s with this. One arena,
    because only the main one can grow to any size. The process keeps its peak memory
    until it ends.

    Call it before jax starts its threads. Returns whether it took effect (glibc only).
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    settings = ((_ARENA_MAX, 1), (_MMAP_MAX, 0), (_TRIM_THRESHOLD, -1))
    return all(mallopt(parameter, value) for parameter, value in settings)


def end_with_parent(code: int) -> None:
    """Make a worker of `multiprocessing` exit with its parent, however that ends.

    Else it outlives a parent that is killed, and waits for work for ever.
    """
    parent = multiprocessing.parent_process()

    def follow() -> None:
        if parent:
            parent.join()
            os._exit(code)

    threading.Thread(target=follow, daemon=True).start()
