"""The folder of an evaluation is not another's."""

import json
from pathlib import Path
from typing import Any

import pytest

from unires_jax.errors import ConfigError
from unires_jax.evaluation import folder

ABOUT = {"name": "run", "step": 3, "checkpoint": "run/3", "protocol": "native"}
DATA = {"boxes:val": "0123"}
HOW = {"revision": "abc", "jax": "1"}


def write(out: Path, about: dict[str, Any] = ABOUT, data: dict[str, str] = DATA) -> Any:
    asked = folder.question(about, data, False)
    with folder.hold(out, asked, False):
        metrics = {n: {"about": {**about, **HOW, "data": d}} for n, d in data.items()}
        (out / "metrics.json").write_text(json.dumps(metrics))
        (out / "predictions.jsonl").write_text(about["protocol"])
    return asked


def test_the_same_question_may_be_asked_again(tmp_path: Path) -> None:
    assert write(tmp_path / "new" / "e") == write(tmp_path / "new" / "e")


@pytest.mark.parametrize(
    ("about", "data", "derange", "said"),
    [
        ({"protocol": "lavt"}, {}, False, "protocol native; now protocol lavt: name"),
        ({"step": 4}, {}, False, "step 3; now step 4"),
        ({"checkpoint": "other/3"}, {}, False, "checkpoint run/3"),
        ({"predictions": "a.jsonl"}, {}, False, "now predictions a.jsonl"),
        ({"images": 1}, {}, False, "images None; now images 1"),
        ({}, {"boxes:testA": "4"}, False, "splits boxes:val, data .* boxes:testA"),
        ({}, {"boxes:val": "9"}, False, "0123.*9"),
        ({}, {}, True, "derange False; now derange True"),
    ],
)
def test_another_question_is_refused(
    about: dict[str, Any],
    data: dict[str, str],
    derange: bool,
    said: str,
    tmp_path: Path,
) -> None:
    write(tmp_path)
    asked = folder.question(ABOUT | about, DATA | data, derange)
    refused = pytest.raises(ConfigError, match=f"{tmp_path}: holds another.*{said}")
    with refused, folder.hold(tmp_path, asked, False):
        raise AssertionError("it was let in")
    assert (tmp_path / "predictions.jsonl").read_text() == "native"
    with folder.hold(tmp_path, asked, True):
        pass


@pytest.mark.parametrize("name", ["predictions.jsonl", "report.html", "metrics.json"])
def test_files_of_others_are_kept(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("[]")
    refused = pytest.raises(ConfigError, match=f"holds a {name}.*--overwrite")
    with refused, folder.hold(tmp_path, folder.question(ABOUT, DATA, False), False):
        pass


def test_two_at_once(tmp_path: Path) -> None:
    asked = folder.question(ABOUT, DATA, False)
    with folder.hold(tmp_path / "e", asked, True):
        refused = pytest.raises(ConfigError, match="written by another evaluation")
        with refused, folder.hold(tmp_path / "e", asked, True):
            pass
    assert not (tmp_path / "e").exists()  # nothing was written


def test_another_comparison_is_refused(tmp_path: Path) -> None:
    about = {"protocol": "native", "a": "x", "b": "y"}
    asked = {**about, "splits": "boxes:val"}
    folder.require_free_comparison(tmp_path, asked, False)
    numbers = {"about": about, "splits": {"boxes:val": {}}}
    (tmp_path / "comparison.json").write_text(json.dumps(numbers))
    folder.require_free_comparison(tmp_path, asked, False)
    other = asked | {"b": "z"}
    with pytest.raises(ConfigError, match="with b y; now b z"):
        folder.require_free_comparison(tmp_path, other, False)
    folder.require_free_comparison(tmp_path, other, True)
    (tmp_path / "comparison.json").write_text("1")
    with pytest.raises(ConfigError, match="holds another"):
        folder.require_free_comparison(tmp_path, asked, False)
