"""Sentences that are cut for certain, counted without a tokenizer."""

import pytest
from helpers.small_data import mask_of, rectangle

from unires_jax.data.records import Expression, Record
from unires_jax.data.sentence_length import READ, count_cut, tokens_at_least, told
from unires_jax.data.tokenizer import Tokenizer, train_bpe
from unires_jax.prepare.doctor.checks import Findings, SplitCheck

SENTENCES = [
    "the dog's 12 red-brown legs",
    "it's a cup_holder, isn't it?!",
    "don't  \t move",
    "ÄÖ ü 3½ ...",
    "snow ❄️ and 日本語",
]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    """One that has merged these very sentences: nothing has fewer tokens."""
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    return train_bpe(SENTENCES * 50, path, vocab_size=2000)


@pytest.mark.parametrize("sentence", SENTENCES)
def test_a_count_is_a_lower_bound(sentence: str, tokenizer: Tokenizer) -> None:
    (ids,) = tokenizer.ids([sentence])
    assert len(sentence.split()) <= tokens_at_least(sentence) <= len(ids)


def test_long_ones_are_counted_and_named() -> None:
    mask = mask_of(rectangle((20, 30), 2, 2, 8, 8), 1)
    texts = ["dog " * READ, "dog " * (READ + 1), "dog's " * (READ // 2 + 1)]
    expressions = tuple(
        Expression(1, i, text, text.strip(), 0, (0,)) for i, text in enumerate(texts)
    )
    record = Record(b"", 1, 20, 30, (mask,), expressions)
    assert count_cut(record) == 2 and "2 sentences" in told(2)
    findings = Findings()
    SplitCheck(findings, "mine/train").add(record)
    (long,) = [f for f in findings.list() if f.kind == "sentence long"]
    assert (long.severity, long.count) == ("warning", 2)
    assert "sentence 1 has 76 tokens or more, and CLIP reads 75" in long.examples[0]
