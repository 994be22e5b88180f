"""The allocator reuses large blocks once told so; workers end with their parent."""

import ctypes
import math
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers.programs import is_running, run

from unires_jax import process

PROGRAM = """
import resource, sys, threading
if sys.argv[1] == "keep":
    from unires_jax.process import keep_freed_memory
    assert keep_freed_memory()

def fill():
    for _ in range(20):
        block = b"x" * 2**26
        del block

worker = threading.Thread(target=fill)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
worker.start()
worker.join()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def _faults(mode: str) -> int:
    return int(run("-c", PROGRAM, mode).stdout)


@pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "gnu_get_libc_version"), reason="glibc's allocator"
)
def test_large_blocks_are_not_mapped_anew():
    once = 2**26 // 4096  # pages of one block
    assert _faults("keep") < 3 * once
    assert _faults("default") > 10 * once


PARENT = """
import multiprocessing, sys, time
from unires_jax import process

def work(pipe):
    process.end_with_parent(3)
    pipe.send(None)
    time.sleep(600)

if __name__ == "__main__":
    receiver, sender = multiprocessing.Pipe(duplex=False)
    child = multiprocessing.get_context("fork").Process(target=work, args=(sender,))
    child.start()
    receiver.recv()
    print(child.pid, flush=True)
    time.sleep(600)
"""


def test_a_worker_ends_with_a_parent_that_is_killed() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        assert is_running(worker)
        parent.kill()
    deadline = time.monotonic() + 20
    while is_running(worker):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_cores_are_those_it_is_bound_to_within_quotas(tmp_path: Path) -> None:
    code = """
import os
from unires_jax import process
whole = process.place()
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
print(process.usable_cores(), process.place() == process.place() != whole)
"""
    if hasattr(os, "sched_setaffinity") and process.usable_cores() > 1:
        assert run("-c", code).stdout == "1 True\n"
    inner = tmp_path / "node" / "container"
    inner.mkdir(parents=True)
    assert process.quota(inner) == math.inf
    (inner / "cpu.max").write_text("max 100000\n")
    assert process.quota(inner) == math.inf
    (tmp_path / "node" / "cpu.max").write_text("350000 100000\n")
    assert process.quota(inner) == 3
    (inner / "cpu.max").write_text("50000 100000\n")
    assert process.quota(inner) == 1


def test_a_chosen_platform_tells_of_an_accelerator(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for platforms, expected in (("cpu", False), ("cuda,cpu", True), ("tpu", True)):
        monkeypatch.setenv("JAX_PLATFORMS", platforms)
        assert process.has_accelerator() is expected
    monkeypatch.delenv("JAX_PLATFORMS")
    monkeypatch.setattr(process.Path, "glob", lambda *_: iter(()))
    assert not process.has_accelerator()  # no device, whatever is installed
