"""What `pip install .` gives: the package alone, and a Predictor that works."""

import os
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
    }
    assert required <= set(names)
    sizes = {i.filename: i.file_size for i in zipfile.ZipFile(wheel).infolist()}
    assert sizes["unires_jax/serving/quickstart/model.safetensors"] <= 8_000_000


def test_it_answers_in_an_empty_environment(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    constraints = ROOT / "constraints" / "{}.{}.txt".format(*sys.version_info)
    install = ["-m", "pip", "install", "--quiet", "-c", constraints, wheel]
    subprocess.run([python, *install], check=True, cwd=tmp_path)
    picture = tmp_path / "picture.png"
    Image.fromarray(np.full((90, 120, 3), 90, np.uint8)).save(picture)
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "XLA"))}
    for command in (["-c", USE, picture], ["-m", "unires_jax.cli", "--version"]):
        done = subprocess.run(
            [python, *command], cwd=tmp_path, env=clean, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
    argv = ["predict", str(picture), "the car", "--out", str(tmp_path / "masks")]
    subprocess.run([tmp_path / "venv" / "bin" / "unires", *argv], check=True, env=clean)
    assert (tmp_path / "masks" / "picture.png.json").is_file()
