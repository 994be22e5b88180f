"""Fixtures of the serving tests."""

import pytest
from tiny_model import Counting, make_loaded, tiny_config

from unires_jax.evaluation.segmenter import Loaded
from unires_jax.serving.predictor import Predictor


@pytest.fixture(scope="session")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    return make_loaded(tmp_path_factory.mktemp("tiny"), tiny_config())


@pytest.fixture(scope="session")
def predictor(loaded: Loaded) -> Predictor:
    return Predictor(loaded)


@pytest.fixture
def counting(loaded: Loaded) -> Counting:
    return Counting(loaded)
