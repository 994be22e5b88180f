"""Reader processes: how many a run wants, their start from any program, their end."""

import contextlib
import math
import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from absl import flags

from unires_jax import process
from unires_jax.config import Config, mask_grid, training_model
from unires_jax.errors import ConfigError, TrainingError

# Pictures per second that one core reads, 8 expressions each at 480 px
# (benchmarks/input.py); slower with larger pictures than COCO's.
PICTURES_A_CORE = 300
HEADROOM = 2  # readers for each that would do: pictures and cores differ; ours
SPARE = 2  # cores left to the program that trains; ours
SHARED_MEMORY = "/dev/shm"  # where readers leave their batches
SHARED_MEMORY_REMEDY = (
    "give the container more (docker run --shm-size=8g; Kubernetes: a volume of medium "
    "Memory at /dev/shm), or set --config.data.workers=0"
)
BATCHES_A_READER = 6  # read ahead with the pipeline's options of grain; measured

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
    Raises TrainingError if a reader ended.
    """
    if count:
        if not flags.FLAGS.is_parsed():  # grain's own are read; the defaults will do
            flags.FLAGS.mark_as_parsed()
        # Readers are ended with batches in flight. Their tracker frees these batches,
        # and need not tell the user about it.
        os.environ.setdefault("PYTHONWARNINGS", "ignore:resource_tracker:UserWarning")
        with process.main_left_alone(count), _deaths_explained():
            first = next(elements)
        yield first
    with _deaths_explained():
        yield from elements


@contextlib.contextmanager
def _deaths_explained() -> Iterator[None]:
    """grain's error for a reader that is gone, as one that tells why."""
    try:
        yield
    except RuntimeError as error:
        death = re.search(r"terminated unexpectedly.*exit code (-?\d+)", str(error))
        if death is None:
            raise
        raise TrainingError(_end_of_reader(int(death[1]))) from error


def _end_of_reader(code: int) -> str:
    """Why a reader ended, as far as its exit code tells it, and the remedy."""
    causes = {
        -signal.SIGBUS: f"{SHARED_MEMORY} is full; {SHARED_MEMORY_REMEDY}",
        -signal.SIGKILL: "killed, most likely out of memory; lower "
        "--config.data.workers, or give the job more memory",
    }
    cause = causes.get(code, "what it said stands above")
    return f"a reader process of the data ended with exit code {code}: {cause}"


def check_shared_memory(
    config: Config, images: int, workers: int, free: int | None = None
) -> None:
    """Raise ConfigError unless the batches of `images` that readers keep will fit.

    `free`: bytes of shared memory; None: what this machine has. Too little kills a
    reader when it first runs ahead.
    """
    free = _free_shared_memory() if free is None else free
    model = training_model(config.model)
    side, grid = model.image_size, mask_grid(model)
    batch = images * (3 * side**2 + config.data.expressions * grid**2)
    need = batch * (BATCHES_A_READER * workers + 1)
    if workers and need > free:
        raise ConfigError(
            f"data.workers={workers}: reader processes keep up to "
            f"{need / 2**20:.0f} MiB of batches in {SHARED_MEMORY}, which has "
            f"{free / 2**20:.0f} MiB free; {SHARED_MEMORY_REMEDY}"
        )


def _free_shared_memory() -> int:
    """In bytes; endless where a system has it elsewhere."""
    if not Path(SHARED_MEMORY).is_dir():
        return sys.maxsize
    state = os.statvfs(SHARED_MEMORY)
    return state.f_bavail * state.f_frsize
