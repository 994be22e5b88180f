"""Fixtures: a tiny model, a run that holds it, its exports."""

from pathlib import Path

import pytest

from helpers.exporting import HAS_ONNX, write_run
from helpers.predictors import Counting
from helpers.tiny import make_loaded, tiny_config
from unires_jax.export.command import KINDS, export
from unires_jax.inference.loaded import Loaded
from unires_jax.serving.predictor import Predictor


@pytest.fixture(scope="session")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    return make_loaded(tmp_path_factory.mktemp("tiny"), tiny_config())


@pytest.fixture(scope="session")
def predictor(loaded: Loaded) -> Predictor:
    return Predictor(loaded)


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory, loaded: Loaded) -> Path:
    """A workdir whose checkpoint holds `loaded` as its averaged weights."""
    return write_run(tmp_path_factory.mktemp("run"), loaded)


@pytest.fixture(scope="session")
def exports(tmp_path_factory: pytest.TempPathFactory, run: Path) -> Path:
    """An export of each kind that can be had here, in folders of their names."""
    folder = tmp_path_factory.mktemp("exports")
    for kind in KINDS if HAS_ONNX else KINDS.keys() - {"onnx"}:
        export(run, kind, folder / kind)
    return folder


@pytest.fixture
def counting(loaded: Loaded) -> Counting:
    return Counting(loaded)
