"""Arrows point one way: read off our own import statements."""

import ast
import sys
import tomllib
from pathlib import Path

import pytest
from helpers.paths import ROOT
from helpers.programs import run

import unires_jax

PACKAGE = ROOT / "unires_jax"

# What a room (a folder, or a file beside them) may import of the package. Rooms that
# are not here stand above all others: app, cli.
_BASE = {"config", "disk", "documents", "errors", "extras", "files", "limits"}
_BASE |= {"pages", "process", "terminal", "texts"}
_DATA = _BASE | {"pixels", "data"}
MAY_IMPORT = {
    "errors": set(),
    "limits": set(),
    "files": {"errors", "limits"},
    "documents": {"errors", "files", "limits"},
    "texts": {"errors", "files", "limits"},
    "pages": {"errors"},
    "process": set(),
    "settings_help": set(),
    "terminal": {"errors"},
    "disk": {"errors"},
    "extras": {"errors"},
    "config": {"errors", "limits"},
    "cluster": {"errors"},
    "ending": set(),
    "lock": {"errors", "files"},
    "hosts": {"cluster", "ending", "errors"},
    "watch": {"ending", "hosts"},
    "parameters": {"errors"},
    "pixels": {"errors", "limits", "pixels"},
    "data": _DATA,
    "prepare": _DATA | {"lock", "settings_help", "prepare"},
    "partworld": _DATA | {"partworld"},
    "engine": _DATA | {"prepare", "settings_help", "engine"},
    "mesh": {"config", "errors", "hosts"},
    "models": {
        *("config", "documents", "errors", "files", "limits", "mesh", "parameters"),
        "models",
    },
    "orbax_s3": set(),
    "checkpoint": {
        *("config", "documents", "errors", "files", "hosts", "limits", "orbax_s3"),
        "parameters",
    },
}
_MODEL = _DATA | {"hosts", "mesh", "models", "parameters", "checkpoint"}
MAY_IMPORT["training"] = _MODEL | {"ending", "inference", "training"}
MAY_IMPORT["inference"] = _MODEL | {"inference"}
for above in ("evaluation", "serving", "export"):
    MAY_IMPORT[above] = _MODEL | {"inference", "lock", above}
MAY_IMPORT["aot"] = _MODEL | {"inference", "training", "aot"}
MAY_IMPORT["configs"] = {"config", "data", "engine"}
MAY_IMPORT["datasets"] = _DATA | {"partworld", "prepare"}
ABOVE = {"app", "cli", "scripts", "__init__"}
# Of single files, beside what their room may.
ALSO = {"engine/backends/predictor.py": {"checkpoint", "inference", "serving"}}

# Libraries that only some files may import.
ONLY_IN = {
    "orbax": ("checkpoint.py", "orbax_s3.py"),
    "flax": ("models/", "training/train_step.py"),
    "numba": ("pixels/",),
    "pycocotools": ("pixels/",),
}
# Names that only some files may hold.
NAMES_IN = {
    "multihost_utils": ("hosts.py",),
    "process_index": ("hosts.py",),
    "process_count": ("hosts.py",),
    "PartitionSpec": ("mesh.py",),
    '"fsdp"': ("mesh.py",),
    '"counts":': ("pixels/masks.py",),
}
WITHOUT_JAX = ("pixels", "data", "prepare", "partworld", "engine")
TORCH = {"torch", "transformers"}
WITH_TORCH = "engine/backends/"  # imported when a model is loaded
STANDARD_LIBRARY_ONLY = ("cluster", "config", "ending", "errors", "limits")
JAX = {"jax", "flax", "optax", "orbax", "torch", "transformers"}


def imports(path: Path) -> set[str]:
    """Modules named by the import statements of a file, lazy ones included."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{a.name}" for a in node.names)}
    return names


def faults(name: str, names: set[str], text: str = "") -> list[str]:
    """What a file of this name (within the package) must not import or hold."""
    room = name.split("/")[0].removesuffix(".py")
    if room not in MAY_IMPORT and room not in ABOVE:
        return [f"{name}: the room {room} is not in MAY_IMPORT"]
    ours = {m.split(".")[1] for m in names if m.startswith("unires_jax.")}
    outside = {m.split(".")[0] for m in names}
    may = MAY_IMPORT.get(room, ours) | ALSO.get(name, set())
    wrong = [f"{name} imports {m}" for m in sorted(ours - may - {"__version__"})]
    for library, homes in ONLY_IN.items():
        if library in outside and not name.startswith(homes):
            wrong.append(f"{name} imports {library}")
    for word, homes in NAMES_IN.items():
        if word in text and not name.startswith(homes):
            wrong.append(f"{name} holds {word}")
    heavy = outside & (JAX - TORCH if name.startswith(WITH_TORCH) else JAX)
    if room in WITHOUT_JAX and heavy:
        wrong.append(f"{name} imports {sorted(heavy)}")
    foreign = outside - sys.stdlib_module_names - {"unires_jax"}
    if room in STANDARD_LIBRARY_ONLY and foreign:
        wrong.append(f"{name} imports more than the standard library")
    return wrong


# Not imported: scripts of exports, which run where the package is not installed.
SCRIPTS = ("templates", "bundled")
FILES = sorted(p for p in PACKAGE.rglob("*.py") if p.parent.name not in SCRIPTS)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_arrows(path: Path) -> None:
    name = path.relative_to(PACKAGE).as_posix()
    wrong = faults(name, imports(path), path.read_text())
    assert not wrong, wrong


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("serving/predictor.py", "unires_jax.evaluation.metrics"),
        ("evaluation/compare.py", "unires_jax.serving.predictor"),
        ("export/graphs.py", "unires_jax.serving"),
        ("inference/model.py", "unires_jax.training.start"),
        ("pixels/masks.py", "unires_jax.data.records"),
        ("engine/plan.py", "unires_jax.partworld"),
        ("partworld/world.py", "unires_jax.engine"),
        ("prepare/sources/coco.py", "unires_jax.models.unires"),
        ("evaluation/metrics.py", "pycocotools.mask"),
        ("evaluation/metrics.py", "numba"),
        ("training/trainer.py", "orbax.checkpoint"),
        ("data/pipeline.py", "jax.numpy"),
        ("training/recipe.py", "unires_jax.aot.steps"),
        ("config.py", "numpy"),
        ("engine/scores.py", "torch"),
        ("engine/backends/clip.py", "jax"),
        ("cellar/wine.py", "json"),
    ],
)
def test_a_planted_import_is_a_fault(name: str, wrong: str) -> None:
    assert faults(name, {wrong})


@pytest.mark.parametrize("word", NAMES_IN)
def test_a_planted_name_is_a_fault(word: str) -> None:
    assert faults("evaluation/command.py", set(), f"x = {word}")


def test_the_version_is_stated_once() -> None:
    stated = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert unires_jax.__version__ == stated
    assert not [path for path in FILES if f'"{stated}"' in path.read_text()]
    assert f"\nversion: {stated}\n" in (ROOT / "CITATION.cff").read_text()


def test_importing_the_package_imports_little() -> None:
    heavy = ("jax", "flax", "numpy", "tensorflow_datasets", "grain", "orbax")
    code = f"import sys, unires_jax; print([m for m in {heavy} if m in sys.modules])"
    assert run("-c", code).stdout.strip() == "[]"
