"""The allocator reuses large blocks once told so; workers end with their parent."""

import ctypes
import subprocess
import sys
import time

import pytest
from helpers.programs import is_running, run

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
