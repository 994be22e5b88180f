"""Faults of one process of a cluster end all of them, each saying whose and why."""

import re
import signal
import subprocess
from pathlib import Path

import pytest
from helpers.train_runs import Runs, wait

from unires_jax import lock

Done = subprocess.CompletedProcess[str]
GO_ON = "the same command goes on from there"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return Runs(tmp_path_factory.mktemp("runs"))


def assert_all_say(done: list[Done], pattern: str, codes: tuple[int, ...]) -> None:
    for process, code in zip(done, codes, strict=True):
        assert process.returncode == code, process.stderr
        assert re.search(pattern, process.stderr), process.stderr


def test_a_workdir_in_use_is_refused(runs: Runs, tmp_path: Path) -> None:
    workdir = tmp_path / "run"
    with lock.hold(str(workdir)):
        refused = runs(workdir)
    assert refused.returncode == 1
    assert re.search(r"is in use by process \d+ on .* since", refused.stderr)
    assert "Traceback" not in refused.stderr


@pytest.mark.slow
def test_bad_data_in_one(runs: Runs, tmp_path: Path) -> None:
    done = runs.together([tmp_path / "run"] * 2, ["", "DATA feed:6"])
    assert_all_say(done, r"process 1[^\n]*: planted", (1, 1))
    assert_all_say(done, f"last good step [34]: {GO_ON}", (1, 1))


@pytest.mark.slow
def test_a_killed_process(runs: Runs, tmp_path: Path) -> None:
    done = runs.together([tmp_path / "run"] * 2, ["", "KILL feed:6"])
    assert_all_say(done, "process 1.*killed, out of memory", (1, -signal.SIGKILL))
    assert_all_say(done, f"last good step [34]: {GO_ON}", (1, -signal.SIGKILL))


@pytest.mark.slow
def test_the_main_process_is_killed(runs: Runs, tmp_path: Path) -> None:
    done = runs.together([tmp_path / "run"] * 2, ["KILL feed:6", ""])
    assert done[0].returncode == -signal.SIGKILL and done[1].returncode
    for process in done:
        assert "killed, out of memory" in process.stderr
        assert re.search(f"last good step [34]: {GO_ON}", process.stderr)


@pytest.mark.slow
def test_not_a_number(runs: Runs, tmp_path: Path) -> None:
    flag = "--config.optim.scratch_rate=1e30"
    done = runs.together([tmp_path / "run"] * 2, ["", ""], flag)
    assert_all_say(done, r"step \d: loss", (1, 1))
    assert_all_say(done, "last good step|nothing was saved yet", (1, 1))


@pytest.mark.slow
def test_dead_readers(runs: Runs, tmp_path: Path) -> None:
    flag = "--config.data.workers=1"
    done = runs.together([tmp_path / "run"] * 2, ["", "READERS feed:2"], flag)
    assert_all_say(done, "process 1.*reader process of the data ended", (1, 1))


@pytest.mark.slow
def test_workdirs_that_are_not_one(runs: Runs, tmp_path: Path) -> None:
    done = runs.together([tmp_path / "a", tmp_path / "b"], ["", ""])
    assert_all_say(done, r"process 1 \(.*differs from process 0:\n  workdir: ", (1, 1))
    assert_all_say(done, "one shared folder", (1, 1))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flag", "pattern"),
    [
        ("--config.data.dir=/nowhere", "process 1 .*no prepared data set 'tiny'"),
        ("--config.optim.clip=7.0", r"config\.optim\.clip: 7.0, process 0 has 1.0"),
    ],
)
def test_one_lacks_its_data_or_differs(
    runs: Runs, tmp_path: Path, flag: str, pattern: str
) -> None:
    folder = Path(runs.config.data.train[0]).parents[1]
    common = ("--config.data.train=tiny:train", f"--config.data.dir={folder}")
    cluster = runs.cluster(2)
    processes = [
        runs.start(tmp_path / "run", "", *common, *cluster, f"--process={i}", *own)
        for i, own in enumerate(((), (flag,)))
    ]
    assert_all_say([wait(process) for process in processes], pattern, (1, 1))


@pytest.mark.slow
def test_one_that_compiles_later_is_waited_for(runs: Runs, tmp_path: Path) -> None:
    """For longer than collectives on CPU wait (30 s)."""
    done = runs.together([tmp_path / "run"] * 4, ["", "SLEEP feed:1", "", ""])
    assert [x.returncode for x in done] == [0] * 4, done
    assert "4 processes, 4 devices of kind" in done[0].stdout


@pytest.mark.slow
def test_asked_to_stop_before_the_first_step(runs: Runs, tmp_path: Path) -> None:
    stopped = runs(tmp_path / "run", "TERM feed:1")
    assert stopped.returncode == 75, stopped.stderr
    assert "stopped before step 1. The same command goes on." in stopped.stdout
    done = runs.together([tmp_path / "runs"] * 2, ["", "TERM feed:1"])
    assert [x.returncode for x in done] == [75, 75], done[0].stderr + done[1].stderr
