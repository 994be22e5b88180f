"""Memory of the process: make glibc keep what is freed. Standard library only."""

import ctypes

# Parameters of mallopt(3), from glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8


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
