"""Shared set-up: eight fake devices, and shapes checked at every annotated function."""

import os

import pytest

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["XLA_FLAGS"] = " ".join(
    [
        os.environ.get("XLA_FLAGS", ""),
        "--xla_force_host_platform_device_count=8",
        # Compiling is most of the suite's time; this saves a third of it.
        "--xla_backend_optimization_level=0",
    ]
)

from jaxtyping import install_import_hook

install_import_hook("unires_jax", "beartype.beartype")

# Imported after the hook.
pytest_plugins = ["helpers.trained", "helpers.buckets", "helpers.tiny_models"]


def pytest_configure(config: pytest.Config) -> None:
    """Of gradio (6.31) alone: from Python 3.14 on, that call warns."""
    silent = "ignore:'asyncio.iscoroutinefunction':DeprecationWarning:gradio.utils"
    config.addinivalue_line("filterwarnings", silent)
