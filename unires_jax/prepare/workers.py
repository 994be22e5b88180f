"""Shards of a conversion written by several processes, watched by one."""

import multiprocessing
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from tqdm import tqdm

from unires_jax import process
from unires_jax.errors import DataError
from unires_jax.prepare import shards as sharded
from unires_jax.prepare.shards import Shard

POLL = 0.5  # seconds between looks at the workers
WRITTEN, REJECTED, STOP = range(3)  # what the processes share

Look = Callable[[int, int], bool]  # takes totals; whether they are too bad to go on


class Stopped(Exception):
    """Another process found that the conversion cannot go on."""


def convert(shards: Sequence[Shard], folder: Path, allowed: int, workers: int) -> None:
    """Write every shard that is not done yet, in `workers` processes (0: in this one).

    Shows images per second and the time left. Raises DataError naming the unusable
    lines when all shards have more than `allowed`, and when a worker is killed.
    """
    todo = sharded.clean(shards)
    bad = sum(len(sharded.rejected(s)) for s in shards)
    lines = sum(s.lines.count for s in shards)
    left = sum(s.lines.count for s in todo)
    if len(todo) < len(shards):
        print(f"{len(shards) - len(todo)} of {len(shards)} shards are already done")
    with tqdm(total=lines, initial=lines - left, unit=" images") as bar:

        def look(written: int, rejected: int) -> bool:
            bar.update(written + rejected - (bar.n - lines + left))
            return bad + rejected > allowed

        try:
            if workers:
                _in_processes(todo, allowed, workers, look)
            else:
                _here(todo, allowed, look)
        except (DataError, Stopped):
            sharded.refuse(shards, folder, allowed)
            raise
    sharded.refuse(shards, folder, allowed)


def _here(todo: Sequence[Shard], allowed: int, look: Look) -> None:
    totals = [0, 0]

    def tick(written: int, rejected: int) -> None:
        totals[WRITTEN] += written
        totals[REJECTED] += rejected
        if look(*totals):
            raise Stopped

    for shard in todo:
        sharded.write(shard, allowed, tick)


def _in_processes(
    todo: Sequence[Shard], allowed: int, workers: int, look: Look
) -> None:
    context = multiprocessing.get_context("spawn")  # the parent may have threads
    shared = context.Array("q", 3)
    count = max(1, min(workers, len(todo)))
    pool = ProcessPoolExecutor(count, context, _begin, (shared,))
    try:
        waiting = {pool.submit(_write, shard, allowed) for shard in todo}
        while waiting:
            done, waiting = wait(waiting, POLL, return_when=FIRST_EXCEPTION)
            if look(shared[WRITTEN], shared[REJECTED]):
                raise Stopped
            for future in done:
                future.result()
    except BrokenProcessPool:
        raise DataError(
            "a worker was killed (out of memory?); run the same command again, with "
            "fewer --workers: finished shards are kept"
        ) from None
    finally:
        shared[STOP] = 1
        pool.shutdown(cancel_futures=True)


_shared: Any = None  # of this worker


def _begin(shared: Any) -> None:
    """A worker leaves Ctrl-C to its parent and ends with it, however that ends."""
    global _shared
    _shared = shared
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    process.end_with_parent(1)


def _write(shard: Shard, allowed: int) -> None:
    sharded.write(shard, allowed, _tick)


def _tick(written: int, rejected: int) -> None:
    with _shared.get_lock():
        _shared[WRITTEN] += written
        _shared[REJECTED] += rejected
        if _shared[STOP]:
            raise Stopped
