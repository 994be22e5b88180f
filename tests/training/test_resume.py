"""Real processes of train.py, killed and asked to stop, against one left alone."""

import re
import signal
from pathlib import Path
from typing import Any

import pytest
from helpers.tiny_run import assert_same, lines, untimed
from helpers.train_runs import Runs

from unires_jax.checkpoint import load_params


def last_weights(workdir: Path) -> tuple[Any, dict[str, Any]]:
    ema, meta = load_params(workdir, "ema", "last")
    return [ema, load_params(workdir, "params", "last")[0]], meta


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return Runs(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def unbroken(runs: Runs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    workdir = tmp_path_factory.mktemp("whole") / "run"
    done = runs(workdir)
    assert done.returncode == 0, done.stderr
    return workdir


def assert_as_unbroken(workdir: Path, unbroken: Path) -> None:
    weights, meta = last_weights(workdir)
    expected, expected_meta = last_weights(unbroken)
    assert_same(weights, expected)
    assert meta == expected_meta
    assert untimed(lines(workdir)) == untimed(lines(unbroken))


def test_a_run_that_is_killed_killed_saving_and_stopped_ends_as_one_left_alone(
    runs: Runs, unbroken: Path, tmp_path: Path
) -> None:
    workdir = tmp_path / "run"
    # Steps 1 and 2, nothing saved: everything is done again.
    assert runs(workdir, "KILL feed:3").returncode == -signal.SIGKILL
    assert [x["step"] for x in lines(workdir)] == [1]  # step 2 was not looked at yet
    # Step 3 is saved, the save of step 4 (its evaluation) never gets its name.
    assert runs(workdir, "KILL save:2").returncode == -signal.SIGKILL
    names = sorted(p.name for p in (workdir / "checkpoints").iterdir())
    assert names == ["3", "4.orbax-checkpoint-tmp"]
    # From step 3, asked to stop before its second step.
    stopped = runs(workdir, "TERM feed:2")
    assert stopped.returncode == 75, stopped.stderr
    assert f"{workdir}: from step 3 to 8" in stopped.stdout
    assert "stopped at step 5 of 8; saved. The same command goes on." in stopped.stdout
    # Progress with time left, rate and loss.
    progress = r"5/8 \[\d\d:\d\d<\d\d:\d\d, .*(step/s|s/step), loss=\d"
    assert re.search(progress, stopped.stderr)
    assert last_weights(workdir)[1]["batch"] == 5
    # To the end.
    ended = runs(workdir)
    assert ended.returncode == 0, ended.stderr
    assert f"{workdir}: from step 5 to 8" in ended.stdout
    assert_as_unbroken(workdir, unbroken)


@pytest.mark.slow
@pytest.mark.parametrize(
    "moment",
    [f"{name} feed:{step}" for name in ("KILL", "TERM") for step in range(1, 9)]
    + [f"KILL {kind}:{save}" for kind in ("begin", "save") for save in range(1, 5)],
)
def test_any_moment(runs: Runs, unbroken: Path, tmp_path: Path, moment: str) -> None:
    workdir = tmp_path / "run"
    expected = 75 if "TERM" in moment else -signal.SIGKILL
    expected = 0 if moment == "TERM feed:8" else expected  # the last step
    assert runs(workdir, moment).returncode == expected
    ended = runs(workdir)
    assert ended.returncode == 0, ended.stderr
    assert_as_unbroken(workdir, unbroken)


@pytest.mark.slow
def test_with_reader_processes(runs: Runs, unbroken: Path, tmp_path: Path) -> None:
    """Readers in processes of their own see the same batches and end with the run."""
    workdir, flag = tmp_path / "run", "--config.data.workers=2"
    assert runs(workdir, "KILL feed:5", flag).returncode == -signal.SIGKILL
    assert runs(workdir, "TERM feed:2", flag).returncode == 75
    assert runs(workdir, "", flag).returncode == 0
    assert_same(last_weights(workdir)[0], last_weights(unbroken)[0])


@pytest.mark.slow
def test_two_processes_stop_together_and_one_goes_on(
    runs: Runs, unbroken: Path, tmp_path: Path
) -> None:
    """A notice to one stops both; the numbers are one process' but for rounding."""
    workdir = tmp_path / "run"
    done = runs.together([workdir] * 2, ["", "TERM feed:3"])
    assert [d.returncode for d in done] == [75, 75], done[0].stderr + done[1].stderr
    stopped = int(last_weights(workdir)[1]["batch"])
    assert 3 <= stopped <= 5
    assert f"stopped at step {stopped} of 8; saved" in done[0].stdout
    assert "stopped" not in done[1].stdout  # one process speaks
    assert runs(workdir).returncode == 0
    for line, expected in zip(lines(workdir), lines(unbroken), strict=True):
        assert line.keys() == expected.keys()
        if "train/loss" in line:
            # Sums over two devices are rounded otherwise.
            assert line["train/loss"] == pytest.approx(expected["train/loss"], 1e-3)
