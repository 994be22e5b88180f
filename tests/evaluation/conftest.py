"""Fixtures of the evaluation tests."""

import pytest
from helpers.coloured_boxes import (
    COLOURS,
    IMAGE_SIZE,
    Boxes,
    ColourSegmenter,
    make_record,
)

from unires_jax import config as configs
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
def config() -> configs.Config:
    made = configs.Config()
    made.model.image_size, made.model.mask_stride = IMAGE_SIZE, 4
    made.data.lengths = (4, 8)
    made.eval.batch, made.eval.expressions = 3, 5
    return made


@pytest.fixture(scope="session")
def segmenter(tokenizer: Tokenizer) -> ColourSegmenter:
    return ColourSegmenter(tokenizer)
