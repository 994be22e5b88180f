"""Random SIGKILLs over whole trainings and builds: the same command ends as unbroken.

make chaos runs it; CHAOS_SEED=7 draws other moments, CHAOS_KILLS=3 fewer.
"""

import collections
import dataclasses
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
from helpers import cluster, mres_lines, small_data
from helpers.paths import ROOT
from helpers.programs import compiling_once, is_running
from helpers.tiny_run import (
    CLOCKS,
    assert_same,
    config_file,
    lines,
    points,
    run_config,
    untimed,
)

from unires_jax.checkpoint import read_meta
from unires_jax.config import Config
from unires_jax.data.prepared import open_split
from unires_jax.training.agreement import TOKEN

pytestmark = pytest.mark.chaos

SEED = int(os.environ.get("CHAOS_SEED", "0"))
KILLS = int(os.environ.get("CHAOS_KILLS", "30"))  # over a training
BUILD_KILLS = min(10, KILLS)
STEPS = 200
EVALUATE_EVERY = 4
KEEP_EVERY = 30
PATIENCE = 60.0  # seconds within which processes without their fellow end
JOIN_SECONDS = 30  # one killed before it joined is waited for so long


def train_config(data: Path) -> Config:
    """Many short steps, between them as many saves and evaluations; two bad records."""
    return run_config(
        data,
        data__max_bad_share=0.5,
        data__exclude=(f"{data}:val",),
        train__steps=STEPS,
        train__log_every=1,
        train__eval_every=EVALUATE_EVERY,
        train__picture_every=8,
        train__checkpoint_every=3,
        train__keep_every=KEEP_EVERY,
        eval__watch_images=4,
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    scenes = [small_data.scene(i, pairs=2) for i in range(20)]
    for i in (3, 10):
        cut = scenes[i].image[: len(scenes[i].image) // 2]
        scenes[i] = dataclasses.replace(scenes[i], image=cut)
    folder = tmp_path_factory.mktemp("data")
    return small_data.write(folder, train=scenes[:16], val=scenes[16:])


class Training:
    """One run, its starts, and what is read off its files while it lives."""

    def __init__(self, workdir: Path, config: Path, cache: Path, processes: int):
        self.workdir, self.processes = workdir, processes
        self.argv = [f"--config={config}", f"--workdir={workdir}"]
        if processes == 1:
            self.argv.append("--config.data.workers=1")
        else:
            self.argv.append(f"--join_seconds={JOIN_SECONDS}")
        self.places = {"cache": cache, "logs": workdir.with_name("logs")}
        self.file = workdir / "metrics.jsonl"

    def start(self) -> list[subprocess.Popen[bytes]]:
        """The command, in all processes."""
        return cluster.start("train.py", self.argv, self.processes, **self.places)

    def finish(self) -> None:
        """The command, to its end."""
        cluster.run("train.py", self.argv, self.processes, **self.places)

    def inode(self) -> int:
        """Another one since a start has begun to write: it truncates the file."""
        return self.file.stat().st_ino if self.file.exists() else 0

    def last(self) -> dict[str, Any]:
        """The last whole line of metrics.jsonl."""
        text = self.file.read_text() if self.file.exists() else ""
        whole = [line for line in text.splitlines(keepends=True) if line[-1] == "\n"]
        return json.loads(whole[-1]) if whole else {"step": 0}

    def saved(self) -> int:
        """The last complete checkpoint."""
        return max(
            (int(p.name) for p in self.checkpoints if p.name.isdigit()), default=0
        )

    @property
    def checkpoints(self) -> list[Path]:
        """Their folders, the incomplete ones too."""
        return list((self.workdir / "checkpoints").glob("*"))

    def phase(self, begun: bool) -> str:
        """What it is doing, as far as its files tell."""
        if not begun:
            return "start"
        saving = any("tmp" in p.name for p in self.checkpoints)
        line = self.last()
        evaluating = line["step"] % EVALUATE_EVERY == 0 and "train/loss" in line
        doing = "evaluation" if evaluating else "step"
        return f"{doing}, saving" if saving else doing


def kill_at_random(training: Training, rng: random.Random, moment: float) -> str:
    """Start it and kill it after `moment` seconds, or, below 0, some steps on.

    Returns the phase it was in.
    """
    before, saved = training.inode(), training.saved()
    processes, start, target = training.start(), time.monotonic(), 0
    # As many steps that half of the run is left after the last kill.
    steps, pause = rng.randint(1, max(1, STEPS // KILLS)), rng.uniform(0, 0.2)
    if to_evaluation := rng.random() < 0.4:
        pause = 0.0
    advances = rng.random() < 0.7  # else slow saves and fast kills go on for ever
    try:
        while moment < 0 or time.monotonic() - start < moment:
            assert processes[0].poll() is None, "ended before it was killed"
            if moment < 0 and training.inode() != before:
                step = training.last()["step"]
                target = target or step + steps
                if to_evaluation:
                    target += -target % EVALUATE_EVERY
                if step >= target and (not advances or training.saved() > saved):
                    time.sleep(pause)
                    break
            time.sleep(0.01)
        readers = [pid for p in processes for pid in children(p.pid)]
        phase = training.phase(training.inode() != before)
        victims = rng.choice([[p] for p in processes] + [processes])
        for process in victims:
            process.send_signal(signal.SIGKILL)
        deadline = time.monotonic() + PATIENCE
        while any(p.poll() is None for p in processes):
            assert time.monotonic() < deadline, "waits for one that is gone"
            time.sleep(0.05)
    finally:
        for process in processes:
            process.kill()
            process.wait()
    require_end(readers)
    return phase


def children(pid: int) -> list[int]:
    """Its child processes."""
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []
    return list(map(int, text.split()))


def require_end(orphans: Sequence[int]) -> None:
    """Fail unless they end by themselves."""
    deadline = time.monotonic() + 60
    while any(map(is_running, orphans)):
        assert time.monotonic() < deadline, orphans
        time.sleep(0.05)


@pytest.mark.parametrize("processes", [1, 2])
def test_a_training(data: Path, tmp_path: Path, processes: int) -> None:
    rng, began = random.Random(SEED + processes), time.monotonic()
    config = config_file(tmp_path, train_config(data))
    cache = tmp_path / "cache"
    whole = Training(tmp_path / "whole" / "run", config, cache, processes)
    broken = Training(tmp_path / "broken" / "run", config, cache, processes)
    for training in (whole, broken):
        training.workdir.parent.mkdir()
    whole.finish()
    startup = time_to_begin(Training(tmp_path / "timed", config, cache, processes))
    phases: collections.Counter[str] = collections.Counter()
    later = [i % 2 == 0 for i in range(KILLS)]
    rng.shuffle(later)
    for kill, is_later in enumerate(later):
        moment = -1.0 if is_later else rng.uniform(0, 1.1 * startup)
        phase = kill_at_random(broken, rng, moment)
        phases[phase] += 1
        reached = f"step {broken.last()['step']}, saved {broken.saved()}"
        print(f"kill {kill + 1}: {phase}, {reached}", flush=True)
    broken.finish()
    seconds = time.monotonic() - began
    print(f"{processes} processes: {dict(phases)}, {seconds:.0f} s, seed {SEED}")
    assert_as_unbroken(broken.workdir, whole.workdir)


def time_to_begin(training: Training) -> float:
    """Seconds from the command to the first step."""
    processes, start = training.start(), time.monotonic()
    try:
        while not training.inode():
            assert processes[0].poll() is None
            time.sleep(0.01)
        return time.monotonic() - start
    finally:
        for process in processes:
            process.kill()
            process.wait()


def assert_as_unbroken(workdir: Path, unbroken: Path) -> None:
    """Files, numbers, curves and checkpoints are the same, bit by bit."""
    assert untimed(lines(workdir)) == untimed(lines(unbroken))
    names = [plain_files(folder) for folder in (workdir, unbroken)]
    assert names[0] == names[1]
    shown, expected = (
        {k: v for k, v in points(folder).items() if k[0] not in CLOCKS}
        for folder in (workdir, unbroken)
    )
    assert shown == expected and len(shown) > 3 * STEPS
    kept, wanted = (set(steps_of(folder)) for folder in (workdir, unbroken))
    # The last, every n-th and the best; a kill may leave one that nobody asks for.
    assert {STEPS, *range(KEEP_EVERY, STEPS, KEEP_EVERY)} <= wanted <= kept
    for step in wanted:
        mine, other = (f / "checkpoints" / str(step) for f in (workdir, unbroken))
        assert_same(state_of(mine), state_of(other))
        assert read_meta(mine) == read_meta(other)
        assert (mine / "metrics" / "metrics").read_bytes() == (
            other / "metrics" / "metrics"
        ).read_bytes()


def plain_files(workdir: Path) -> dict[str, bytes]:
    """What lies in a workdir beside events, metrics, checkpoints and the token."""
    files = (p for p in workdir.iterdir() if p.is_file() and p.name != TOKEN)
    return {
        p.name: p.read_bytes()
        for p in sorted(files)
        if p.suffix != ".tmp" and not p.name.startswith(("events", "metrics"))
    }


def steps_of(workdir: Path) -> list[int]:
    return [int(p.name) for p in (workdir / "checkpoints").iterdir()]


def state_of(folder: Path) -> Any:
    """All arrays of a step, the optimizer's too."""
    handler = ocp.PyTreeCheckpointHandler()
    tree = handler.metadata(folder / "state").tree
    arrays = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), tree)
    return handler.restore(
        folder / "state", args=ocp.args.PyTreeRestore(restore_args=arrays)
    )


BUILDS = {
    "partworld": ["partworld", "--scenes=60", "--eval_scenes=5"],
    "mres": ["mres32m", "--raw=RAW", "--shards=6", "--workers=0"],
    "mres, two workers": ["mres32m", "--raw=RAW", "--shards=6", "--workers=2"],
}


@pytest.mark.parametrize("name", BUILDS)
def test_a_build(tmp_path: Path, name: str) -> None:
    rng = random.Random(SEED)
    raw = [mres_lines.small_line(i) for i in range(120)]
    mres_lines.write_lines(tmp_path / "raw" / "train.jsonl", raw)
    argv = [a.replace("RAW", str(tmp_path / "raw")) for a in BUILDS[name]]
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    start = time.monotonic()
    assert build(argv, whole).wait(900) == 0
    seconds, kills, ends = time.monotonic() - start, 0, 0
    while kills < BUILD_KILLS or broken.exists():
        process = build(argv, broken)
        killed = kills < BUILD_KILLS
        try:
            process.wait(rng.uniform(0.1, 1.0) * seconds if killed else 900)
        except subprocess.TimeoutExpired:
            workers = children(process.pid)
            process.kill()
            process.wait()
            kills += 1
            print(f"kill {kills}: {', '.join(left(broken))}", flush=True)
            require_end(workers)
            continue
        assert process.returncode == 0
        assert dict(contents(broken)) == dict(contents(whole))
        shutil.rmtree(broken)
        ends += 1
    print(f"{name}: {kills} kills, {ends} ends, unbroken {seconds:.1f} s, seed {SEED}")


def left(data_dir: Path) -> list[str]:
    """What a killed build had made: folders, and marked shards."""
    paths = (p for p in data_dir.rglob("*") if p.is_dir() or p.suffix == ".done")
    return sorted(p.name for p in paths)


def build(argv: list[str], data_dir: Path) -> subprocess.Popen[bytes]:
    program = [sys.executable, "-m", "unires_jax.cli", "build"]
    return subprocess.Popen(
        [*program, *argv, f"--data_dir={data_dir}"],
        cwd=ROOT,
        env=compiling_once(data_dir.with_name("cache")),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def contents(data_dir: Path) -> Iterator[tuple[str, Any]]:
    """Every file below a folder by its name: bytes, or the records of a split."""
    for path in sorted(p for p in data_dir.rglob("*") if p.is_file()):
        name = str(path.relative_to(data_dir))
        if "partworld" in name and "array_record" in name:
            # TFDS's own writer orders the fields of a record as its process does.
            split = path.name.partition("-")[2].partition(".")[0]
            records = open_split(f"{path.parent}:{split}")
            yield name, [records[i] for i in range(len(records))]
        else:
            yield name, path.read_bytes()
