"""Folders are called what their owners like: every command works in them."""

import json
import os
from pathlib import Path

import pytest
from helpers import mres_lines, tiny_run
from helpers.paths import ROOT
from helpers.programs import compiling_once, run

from unires_jax import cli
from unires_jax.config import Config
from unires_jax.data.prepared import open_split
from unires_jax.evaluation import command, predictors

ODD = "a b@c.d:e%f#g=h{i},größe 🐶[j*k?]'&"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    folder = tmp_path / ODD
    mres_lines.write_files(folder / "raw")
    line = mres_lines.good_line()
    for split in ("train", "val"):
        lines = (line | {"image_id": i} for i in range(2))
        text = "".join(json.dumps(x) + "\n" for x in lines)
        (folder / "raw" / f"{split}.jsonl").write_text(text)
    return folder


def build(place: Path) -> Path:
    argv = ["build", "mres32m", "--raw", str(place / "raw"), "--workers", "0"]
    assert cli.main([*argv, "--data_dir", str(place / "data")]) == 0
    assert cli.main([*argv, "--data_dir", str(place / "data")]) == 0  # already built
    return place / "data"


def test_data_and_its_evaluation(place: Path, capsys: pytest.CaptureFixture) -> None:
    data = build(place)
    cli.main(["doctor", str(data)])
    assert "mres32m/train" in capsys.readouterr().out
    by_path = open_split(f"{data / 'mres32m' / '1.0.0'}:val")
    assert len(by_path) == len(open_split("mres32m:val", data)) == 2
    subject = command.Subject(Config(), predictors.empty, None, {"name": "empty"})
    metrics = command.run(subject, {"val": by_path}, place / "evaluation")
    assert metrics["val"]["pooled"]["mIoU"] == 0
    assert ODD in capsys.readouterr().out.replace("\n", "")
    names = {"predictions.jsonl", "metrics.json", "report.html", "gallery.jpg"}
    assert {p.name for p in (place / "evaluation").iterdir()} == names


@pytest.mark.slow
def test_a_run_from_start_to_end(place: Path) -> None:
    data = tiny_run.write_data(place / "data")
    file = tiny_run.config_file(place, tiny_run.run_config(data, train__steps=2))
    env = compiling_once(place.parent / "jax")
    unires = ("-m", "unires_jax.cli")
    picture = place / "raw" / "images" / "a.jpg"
    steps: list[tuple[object, ...]] = [
        (ROOT / "train.py", f"--config={file}", f"--workdir={place / 'run'}"),
        (ROOT / "train.py", f"--config={file}", f"--workdir={place / 'run'}"),
        (ROOT / "evaluate.py", f"--workdir={place / 'run'}"),
    ]
    for kind in ("orbax", "safetensors"):
        start = ("export", "--checkpoint", place / "run", "--to", kind)
        steps.append((*unires, *start, "--out", place / kind))
    for model in ("run", "orbax", "safetensors"):
        start = ("predict", picture, "dog", "--checkpoint", place / model)
        steps.append((*unires, *start, "--out", place / "masks", "--cache", ""))
    for argv in steps:
        done = run(*argv, cwd=place, **env)
        assert done.returncode == 0, (argv, done.stdout + done.stderr)
    assert (place / "masks" / "a.jpg.json").is_file()
    assert os.listdir(place / "run" / "checkpoints") == ["2"]
