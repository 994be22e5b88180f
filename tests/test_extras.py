"""What is imported when, what is declared, and what is said of what is missing."""

import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from helpers.paths import ROOT
from helpers.programs import compiling_once, run
from test_layering import FILES, imports

from unires_jax import extras

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
TRAINING = {"array_record", "grain", "optax", "tensorboardX", "tensorflow_datasets"}
MODEL = {"flax", "numba", "orbax", "scipy", "absl", "jinja2", "huggingface_hub"}
PICTURE = ROOT / "unires_jax" / "serving" / "page" / "examples" / "val_000001.jpg"
# Runs a command, then prints which modules are there.
COMMAND = """
import contextlib, sys
from unires_jax import cli
with contextlib.suppress(SystemExit):
    cli.main(sys.argv[2:])
print("imported:", *sorted(set(sys.argv[1].split(",")) & set(sys.modules)))
"""
# Runs a command where these modules are not installed.
WITHOUT = """
import sys
sys.modules.update(dict.fromkeys(sys.argv[1].split(",")))
from unires_jax import cli
sys.exit(cli.main(sys.argv[2:]))
"""


def imported(unwanted: set[str], *argv: object, **env: str) -> str:
    """Which of these modules a command imports, in words."""
    done = run("-c", COMMAND, ",".join(unwanted), *argv, **env)
    assert "imported:" in done.stdout, done.stderr
    return done.stdout.rpartition("imported:")[2].strip()


@pytest.mark.parametrize(
    "argv",
    [
        "--help",
        "predict --help",
        "demo --help",
        "build --help",
        "predict nothing.png x",
    ],
)
def test_help_and_refusals_import_nothing_heavy(argv: str) -> None:
    assert imported(TRAINING | MODEL | {"jax", "gradio"}, *argv.split()) == ""


def test_the_next_prediction_imports_no_flax(tmp_path: Path) -> None:
    """Neither what trains, nor numba and orbax; the bundled model's traces are kept."""
    argv = ("predict", PICTURE, "the car", "--out", tmp_path / "masks")
    env = compiling_once(tmp_path)
    assert "numba" not in imported(MODEL, *argv, **env)
    unwanted = TRAINING | MODEL - {"scipy"}  # jax's own, of exported programs
    assert imported(unwanted, *argv, **env) == ""


def test_loading_a_model_imports_neither_orbax_nor_what_trains() -> None:
    unwanted = (TRAINING | MODEL) - {"flax", "optax", "scipy"}
    code = "import sys, unires_jax; unires_jax.load(); print(*sys.modules)"
    # flax imports more of them than we do: what counts is what the others say.
    modules = set(run("-c", code).stdout.split())
    assert "jax" in modules
    assert not modules & (unwanted - {"absl", "orbax", "huggingface_hub"})


@pytest.mark.parametrize(
    "argv",
    [
        "build partworld --data_dir {}",
        "show partworld:train",
        "train --config=quickstart --workdir={}/run",
    ],
)
def test_a_missing_extra_is_told_in_a_line(argv: str, tmp_path: Path) -> None:
    argv = argv.format(tmp_path)
    done = run("-c", WITHOUT, ",".join(TRAINING - {"optax"}), *argv.split())
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ") and "pip install 'unires_jax[train]'" in line


def names(requirements: list[str]) -> set[str]:
    """The distributions of requirements, by their normal names."""
    heads = (re.match(r"[\w.-]+", text) for text in requirements)
    return {normal(head[0]) for head in heads if head}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_modules_of_extras_are_those_that_are_declared() -> None:
    homes = packages_distributions()
    brought = {"starlette": "fastapi"}  # by another of the extra
    for extra, modules in extras.MODULES.items():
        declared = names(EXTRAS[extra])
        for module in modules:
            homes_of = {normal(h) for h in homes.get(module, [])}
            homes_of |= {brought[module]} if module in brought else set()
            assert not homes_of or homes_of & declared, f"{module}: {homes_of}"


def test_all_that_is_imported_is_declared() -> None:
    """By the package, or by an extra that a missing module leads to."""
    homes, core = packages_distributions(), names(PROJECT["dependencies"])
    optional = {module for modules in extras.MODULES.values() for module in modules}
    # Of a library that is declared, and could not be without them.
    brought = {"jaxlib", "ml_dtypes", "google", "markupsafe", "scipy", "IPython"}
    brought |= {"kubernetes", "libtpu", "pydantic", "tensorstore", "torchvision"}
    for file in FILES:
        outside = {name.split(".")[0] for name in imports(file)}
        outside -= sys.stdlib_module_names | {"unires_jax"} | optional | brought
        for module in outside:
            where = f"{file.relative_to(ROOT)} imports {module}"
            assert core & {normal(h) for h in homes.get(module, [])}, where


@pytest.mark.parametrize(
    ("error", "extra"),
    [
        (ModuleNotFoundError("No module named 'grain'", name="grain"), "train"),
        (ModuleNotFoundError("no", name="fastapi.responses"), "serve"),
        (ModuleNotFoundError("No module named 'nothing'", name="nothing"), ""),
        (ImportError("cannot import name 'x' from 'grain'", name="grain"), ""),
        (ValueError("else"), ""),
    ],
)
def test_only_a_missing_library_of_ours_is_explained(
    error: Exception, extra: str
) -> None:
    told = extras.explain(error)
    assert (f"'unires_jax[{extra}]'" in str(told)) if extra else told is None
