"""Tokens by SigLIP 2's rules: no start, EOS, pads of their own, pieces across words."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from helpers import small_data
from helpers.gemma_like import SPACE, write_tokenizer
from helpers.tiny import data_config

from unires_jax.config import BACKBONES
from unires_jax.data.sampling import Sampler
from unires_jax.data.tokenizer import CLIP, Tokenizer, load_tokenizer, train_bpe
from unires_jax.errors import DataError

RULES = BACKBONES["siglip2"].text
CAPTIONS = ["the red dog on the left", "wheels of the big truck", "the dog's head"] * 4
LENGTHS = (8, 16, 24)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tokenizer(tmp_path_factory.mktemp("tokenizer"), CAPTIONS, 330)


@pytest.fixture
def tokenizer(file: Path) -> Tokenizer:
    return load_tokenizer(file, RULES)


def test_words_then_eos_then_pads(tokenizer: Tokenizer) -> None:
    sentences = ["the dog", "  The   DOG ", "the red dog on the left"]
    tokens, lengths = tokenizer.encode(sentences, 24, LENGTHS)
    assert tokens.dtype == lengths.dtype == np.int32 and tokens.shape[1] in LENGTHS
    for row, length, ids in zip(tokens, lengths, tokenizer.ids(sentences), strict=True):
        assert row.tolist() == [*ids, 1] + [0] * (len(row) - length)
        assert length == len(ids) + 1 and not {0, 1, 2} & set(ids)
    assert tokenizer.ids(["The DOG"]) == tokenizer.ids(["the dog"])


def test_a_sentence_is_never_split_at_its_words(tokenizer: Tokenizer) -> None:
    """Pieces cross spaces here: kept ids of single words would be others."""
    ids = tokenizer.ids(["the red dog on the left"])[0]
    pieces = [str(tokenizer._inner.id_to_token(i)) for i in ids]
    assert "".join(pieces).replace(SPACE, " ") == "the red dog on the left"
    assert any(SPACE in piece.strip(SPACE) for piece in pieces)


def test_truncation_keeps_eos(tokenizer: Tokenizer) -> None:
    tokens, lengths = tokenizer.encode(["truck wheels " * 40, "dog"], 64, LENGTHS)
    assert tokens.shape == (2, 24) and lengths[0] == 24
    assert tokens[0, 23] == 1 and 1 not in tokens[0, :23]
    assert tokens[0, :23].tolist() == tokenizer.ids(["truck wheels " * 40])[0][:23]
    assert tokenizer.truncated == 1


def test_letters_never_seen_fall_to_bytes(tokenizer: Tokenizer) -> None:
    unknown = json.loads(tokenizer.to_json())["model"]["vocab"]["<unk>"]
    for ids in tokenizer.ids(["zebra", "\u72d7 \u00e9migr\u00e9", "#42 & \u00bd!"]):
        assert ids and unknown not in ids
    tokens, lengths = tokenizer.encode(["A zebra \u72d7"], 64, (64,))
    assert tokenizer.decode(tokens[0, : lengths[0]]) == "a zebra \u72d7"


def test_texts_show_spaces_as_such(tokenizer: Tokenizer) -> None:
    tokens, lengths = tokenizer.encode(["the dog"], 24, LENGTHS)
    texts = tokenizer.texts(tokens[0, : lengths[0]])
    assert texts[-1] == "end" and "start" not in texts
    assert "".join(texts[:-1]).replace(" ", "") == "thedog"


def test_pickles_keep_the_rules(tokenizer: Tokenizer) -> None:
    copied = pickle.loads(pickle.dumps(tokenizer))
    assert copied.rules == RULES and copied.sos is None
    assert copied.ids(["zebra's wheels"]) == tokenizer.ids(["zebra's wheels"])


def test_another_backbones_file_is_refused(file: Path, tmp_path: Path) -> None:
    train_bpe(CAPTIONS, tmp_path / "tokenizer.json", 560)
    with pytest.raises(DataError, match=r"no token '<eos>'.*model's backbone"):
        load_tokenizer(tmp_path, RULES)
    with pytest.raises(DataError, match="startoftext"):
        load_tokenizer(file, CLIP)


def test_blank_rows_hold_eos_alone(tokenizer: Tokenizer) -> None:
    config = data_config("unused", data__expressions=8, data__flip=0.0, data__crop=0.0)
    config.model.backbone = "siglip2"
    record = small_data.scene(0, pairs=2)  # four referents
    batch, _ = Sampler(config, tokenizer, 32)([(record, 0)])
    assert batch.valid[0].sum() == 4 and (batch.lengths[0, 4:] == 1).all()
    assert (batch.tokens[0, 4:, 0] == 1).all() and not batch.tokens[0, 4:, 1:].any()
    padding = batch.images[0, batch.extent[0, 0] :]
    assert padding.size and (padding == 128).all()


def test_equal_to_transformers(file: Path, tmp_path: Path) -> None:
    """A file saved by transformers' Siglip2Tokenizer gives the ids it gives there."""
    transformers = pytest.importorskip("transformers")
    model = json.loads(file.read_text())["model"]
    merges = [tuple(pair) for pair in model["merges"]]
    theirs = transformers.Siglip2Tokenizer(vocab=model["vocab"], merges=merges)
    theirs.save_pretrained(str(tmp_path / "saved"))
    ours = load_tokenizer(tmp_path / "saved", RULES)
    sentences = ["the red dog on the left", "The dog's  2nd WHEEL!", "caf\u00e9 \u72d7"]
    expected = theirs(sentences, add_special_tokens=False)["input_ids"]
    assert ours.ids(sentences) == expected
    assert load_tokenizer(file, RULES).ids(sentences) == expected
