"""A run that is saved on some processes and devices goes on on others."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from helpers import cluster
from helpers.tiny_run import assert_same, config_file, lines, run_config, write_data

from unires_jax.checkpoint import find_checkpoint, read_meta
from unires_jax.config import Config, MeshConfig
from unires_jax.data.pipeline import run_tokenizer, train_batches
from unires_jax.evaluation.in_training import make_evaluate
from unires_jax.mesh import make_mesh
from unires_jax.training.recipe import make_recipe
from unires_jax.training.trainer import fit

STOPPED = "tests/helpers/killed_train.py"
CLOSE = 1e-5  # relative: sums over other numbers of devices are rounded otherwise


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def assert_same_course(workdir: Path, unbroken: Path) -> float:
    """Every line is there once, its losses close; how far the furthest is off."""
    rows, expected = lines(workdir), lines(unbroken)
    assert [(r["step"], r.keys()) for r in rows] == [
        (r["step"], r.keys()) for r in expected
    ]
    losses = np.array([r["train/loss"] for r in rows if "train/loss" in r])
    others = np.array([r["train/loss"] for r in expected if "train/loss" in r])
    furthest = float(np.max(np.abs(losses / others - 1)))
    assert furthest < CLOSE, furthest
    return furthest


def stop_after(
    steps: int, config: Path, workdir: Path, cache: Path, processes: int, each: int
) -> int:
    """Train on so many processes until all are asked to stop; the step they save."""
    argv = ["TERM", f"feed:{steps}", f"--config={config}", f"--workdir={workdir}"]
    argv += [f"--config.mesh.fsdp={min(4, processes * each)}"]
    logs = workdir.with_name(f"{processes}x{each}")
    started = cluster.start(STOPPED, argv, processes, each, cache=cache, logs=logs)
    codes = cluster.finish(started)
    said = (logs / "0.log").read_text()
    assert set(codes) in ({0}, {75}), said
    saved = find_checkpoint(workdir, "last")
    step = int(saved.name)
    assert f"stopped at step {step}" in said, said
    assert read_meta(saved)["batch"] == step
    return step


def train_here(config: Config, workdir: Path) -> Any:
    """To the end in this process, on one device."""
    tokenizer = run_tokenizer(config)
    recipe = make_recipe(config, make_mesh(MeshConfig(), jax.devices()[:1]))
    return fit(recipe, workdir, tokenizer, make_evaluate(config, tokenizer))


@pytest.mark.slow
def test_saved_on_two_processes_and_continued_on_one(
    data: Path, cache: Path, tmp_path: Path
) -> None:
    config = run_config(data, train__log_every=1)
    file = config_file(tmp_path, config)
    assert 3 <= stop_after(3, file, tmp_path / "run", cache, 2, 1) < 8
    train_here(config, tmp_path / "run")
    train_here(config, tmp_path / "whole")
    assert_same_course(tmp_path / "run", tmp_path / "whole")


def test_batches_do_not_tell_how_many_share_them(data: Path) -> None:
    """Read by 4, 2 and 1 processes in turn they are those of one, bit by bit."""
    config = run_config(data)
    tokenizer = run_tokenizer(config)
    whole = train_batches(config, tokenizer)
    for start, processes in enumerate((4, 2, 1, 8, 1, 4)):
        shares = [
            next(
                train_batches(
                    config, tokenizer, start_batch=start, shard=(i, processes)
                )
            )
            for i in range(processes)
        ]
        joined = jax.tree.map(
            lambda *rows: np.stack(rows, 1).reshape(-1, *rows[0].shape[1:]), *shares
        )
        assert_same(joined, next(whole))


# Processes and devices of each, and the steps until the next start.
CHAIN = ((4, 2, 8), (2, 2, 7), (1, 8, 7), (1, 1, 5), (4, 2, 99))


@pytest.mark.slow
def test_a_chain_of_starts_on_other_processes(
    data: Path, cache: Path, tmp_path: Path
) -> None:
    config = run_config(
        data, name="chain", train__log_every=1, train__steps=40, train__eval_every=10
    )
    file = config_file(tmp_path, config)
    workdir = tmp_path / "run"
    reached = 0
    for processes, each, steps in CHAIN[:-1]:
        step = stop_after(steps, file, workdir, cache, processes, each)
        assert step >= reached + steps - 1
        reached = step
    assert reached < 40
    processes, each, _ = CHAIN[-1]
    argv = [f"--config={file}", f"--workdir={workdir}", "--config.mesh.fsdp=4"]
    cluster.run("train.py", argv, processes, each, cache=cache, logs=tmp_path / "end")
    whole = tmp_path / "whole"
    argv = [f"--config={file}", f"--workdir={whole}"]
    cluster.run("train.py", argv, 1, cache=cache, logs=tmp_path / "whole-logs")
    print("furthest loss:", assert_same_course(workdir, whole))
