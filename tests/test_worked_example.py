"""The worked example of docs/mres_jsonl.md: its commands, on a tiny model."""

import json
import re
import shlex
from pathlib import Path

import pytest
from helpers.paths import ROOT
from helpers.programs import compiling_once, run

from unires_jax.data.prepared import open_split
from unires_jax.prepare.mres.line import parse

PAGE = (ROOT / "docs" / "mres_jsonl.md").read_text()
# What the quickstart trains, smaller; the last value of a flag counts.
TINY = shlex.split(
    """--config.model.image_size=32 --config.model.vision.patch=8
    --config.model.vision.width=16 --config.model.vision.depth=2
    --config.model.vision.heads=2 --config.model.vision.mlp=16
    --config.model.text.width=16 --config.model.text.depth=1
    --config.model.text.heads=2 --config.model.text.mlp=16
    --config.model.width=16 --config.model.heads=2 --config.train.steps=2
    --config.model.low_groups=4 --config.model.high_groups=2 --config.train.batch=4
    --config.data.workers=0 --config.eval.watch_images=2"""
)


def blocks(language: str) -> list[str]:
    """The code blocks of a language on the page."""
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_the_line_on_the_page_is_valid(tmp_path: Path) -> None:
    import cv2
    import numpy as np

    (text,) = blocks("json")
    (tmp_path / "images").mkdir()
    picture = np.zeros((40, 60, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "images/0001.jpg"), picture)
    record = parse(text.encode(), tmp_path)
    assert [m.area for m in record.masks] == [960.0, 6.0]
    assert [len(x.targets) for x in record.expressions] == [1, 1, 0]
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads((ROOT / "docs/mres_jsonl.schema.json").read_text())
    jsonschema.validate(json.loads(text), schema)


class Clone:
    """A folder that looks like a clone, with the quickstart's results."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("configs", "datasets", "train.py", "evaluate.py"):
            (folder / name).symlink_to(ROOT / name)
        self.env = compiling_once(folder / "cache")

    def __call__(self, command: str) -> str:
        """Run a command of the page; its output."""
        program, *words = shlex.split(command)
        module = ["-m", "unires_jax.cli"] if program == "unires" else []
        tiny = TINY if "train.py" in words else []
        done = run(*module, *words, *tiny, cwd=self.folder, **self.env)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    (script,) = blocks("python")
    (tmp_path / "make_lines.py").write_text(script)
    return Clone(tmp_path)


def test_from_pictures_to_data(clone: Clone) -> None:
    (commands,) = blocks("sh")
    outputs = [clone(command) for command in commands.splitlines()[:3]]
    assert "Nothing is wrong." in outputs[1]
    data_dir = clone.folder / "data_mine"
    assert len(open_split("mres32m:train", data_dir)) == 40
    assert len(open_split("mres32m:val", data_dir)) == 10


@pytest.mark.slow
def test_from_pictures_to_a_model(clone: Clone) -> None:
    clone("unires build partworld --scenes 8 --eval_scenes 2")
    clone(
        "python train.py --config=configs/quickstart.py --workdir=runs/quickstart "
        "--config.train.eval_every=0"
    )
    (commands,) = blocks("sh")
    outputs = [clone(command) for command in commands.splitlines()]
    assert "mres32m:val" in outputs[-1]
    mine = clone.folder / "runs/mine"
    metrics = json.loads((mine / "evaluation/metrics.json").read_text())
    assert metrics["mres32m:val"]["pooled"]["mIoU"] is not None
    assert (mine / "evaluation/report.html").exists()
    config = json.loads((mine / "config.json").read_text())
    assert config["init_from"] == "runs/quickstart"
