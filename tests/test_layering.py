"""Arrows point one way: read off our own import statements."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "unires_jax"

# What a folder (or file) of the package may import of the package.
MAY_IMPORT = {
    "config": set(),
    "data": {"config", "data"},
    "mesh": {"config"},
    "models": {"config", "mesh", "models"},
    "training": {"config", "data", "mesh", "models", "training"},
    "evaluation": {"config", "data", "mesh", "models", "training", "evaluation"},
    "serving": {
        *("config", "data", "mesh", "models", "training", "evaluation", "serving"),
    },
}
# Libraries that only some files may import.
ONLY_IN = {
    "orbax": ("training/checkpoint.py",),
    "flax": ("models/", "training/train_step.py"),
}
NOT_IN_DATA = {"jax", "flax", "optax", "orbax", "torch", "transformers"}


def imports(path: Path) -> set[str]:
    """Modules named by the import statements of a file, lazy ones included."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{a.name}" for a in node.names)}
    return found


# Not imported: scripts of exports, which run where the package is not installed.
SCRIPTS = ("templates", "quickstart")
FILES = sorted(p for p in PACKAGE.rglob("*.py") if p.parent.name not in SCRIPTS)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_arrows(path: Path) -> None:
    name = str(path.relative_to(PACKAGE))
    layer = name.split("/")[0].removesuffix(".py")
    found = imports(path)
    ours = {m.split(".")[1] for m in found if m.startswith("unires_jax.")}
    if layer in MAY_IMPORT:
        allowed = MAY_IMPORT[layer] | {"__version__"}
        assert ours <= allowed, f"{name} imports {ours - allowed}"
    outside = {m.split(".")[0] for m in found}
    for library, homes in ONLY_IN.items():
        if library in outside:
            assert name.startswith(homes), f"{name} imports {library}"
    if layer == "data":
        assert not outside & NOT_IN_DATA, name
    if layer == "config":
        assert outside <= sys.stdlib_module_names, name


def test_mesh_axes_are_named_in_one_file() -> None:
    for path in FILES:
        if path != PACKAGE / "mesh.py":
            text = path.read_text()
            assert '"fsdp"' not in text and "PartitionSpec" not in text, path


def test_importing_the_package_imports_little() -> None:
    heavy = ("jax", "flax", "numpy", "tensorflow_datasets", "grain", "orbax")
    code = f"import sys, unires_jax; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
