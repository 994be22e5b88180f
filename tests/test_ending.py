"""A process that is killed has a witness; one that speaks for itself needs none."""

import os
import signal
import subprocess
from pathlib import Path

import pytest
from helpers.programs import run

from unires_jax import ending

PROGRAM = """
import os, signal, sys
from unires_jax import ending

ending.watch_over()
ending.know(name="process 1 of 2 (a)", checkpoints=sys.argv[2])
if sys.argv[1] == "leave":
    ending.leave("error: planted", 5)
elif sys.argv[1] == "part":
    ending.part()
else:
    os.kill(os.getpid(), getattr(signal, sys.argv[1]))
"""


def end(way: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Its whole output: what reads it does not wait for the witness."""
    return run("-c", PROGRAM, way, folder)


@pytest.mark.parametrize("name", ["SIGKILL", "SIGABRT", "SIGTERM"])
def test_the_witness_speaks_for_the_dead(name: str, tmp_path: Path) -> None:
    for step in ("40", "7", "50.tmp"):
        (tmp_path / step).mkdir()
    done = end(name, tmp_path)
    assert done.returncode == -getattr(signal, name)
    assert "process 1 of 2 (a) ended without a word (killed, out of" in done.stderr
    assert "last good step 40: the same command goes on from there" in done.stderr


def test_the_witness_is_silent_after_words(tmp_path: Path) -> None:
    parted, left = end("part", tmp_path), end("leave", tmp_path)
    assert (parted.returncode, parted.stderr) == (0, "")
    assert (left.returncode, left.stderr) == (5, "\nerror: planted\n")


def test_the_last_good_step(tmp_path: Path) -> None:
    assert ending.last_good_of("") == ""
    assert ending.last_good_of(os.fspath(tmp_path / "none")) == "nothing was saved yet"
    assert ending.last_good_of(os.fspath(tmp_path)) == "nothing was saved yet"
