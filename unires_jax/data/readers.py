"""Reader processes: how many a run wants, and their start from any program."""

import contextlib
import math
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from typing import TypeVar

from absl import flags

from unires_jax import process

# Pictures per second that one core reads, 8 expressions each at 480 px
# (benchmarks/input.py); slower with larger pictures than COCO's.
PICTURES_A_CORE = 300
HEADROOM = 2  # readers for each that would do: pictures and cores differ; ours
SPARE = 2  # cores left to the program that trains; ours
START_SECONDS = 10.0  # after which readers not started yet are no longer waited for

T = TypeVar("T")


def reader_count(workers: int, cores: int, pictures: float) -> int:
    """`data.workers`, or for -1 as many as read `pictures` a second with some to spare.

    At least one, and no more than the cores but `SPARE`.
    """
    if workers >= 0:
        return workers
    wanted = math.ceil(HEADROOM * pictures / PICTURES_A_CORE)
    return max(1, min(wanted, cores - SPARE))


def begin(index: int, count: int) -> None:
    """A reader ends with the trainer, but on no signal before the trainer has saved."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    process.end_with_parent(0)


def started(elements: Iterator[T], count: int) -> Iterator[T]:
    """The elements of an iterator of grain that starts `count` readers at its first.

    It works from any program: a plain script, a notebook, one without absl flags.
    """
    if count:
        if not flags.FLAGS.is_parsed():  # grain's own are read; the defaults will do
            flags.FLAGS.mark_as_parsed()
        # Readers are ended with batches in flight. Their tracker frees these batches,
        # and need not tell the user about it.
        os.environ.setdefault("PYTHONWARNINGS", "ignore:resource_tracker:UserWarning")
        with _main_left_alone(count):
            first = next(elements)
        yield first
    yield from elements


@contextlib.contextmanager
def _main_left_alone(count: int) -> Iterator[None]:
    """Readers started within do not run the main script once more.

    Spawned processes of Python do, for functions pickled by name. grain pickles them
    whole, so its readers need none of it; and a script without a guard of `__name__`
    would start readers in its readers. It is threads of grain that start them: the end
    waits until `count` are there.
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
