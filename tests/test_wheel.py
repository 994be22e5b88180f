"""What `pip install .` gives: the package alone, and a Predictor that works."""

import json
import os
import re
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import numpy as np
import pytest
from helpers.paths import ROOT
from PIL import Image

PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
USE = """
import sys, unires_jax
assert "jax" not in sys.modules  # importing it touches nothing
model = unires_jax.load()
for segment in model.segment(sys.argv[1], ["the car", "wheel of the car"]):
    assert segment.mask.shape == (90, 120), segment.mask.shape
print(unires_jax.__file__, "answers")
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of a copy of the sources, so that no build folder is left here."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    files = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True
    ).stdout.split("\0")
    for name in filter(None, files):
        if (ROOT / name).is_file() and not name.startswith("tests/"):
            target = source / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((ROOT / name).read_bytes())
    subprocess.run([*PIP, "wheel", "--no-deps", "-w", folder, source], check=True)
    return next(folder.glob("*.whl"))


def test_it_holds_the_package_alone(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"unires_jax"}
    required = {
        "unires_jax/py.typed",
        "unires_jax/serving/quickstart/model.safetensors",
        "unires_jax/serving/quickstart/tokenizer.json",
        "unires_jax/engine/vocabulary.json",
    }
    for folder in ("configs", "datasets"):
        files = (ROOT / "unires_jax" / folder).rglob("*.py")
        required |= {file.relative_to(ROOT).as_posix() for file in files}
    assert required <= set(names)
    sizes = {i.filename: i.file_size for i in zipfile.ZipFile(wheel).infolist()}
    assert sizes["unires_jax/serving/quickstart/model.safetensors"] <= 8_000_000


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That of an environment with the wheel and what it declares, no extra."""
    folder = tmp_path_factory.mktemp("core")
    return environment(folder, str(wheel))


def environment(folder: Path, *packages: str) -> Path:
    """The Python of a new environment that holds these, in the tested versions."""
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / "bin" / "python"
    constraints = ROOT / "constraints" / "{}.{}.txt".format(*sys.version_info)
    install = ["-m", "pip", "install", "--quiet", "-c", constraints, *packages]
    subprocess.run([python, *install], check=True, cwd=folder)
    return python


def clean() -> dict[str, str]:
    """The environment without what tests need of it."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "XLA"))}


def picture_in(folder: Path) -> Path:
    picture = folder / "picture.png"
    Image.fromarray(np.full((90, 120, 3), 90, np.uint8)).save(picture)
    return picture


def test_it_answers_in_an_empty_environment(python: Path, tmp_path: Path) -> None:
    picture = picture_in(tmp_path)
    for command in (["-c", USE, picture], ["-m", "unires_jax.cli", "--version"]):
        done = subprocess.run(
            [python, *command],
            cwd=tmp_path,
            env=clean(),
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
    argv = ["predict", str(picture), "the car", "--out", str(tmp_path / "masks")]
    subprocess.run([python.with_name("unires"), *argv], check=True, env=clean())
    assert (tmp_path / "masks" / "picture.png.json").is_file()


def needed() -> dict[str, list[str]]:
    """What docs/export.md says that run.py of each kind needs."""
    page = (ROOT / "docs" / "export.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \|[^|]*\| ([^|]*) \|$", page, re.MULTILINE)
    (common,) = re.findall(r"run\.py` further needs ([^.]*)\.", page)
    names = common.replace(" and ", ", ").split(", ")
    return {kind: [*names, *packages.split(", ")] for kind, packages in rows}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["safetensors", "orbax", "stablehlo"])
def test_it_exports_and_the_export_runs_as_documented(
    kind: str, python: Path, tmp_path: Path
) -> None:
    """Exported without an extra; run with what docs/export.md lists, and no more."""
    model = ROOT / "unires_jax" / "serving" / "quickstart"
    argv = ["export", "--checkpoint", model, "--to", kind, "--out", tmp_path / "out"]
    subprocess.run([python.with_name("unires"), *argv], check=True, env=clean())
    alone = environment(tmp_path / "alone", *needed()[kind])
    done = subprocess.run(
        [alone, tmp_path / "out" / "run.py", picture_in(tmp_path), "the car"],
        cwd=tmp_path,
        env=clean() | {"JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "mask_0.png").is_file()


@pytest.mark.slow
def test_what_an_extra_brings_is_asked_for(python: Path, tmp_path: Path) -> None:
    model = str(ROOT / "unires_jax" / "serving" / "quickstart")
    export = ["export", "--checkpoint", model, "--to", "onnx", "--out", "x"]
    for argv, extra in ((export, "export"), (["demo", "--port", "0"], "demo")):
        done = subprocess.run(
            [python.with_name("unires"), *argv],
            cwd=tmp_path,
            env=clean(),
            capture_output=True,
            text=True,
        )
        assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
        assert f"unires_jax[{extra}]" in done.stderr


@pytest.mark.slow
def test_it_builds_trains_and_scores_from_any_folder(
    python: Path, tmp_path: Path
) -> None:
    """With the package's own configs and builders; a foreign `datasets` is there."""
    (tmp_path / "datasets" / "partworld").mkdir(parents=True)
    small = ["--scenes", "16", "--eval_scenes", "8"]
    train = ["train", "--config=quickstart", "--workdir=run", "--config.train.steps=2"]
    settings = {"batch": 4, "eval_every": 0, "checkpoint_every": 2, "picture_every": 0}
    train += [f"--config.train.{name}={value}" for name, value in settings.items()]
    score = ["evaluate", "--workdir=run", "--splits=partworld:val"]
    for argv in (["build", "partworld", *small], train, score):
        done = subprocess.run(
            [python.with_name("unires"), *argv],
            cwd=tmp_path,
            env=clean() | {"JAX_PLATFORMS": "cpu"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
    metrics = json.loads((tmp_path / "run" / "evaluation" / "metrics.json").read_text())
    assert metrics["partworld:val"]["about"]["step"] == 2
