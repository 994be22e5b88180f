"""The allocator reuses large blocks once told so."""

import ctypes
import subprocess
import sys

import pytest

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
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, mode],
        capture_output=True,
        text=True,
        check=True,
    )
    return int(run.stdout)


@pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "gnu_get_libc_version"), reason="glibc's allocator"
)
def test_large_blocks_are_not_mapped_anew():
    once = 2**26 // 4096  # pages of one block
    assert _faults("keep") < 3 * once
    assert _faults("default") > 10 * once
