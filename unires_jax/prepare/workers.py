"""Shards of a ledger written by several processes, watched by one."""

import multiprocessing
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from tqdm import tqdm

from unires_jax import process
from unires_jax.errors import DataError
from unires_jax.prepare import shards
from unires_jax.prepare.shards import Ledger, Shard

POLL = 0.5  # seconds between looks at the workers
WRITTEN, REFUSED, STOP, BEGUN = range(4)  # what the processes share

Look = Callable[[int, int], bool]  # takes totals; whether they are too bad to go on


class Stopped(Exception):
    """Another process found that the work cannot go on."""


def run(
    ledger: Ledger,
    workers: int,
    *,
    unit: str = "images",
    title: str = "",
    todo: Sequence[Shard] | None = None,
) -> None:
    """Write shards in `workers` processes (0: in this one): `todo`, or all unfinished.

    Shows `unit`s per second and the time left. Raises DataError naming what was
    refused when all shards have more of it than allowed, and when a worker is killed.
    """
    todo = ledger.unfinished() if todo is None else todo
    refused_before = len(ledger.refused())
    done_before = ledger.entries - sum(shard.work.entries for shard in todo)
    if len(todo) < len(ledger.mine):
        finished, of = len(ledger.mine) - len(todo), title and f"{title}: "
        print(f"{of}{finished} of {len(ledger.mine)} shards are already done")
    if title and not todo:
        return
    with tqdm(
        total=ledger.entries, initial=done_before, unit=f" {unit}", desc=title or None
    ) as bar:

        def look(written: int, refused: int) -> bool:
            bar.update(written + refused - (bar.n - done_before))
            return refused_before + refused > ledger.allowed

        try:
            if workers:
                _in_processes(todo, ledger.allowed, workers, look)
            else:
                _here(todo, ledger.allowed, look)
        except (DataError, Stopped):
            ledger.check()
            raise
    ledger.check()


def _here(todo: Sequence[Shard], allowed: int, look: Look) -> None:
    totals = [0, 0]

    def tick(written: int, refused: int) -> None:
        totals[WRITTEN] += written
        totals[REFUSED] += refused
        if look(*totals):
            raise Stopped

    for shard in todo:
        shards.write(shard, allowed, tick)


def _in_processes(
    todo: Sequence[Shard], allowed: int, workers: int, look: Look
) -> None:
    context = multiprocessing.get_context("spawn")  # the parent may have threads
    shared = context.Array("q", 4)
    count = max(1, min(workers, len(todo)))
    pool = ProcessPoolExecutor(count, context, _begin, (shared,))
    try:
        waiting = {pool.submit(shards.write, s, allowed, _tick) for s in todo}
        while waiting:
            done, waiting = wait(waiting, POLL, return_when=FIRST_EXCEPTION)
            if look(shared[WRITTEN], shared[REFUSED]):
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
_number = 0


def number() -> int:
    """Which of its pool's workers this process is, from 0; 0 outside a pool."""
    return _number


def _begin(shared: Any) -> None:
    """A worker leaves Ctrl-C to its parent and ends with it, however that ends."""
    global _shared, _number
    _shared = shared
    with shared.get_lock():
        _number = shared[BEGUN]
        shared[BEGUN] += 1
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    process.end_with_parent(1)


def _tick(written: int, refused: int) -> None:
    with _shared.get_lock():
        _shared[WRITTEN] += written
        _shared[REFUSED] += refused
        if _shared[STOP]:
            raise Stopped
