"""What `pip install .` gives, and each extra: environments as they are documented."""

import contextlib
import json
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
import venv
import zipfile
from pathlib import Path

import numpy as np
import pytest
from helpers.paths import ROOT
from helpers.programs import free_port
from PIL import Image

from unires_jax.cli import COMMANDS

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
        "unires_jax/serving/bundled/model.safetensors",
        "unires_jax/serving/bundled/tokenizer.json",
        "unires_jax/engine/vocabulary.json",
    }
    for folder in ("configs", "datasets"):
        files = (ROOT / "unires_jax" / folder).rglob("*.py")
        required |= {file.relative_to(ROOT).as_posix() for file in files}
    assert required <= set(names)
    sizes = {i.filename: i.file_size for i in zipfile.ZipFile(wheel).infolist()}
    assert sizes["unires_jax/serving/bundled/model.safetensors"] <= 8_000_000


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That of an environment with the wheel and what it declares, no extra."""
    return environment(tmp_path_factory.mktemp("core"), str(wheel))


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
    env = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "XLA"))}
    return env | {"JAX_PLATFORMS": "cpu", "HF_HUB_OFFLINE": "1"}


def picture_in(folder: Path) -> Path:
    picture = folder / "picture.png"
    Image.fromarray(np.full((90, 120, 3), 90, np.uint8)).save(picture)
    return picture


def run(*argv: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """A program of an environment, to its end, however it ends."""
    return subprocess.run(
        [*map(str, argv)], cwd=cwd, env=clean(), capture_output=True, text=True
    )


def succeed(*argv: object, cwd: Path) -> str:
    """What a program prints, which must not fail."""
    done = run(*argv, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_it_answers_in_an_empty_environment(python: Path, tmp_path: Path) -> None:
    picture = picture_in(tmp_path)
    succeed(python, "-c", USE, picture, cwd=tmp_path)
    unires = python.with_name("unires")
    assert succeed(unires, "--version", cwd=tmp_path).startswith("unires_jax ")
    succeed(unires, "predict", picture, "the car", "--out", "masks", cwd=tmp_path)
    assert (tmp_path / "masks" / "picture.png.json").is_file()


MISSING = [
    ("build partworld", "train"),
    ("train --config=quickstart --workdir=run", "train"),
    ("evaluate --checkpoint=bundled --splits=partworld:val", "train"),
    ("show partworld:train", "train"),
    ("demo --port 0", "demo"),
    ("serve --port 0", "serve"),
    ("export --to onnx --checkpoint bundled --out x", "export"),
]


@pytest.mark.slow
def test_what_an_extra_brings_is_asked_for(python: Path, tmp_path: Path) -> None:
    """In one line, which pip understands though the package is on no index."""
    (tmp_path / "data" / "partworld").mkdir(parents=True)
    for words, extra in MISSING:
        if words.split()[0] not in COMMANDS:
            continue
        done = run(python.with_name("unires"), *words.split(), cwd=tmp_path)
        assert done.returncode == 1, words
        line = done.stderr.splitlines()[-1]
        assert line.startswith("error: "), done.stderr
        assert f"pip install 'unires_jax[{extra}]'" in line, done.stderr


@pytest.mark.slow
def test_it_imports_masks_and_looks_at_them(python: Path, tmp_path: Path) -> None:
    unires, picture = python.with_name("unires"), picture_in(tmp_path)
    outline = {"label": "car", "shape_type": "polygon", "group_id": None, "flags": {}}
    outline["points"] = [[10, 10], [60, 10], [60, 50], [10, 50]]
    size = {"imageHeight": 90, "imageWidth": 120, "imagePath": picture.name}
    shapes = tmp_path / "picture.json"
    shapes.write_text(json.dumps({"version": "5", "shapes": [outline], **size}))
    argv = ["--form", "labelme", shapes, "--pictures", tmp_path, "--out", "mine"]
    succeed(unires, "import", *argv, cwd=tmp_path)
    assert "train" in succeed(unires, "doctor", "mine", cwd=tmp_path)


def needed() -> dict[str, list[str]]:
    """What docs/export.md says that run.py of each kind needs."""
    page = (ROOT / "docs" / "export.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \|[^|]*\| ([^|]*) \|$", page, re.MULTILINE)
    (common,) = re.findall(r"run\.py` further needs ([^.]*)\.", page)
    names = common.replace(" and ", ", ").split(", ")
    return {kind: [*names, *packages.split(", ")] for kind, packages in rows}


def check_runs(folder: Path, kind: str) -> None:
    """An export's run.py, with what docs/export.md lists for its kind and no more."""
    alone = environment(folder / "alone", *needed()[kind])
    picture = picture_in(folder)
    succeed(alone, folder / "out" / "run.py", picture, "the car", cwd=folder)
    assert (folder / "mask_0.png").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["safetensors", "orbax", "stablehlo"])
def test_it_exports_and_the_export_runs_as_documented(
    kind: str, python: Path, tmp_path: Path
) -> None:
    argv = ["--checkpoint", "bundled", "--to", kind, "--out", tmp_path / "out"]
    succeed(python.with_name("unires"), "export", *argv, cwd=tmp_path)
    check_runs(tmp_path, kind)


@pytest.mark.slow
@pytest.mark.skipif(sys.version_info >= (3, 13), reason="jax2onnx takes jax below 0.12")
def test_the_extra_export_writes_onnx(wheel: Path, tmp_path: Path) -> None:
    python = environment(tmp_path / "exporting", f"{wheel}[export]")
    argv = ["--checkpoint", "bundled", "--to", "onnx", "--out", tmp_path / "out"]
    succeed(python.with_name("unires"), "export", *argv, cwd=tmp_path)
    check_runs(tmp_path, "onnx")


@pytest.mark.slow
def test_the_extra_train_builds_trains_and_scores_from_any_folder(
    wheel: Path, tmp_path: Path
) -> None:
    """With the package's own configs and builders; a foreign `datasets` is there."""
    python = environment(tmp_path / "training", f"{wheel}[train]")
    (tmp_path / "datasets" / "partworld").mkdir(parents=True)
    small = ["--scenes", "16", "--eval_scenes", "8"]
    train = ["train", "--config=quickstart", "--workdir=run", "--config.train.steps=2"]
    settings = {"batch": 4, "eval_every": 0, "checkpoint_every": 2, "picture_every": 0}
    train += [f"--config.train.{name}={value}" for name, value in settings.items()]
    score = ["evaluate", "--workdir=run", "--splits=partworld:val"]
    for argv in (["build", "partworld", *small], train, score):
        succeed(python.with_name("unires"), *argv, cwd=tmp_path)
    metrics = json.loads((tmp_path / "run" / "evaluation" / "metrics.json").read_text())
    assert metrics["partworld:val"]["about"]["step"] == 2


@pytest.fixture(scope="module")
def serving(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment for those who answer others."""
    return environment(tmp_path_factory.mktemp("serving"), f"{wheel}[demo,serve]")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "page"),
    [
        ("demo", "/"),
        pytest.param(
            *("serve", "/v1/health"),
            marks=pytest.mark.skipif("serve" not in COMMANDS, reason="no such command"),
        ),
    ],
)
def test_the_extras_demo_and_serve_answer(
    command: str, page: str, serving: Path, tmp_path: Path
) -> None:
    port = free_port()
    argv = [serving.with_name("unires"), command, "--port", str(port)]
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen(
            argv, cwd=tmp_path, env=clean(), stdout=log, stderr=subprocess.STDOUT
        )
    try:
        assert answers(f"http://127.0.0.1:{port}{page}", server) == 200
    except AssertionError:
        pytest.fail((tmp_path / "log").read_text())
    finally:
        server.terminate()
        server.wait(60)


def answers(address: str, server: subprocess.Popen[bytes], seconds: int = 300) -> int:
    """The status of a page, once the server has started."""
    end = time.monotonic() + seconds
    while server.poll() is None and time.monotonic() < end:
        with contextlib.suppress(urllib.error.URLError, ConnectionError):
            return int(urllib.request.urlopen(address, timeout=30).status)
        time.sleep(0.5)
    return 0
