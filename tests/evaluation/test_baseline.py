"""Another model's masks: asked once a picture, scored as a checkpoint's are."""

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from helpers import programs, small_data
from helpers.coloured_boxes import COLOURS, make_record
from helpers.paths import ROOT

from unires_jax.data.prepared import PreparedSplit, open_split
from unires_jax.engine import backends
from unires_jax.evaluation import command, compare, predictions, protocols
from unires_jax.evaluation.protocols import NATIVE


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    small_data.write(folder, "boxes", val=[make_record(i) for i in range(4)])
    return folder


@pytest.fixture
def splits(data: Path) -> dict[str, PreparedSplit]:
    return {"boxes:val": open_split("boxes:val", data)}


class Colours:
    """A model that never errs; what it is asked is written down."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    def ground(self, image: np.ndarray, texts: Sequence[str]) -> list[np.ndarray]:
        self.calls.append(list(texts))
        at = {name: (image == rgb).all(-1) for name, rgb in COLOURS.items()}
        at["red"] = at["red"] | at["green"]  # the wheel is of the car
        nothing = np.zeros(image.shape[:2], bool)
        return [sum((at[c] for c in at if c in text), nothing) > 0 for text in texts]


@pytest.mark.parametrize("protocol", ["native", "rela", "lisa"])
def test_a_model_that_never_errs(
    splits: dict[str, PreparedSplit], tmp_path: Path, protocol: str
) -> None:
    model = Colours()
    subject = command.other_model(model.ground, {"name": "colours:1"})
    rules = protocols.get(protocol)
    metrics = command.run(subject, splits, tmp_path, protocol=rules)["boxes:val"]
    means = [metrics[level]["mIoU"] for level in ("object", "part", "pooled")]
    assert means == pytest.approx([1, 1, 1], abs=1e-5)  # lisa adds an epsilon
    assert metrics["no_target"] == {"N-acc": 1, "T-acc": 1} | metrics["no_target"]
    assert metrics["pooled"]["ceiling_mIoU"] is None  # no grid of ours
    assert metrics["about"]["input"] == "binary input"
    assert sorted(len(texts) for texts in model.calls) == [4, 4, 5, 5]
    page = (tmp_path / "report.html").read_text()
    assert "colours:1" in page and "<span>score " not in page  # of masks alone
    lines = (tmp_path / "predictions.jsonl").read_text().splitlines()
    answers = [json.loads(line) for line in lines]
    assert {x["no_target"] for x in answers} == {0.0, 1.0}
    assert not any("score" in x for x in answers)


def test_a_mask_of_another_size_is_refused(
    splits: dict[str, PreparedSplit], tmp_path: Path
) -> None:
    def ground(image: np.ndarray, texts: Sequence[str]) -> list[np.ndarray]:
        return [np.ones((9, 9), bool) for _ in texts]

    subject = command.other_model(ground, {"name": "small"})
    with pytest.raises(ValueError, match="original picture's size"):
        command.run(subject, splits, tmp_path)


def test_our_own_model_scores_as_its_run(
    run: Path, splits: dict[str, PreparedSplit], tmp_path: Path
) -> None:
    """N-acc and T-acc apart, which a run's own head decides."""
    model = backends.load(f"predictor:{run}", "grounder")
    subject = command.other_model(model.ground, {"name": "predictor"})
    theirs = command.run(subject, splits, tmp_path / "b")["boxes:val"]
    own = command.trained_model(run, "best", NATIVE)._replace(attend=None)
    ours = command.run(own, splits, tmp_path / "a")["boxes:val"]
    files = [predictions.read(tmp_path / name) for name in ("a", "b")]
    masks = [{key: line.mask for key, line in f.lines.items()} for f in files]
    assert masks[0] == masks[1]
    a, b = (compare.load(f, splits, NATIVE)["boxes:val"] for f in files)
    assert compare.differences(a, b)["mIoU"]["difference"] == 0
    for level in ("object", "part", "pooled"):
        for name in ("ceiling_mIoU", "ceiling_boundary_mIoU"):
            del ours[level][name], theirs[level][name]
        assert ours[level] == theirs[level]
    assert ours["by_size"] == theirs["by_size"] and ours["pooled"]["mIoU"] > 0.05


def start(*argv: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    env = {"XLA_FLAGS": "", "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    return programs.run(ROOT / "evaluate.py", *argv, cwd=cwd, **env)


def test_from_the_command_line(run: Path, data: Path, tmp_path: Path) -> None:
    common = (f"--data_dir={data}", "--splits=boxes:val")
    done = start(
        f"--baseline=predictor:{run}", "--protocol=lavt", *common, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert "boxes:val, protocol lavt, 4 pictures, binary input" in done.stdout
    out = tmp_path / "baselines" / f"predictor_{run.name}" / "evaluation_lavt"
    about = json.loads((out / "metrics.json").read_text())["boxes:val"]["about"]
    assert about["name"] == f"predictor:{run}" and len(about["checkpoint"]) == 12


def test_wrong_command_lines(run: Path, data: Path) -> None:
    common = (f"--data_dir={data}", "--splits=boxes:val")
    done = start("--baseline=sam9:x", *common)
    assert done.returncode == 2
    assert "no grounder" in done.stderr and "predictor" in done.stderr
    done = start("--baseline=predictor:", f"--workdir={run}")
    assert done.returncode == 1 and "leave out --workdir" in done.stderr
    done = start(f"--workdir={run}", "--device=cpu")
    assert done.returncode == 1 and "a --baseline's" in done.stderr
    assert "Traceback" not in done.stderr
