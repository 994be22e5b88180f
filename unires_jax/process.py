"""This operating-system process: its memory, and its end. Standard library only."""

import contextlib
import ctypes
import importlib.util
import math
import multiprocessing
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path

START_SECONDS = 10.0  # after which processes not started yet are not waited for
# Parameters of mallopt(3), from glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8


def start() -> None:
    """What every program of ours does first, before jax starts its threads."""
    if not has_accelerator():
        keep_freed_memory()


def has_accelerator() -> bool:
    """Whether jax will find a GPU or TPU, as far as can be told before it starts."""
    if chosen := os.environ.get("JAX_PLATFORMS"):
        return not chosen.startswith("cpu")
    devices = ("accel*", "vfio/[0-9]*", "nvidia[0-9]*", "kfd")
    if not any(any(Path("/dev").glob(name)) for name in devices):
        return False
    return any(importlib.util.find_spec(name) for name in ("libtpu", "jax_plugins"))


def keep_freed_memory() -> bool:
    """Make the C allocator reuse large blocks instead of returning them to the system.

    XLA on CPU allocates its buffers anew for every call. By default glibc maps and
    unmaps each large one, and the kernel zeroes every page again: three blocks of B/16,
    forward and backward at 965 tokens, took 1.47 s so and 1.06 s with this. One arena,
    because only the main one can grow to any size. The process keeps its peak memory
    until it ends. Where the step runs elsewhere this would gain nothing, and leave a
    host's many threads one arena.

    Call it before jax starts its threads. Returns whether it took effect (glibc only).
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    settings = ((_ARENA_MAX, 1), (_MMAP_MAX, 0), (_TRIM_THRESHOLD, -1))
    return all(mallopt(parameter, value) for parameter, value in settings)


def usable_cores() -> int:
    """Cores this process may keep busy: those it is bound to, within its quota.

    A quota (cgroup v2) is how a container or a SLURM job is given fewer than the
    machine has.
    """
    cores: float = len(_bound_cores())
    with contextlib.suppress(OSError):
        group = Path("/proc/self/cgroup").read_text().rpartition("::")[2].strip()
        cores = min(cores, quota(Path("/sys/fs/cgroup") / group.lstrip("/")))
    return int(cores)


def quota(group: Path) -> float:
    """Whole cores that a cgroup and those around it allow; infinite without a limit."""
    cores = math.inf
    for folder in (group, *group.parents):
        limit = folder / "cpu.max"  # "<microseconds or max> <microseconds of a period>"
        if limit.exists():
            share, period = limit.read_text().split()
            if share != "max":
                cores = min(cores, max(1.0, float(int(share) // int(period))))
    return cores


def place() -> str:
    """A name of this machine and of the cores that this process is bound to."""
    boot = Path("/proc/sys/kernel/random/boot_id")  # machines may share a name
    start = boot.read_text().strip() if boot.exists() else ""
    return f"{socket.gethostname()} {start} {sorted(_bound_cores())}"


def _bound_cores() -> set[int]:
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


@contextlib.contextmanager
def main_left_alone(count: int) -> Iterator[None]:
    """Processes spawned within do not run the main script once more.

    Python's do, for functions pickled by name. Ours and grain's come from modules or
    are pickled whole, so they need none of it; a script without a guard of `__name__`
    would start readers in its readers, and one from standard input cannot be run again
    at all. Threads may start them: the end waits until `count` are there.
    """
    main, before = sys.modules["__main__"], set(multiprocessing.active_children())
    spec = main.__spec__
    main.__spec__ = ModuleSpec("__main__", None)  # a name that is never imported
    try:
        yield
        deadline = time.monotonic() + START_SECONDS
        while (
            len(set(multiprocessing.active_children()) - before) < count
            and time.monotonic() < deadline
        ):
            time.sleep(0.01)
    finally:
        main.__spec__ = spec


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
