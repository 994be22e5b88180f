"""The worked example of docs/mres_jsonl.md: its commands, on a tiny model."""

import json
from pathlib import Path

import pytest
from helpers import worked_example
from helpers.paths import ROOT
from helpers.worked_example import Clone

from unires_jax.data.prepared import open_split
from unires_jax.prepare.mres.line import parse

PAGE = (ROOT / "docs" / "mres_jsonl.md").read_text()


def blocks(language: str) -> list[str]:
    """The code blocks of a language on the page."""
    return worked_example.blocks(PAGE, language)


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
    clone.quickstart()
    (commands,) = blocks("sh")
    outputs = [clone(command) for command in commands.splitlines()]
    assert "mres32m:val" in outputs[-1]
    mine = clone.folder / "runs/mine"
    metrics = json.loads((mine / "evaluation/metrics.json").read_text())
    assert metrics["mres32m:val"]["pooled"]["mIoU"] is not None
    assert (mine / "evaluation/report.html").exists()
    config = json.loads((mine / "config.json").read_text())
    assert config["init_from"] == "runs/quickstart"
