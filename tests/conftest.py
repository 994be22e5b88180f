"""Shared set-up: eight fake devices, and shapes checked at every annotated function."""

import collections
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from jaxtyping import install_import_hook  # does not import jax

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["XLA_FLAGS"] = " ".join(
    [
        os.environ.get("XLA_FLAGS", ""),
        "--xla_force_host_platform_device_count=8",
        # Compiling is most of the suite's time; this saves a third of it.
        "--xla_backend_optimization_level=0",
    ]
)

# What one process of the suite has compiled, the others read: a quarter less to do.
PROGRAMS = None
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    PROGRAMS = tempfile.mkdtemp(prefix="unires-programs-")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = PROGRAMS
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.1"

install_import_hook("unires_jax", "beartype.beartype")

# Imported after the hook.
pytest_plugins = ["helpers.trained", "helpers.buckets", "helpers.tiny_models"]


def pytest_configure(config: pytest.Config) -> None:
    """Of gradio (6.31) alone: from Python 3.14 on, that call warns."""
    silent = "ignore:'asyncio.iscoroutinefunction':DeprecationWarning:gradio.utils"
    config.addinivalue_line("filterwarnings", silent)


# The files that take longest, first: one that is begun last is waited for alone.
LONGEST = (
    "test_export.py",
    "test_train_step.py",
    "test_unires.py",
    "test_demo_browser.py",
    "test_trainer.py",
    "test_predictor.py",
    "test_demo.py",
    "test_command.py",
    "test_configs.py",
    "test_resume.py",
    "test_attention.py",
    "test_processes.py",
    "test_baseline.py",
    "test_notebook.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """File by file: LONGEST, then those with the most tests."""
    tests = collections.Counter(item.path for item in items)

    def place(item: pytest.Item) -> tuple[int, int, Path]:
        name, rest = item.path.name, len(LONGEST)
        rank = LONGEST.index(name) if name in LONGEST else rest
        return rank, -tests[item.path], item.path

    items.sort(key=place)


def pytest_unconfigure() -> None:
    """Remove them; the workers inherit the folder and own none."""
    if PROGRAMS:
        shutil.rmtree(PROGRAMS, ignore_errors=True)
