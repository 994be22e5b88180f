"""Two real processes: what ends one ends the other, which says why."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.paths import ROOT
from helpers.programs import free_port

from unires_jax.watch import SILENCE, Beats

PROGRAM = """
import os, signal, sys, time
from unires_jax import app, ending
from unires_jax.errors import DataError

def main():
    app.join_cluster()
    from unires_jax import hosts, watch
    watch.SILENCE, watch.CULPRIT = 3.0, 8.0
    way = os.environ["WAY"]
    ending.know(checkpoints=os.environ["CHECKPOINTS"])
    hosts.meet("both are here")
    if way == "data":
        raise DataError("planted")
    if way == "bug":
        raise KeyError("planted")
    if way == "kill":
        time.sleep(3)  # its beats were heard
        os.kill(os.getpid(), signal.SIGKILL)
    if way == "wait":
        time.sleep(100)
    if way == "echo":  # a collective, without its partner
        time.sleep(3)
        hosts.meet("nobody else", seconds=1)
    return 7

app.run(main, takes_config=False)
"""


def end(folder: Path, *ways: str) -> list[subprocess.CompletedProcess[str]]:
    """Both processes of a cluster, ended in these ways."""
    (folder / "40").mkdir()
    port = free_port()
    env = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    env |= {"JAX_COORDINATOR_ADDRESS": f"localhost:{port}", "JAX_NUM_PROCESSES": "2"}
    env["CHECKPOINTS"] = str(folder)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            env=env | {"JAX_PROCESS_ID": str(i), "WAY": way},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for i, way in enumerate(ways)
    ]
    done = []
    for process in processes:
        try:
            out, err = process.communicate(timeout=120)
        finally:
            process.kill()
        code = process.returncode
        done.append(subprocess.CompletedProcess(process.args, code, out, err))
    return done


def test_both_finish_with_the_code_of_main(tmp_path: Path) -> None:
    done = end(tmp_path, "finish", "finish")
    assert [x.returncode for x in done] == [7, 7], done
    assert not any("error" in x.stderr for x in done), done


@pytest.mark.parametrize("ways", [("data", "wait"), ("wait", "data")])
def test_an_error_in_one_is_named_by_both(
    tmp_path: Path, ways: tuple[str, ...]
) -> None:
    done = end(tmp_path, *ways)
    assert [x.returncode for x in done] == [1, 1], done
    who = ways.index("data")
    for process in done:
        assert re.search(rf"error: process {who}.*: planted", process.stderr), done
        assert "last good step 40: the same command goes on from" in process.stderr
        assert "Traceback" not in process.stderr


@pytest.mark.slow
def test_a_bug_keeps_its_traceback(tmp_path: Path) -> None:
    done = end(tmp_path, "wait", "bug")
    assert [x.returncode for x in done] == [1, 1], done
    assert "process 1" in done[0].stderr and "KeyError: 'planted'" in done[0].stderr
    assert "Traceback" in done[1].stderr and "Traceback" not in done[0].stderr


def test_a_killed_process_is_named_not_its_echo(tmp_path: Path) -> None:
    """The other meets an error of the runtime first, and waits to hear whose it is."""
    done = end(tmp_path, "echo", "kill")
    assert [x.returncode for x in done] == [1, -signal.SIGKILL], done
    assert "process 1 " in done[0].stderr and "no sign of life" in done[0].stderr
    assert "Traceback" not in done[0].stderr, done
    assert "process 1 of 2" in done[1].stderr and "without a word" in done[1].stderr


def test_when_the_main_process_is_killed_the_other_has_words(tmp_path: Path) -> None:
    done = end(tmp_path, "kill", "wait")
    assert done[0].returncode == -signal.SIGKILL and done[1].returncode, done
    for process in done:
        assert "last good step 40" in process.stderr, done


def test_beats() -> None:
    beats = Beats()
    assert not beats.silent({0: "1", 1: "1"}, 0.0)
    for second in range(1, int(SILENCE) + 1):
        assert not beats.silent({0: str(second), 1: "1"}, float(second))
    (gone,) = beats.silent({0: "99", 1: "1"}, SILENCE + 1)
    assert gone == 1
    # A look that is late itself cannot judge.
    late = Beats()
    late.silent({1: "1"}, 0.0)
    assert not late.silent({1: "1"}, 10 * SILENCE)
    assert not late.silent({1: "1"}, 10 * SILENCE + 1)
