"""Fixtures of the evaluation tests."""

import pytest
from helpers.coloured_boxes import (
    COLOURS,
    IMAGE_SIZE,
    Boxes,
    ColourSegmenter,
    make_record,
)
from helpers.tiny import tiny_config

from unires_jax.config import Config
from unires_jax.data.tokenizer import Tokenizer, train_bpe


@pytest.fixture(scope="session")
def boxes() -> Boxes:
    """Seven pictures of different sizes: a red object with a green part, a blue one."""
    return Boxes(make_record(i) for i in range(7))


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    return train_bpe(list(COLOURS), path, vocab_size=600)


@pytest.fixture
def config() -> Config:
    evaluation = {"eval__batch": 3, "eval__expressions": 5}
    return tiny_config(model__image_size=IMAGE_SIZE, data__lengths=(4, 8), **evaluation)


@pytest.fixture(scope="session")
def segmenter(tokenizer: Tokenizer) -> ColourSegmenter:
    return ColourSegmenter(tokenizer)
