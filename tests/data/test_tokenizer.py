"""Tokens: CLIP's conventions, buckets, truncation, and files of other makers."""

import json
import logging
import pickle
from pathlib import Path

import numpy as np
import pytest

from unires_jax.data.tokenizer import CLIP, Tokenizer, load_tokenizer, train_bpe
from unires_jax.errors import DataError

CAPTIONS = ["the red dog on the left", "wheels of the big truck", "the dog's head"] * 4
LENGTHS = (8, 16, 24)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("tokenizer")
    train_bpe(CAPTIONS, out / "tokenizer.json", 560)
    return out


@pytest.fixture
def tokenizer(folder: Path) -> Tokenizer:
    return load_tokenizer(folder, CLIP)


def test_ids_follow_clip(folder: Path, tokenizer: Tokenizer) -> None:
    vocab = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    assert tokenizer.vocab_size == len(vocab) <= 560
    assert (tokenizer.sos, tokenizer.eos) == (len(vocab) - 2, len(vocab) - 1)
    assert vocab[CLIP.sos] == tokenizer.sos and vocab[CLIP.eos] == tokenizer.eos
    assert sorted(vocab.values()) == list(range(len(vocab)))
    assert "dog</w>" in vocab  # the merges were learnt, with the end of the word


def test_sentence_stands_between_sos_and_eos(tokenizer: Tokenizer) -> None:
    tokens, lengths = tokenizer.encode(["the dog", "  The   DOG "], 24, LENGTHS)
    assert tokens.dtype == lengths.dtype == np.int32
    assert tokens.shape == (2, 8) and lengths.tolist() == [4, 4]
    assert tokens[0].tolist() == tokens[1].tolist()
    assert tokens[0, 0] == tokenizer.sos
    assert (tokens[0, 3:] == tokenizer.eos).all()
    assert tokenizer.eos not in tokens[0, :3]


@pytest.mark.parametrize(("words", "bucket"), [(6, 8), (7, 16), (14, 16), (15, 24)])
def test_smallest_fitting_bucket(tokenizer: Tokenizer, words: int, bucket: int) -> None:
    tokens, lengths = tokenizer.encode(["dog", "dog " * words], 24, LENGTHS)
    assert tokens.shape == (2, bucket) and lengths.tolist() == [3, words + 2]


def test_truncation_keeps_eos_and_is_told_once(
    tokenizer: Tokenizer, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            tokens, lengths = tokenizer.encode(["dog " * 40, "dog"], 24, LENGTHS)
    assert tokens.shape == (2, 24) and lengths.tolist() == [24, 3]
    assert tokens[0, 23] == tokenizer.eos and tokens[0, 22] != tokenizer.eos
    assert tokenizer.truncated == 2
    assert len(caplog.records) == 1 and "24 tokens" in caplog.text


def test_context_bounds_the_buckets(tokenizer: Tokenizer) -> None:
    tokens, lengths = tokenizer.encode(["dog " * 40], 10, LENGTHS)
    assert tokens.shape == (1, 10) and lengths.tolist() == [10]
    assert tokens[0, 9] == tokenizer.eos


@pytest.mark.parametrize("sentence", ["", "   ", "\t\n"])
def test_empty_sentence_is_an_error(tokenizer: Tokenizer, sentence: str) -> None:
    with pytest.raises(DataError, match="is empty"):
        tokenizer.encode(["dog", sentence], 24, LENGTHS)


def test_any_text_has_tokens_without_eos(tokenizer: Tokenizer) -> None:
    """Letters never seen fall to bytes, not to the unknown token, which is EOS."""
    for ids in tokenizer.ids(["zebra", "狗 émigré", "#42 & ½!", "ß</w>"]):
        assert ids and tokenizer.eos not in ids and tokenizer.sos not in ids


def test_kept_words_equal_whole_sentences(tokenizer: Tokenizer) -> None:
    for sentence in ("the red dog", "wheels of  the big truck", "zzz the zzz"):
        whole = tokenizer._inner.encode(sentence, add_special_tokens=False).ids
        assert tokenizer.ids([sentence]) == tokenizer.ids([sentence]) == [whole]


def test_decode_reads_back(tokenizer: Tokenizer) -> None:
    tokens, lengths = tokenizer.encode(["The red  zebra"], 24, LENGTHS)
    assert tokenizer.decode(tokens[0, : lengths[0]]) == "the red zebra"


def test_texts_name_each_token(tokenizer: Tokenizer) -> None:
    tokens, lengths = tokenizer.encode(["the dog"], 24, LENGTHS)
    assert tokenizer.texts(tokens[0, : lengths[0]]) == ["start", "the", "dog", "end"]


def test_json_and_pickle_round_trip(tokenizer: Tokenizer) -> None:
    sentences = ["the red dog", "zebra's 42 wheels"]
    for copied in (
        Tokenizer(tokenizer.to_json(), CLIP),
        pickle.loads(pickle.dumps(tokenizer)),
    ):
        assert copied.ids(sentences) == tokenizer.ids(sentences)
        assert copied.vocab_size == tokenizer.vocab_size
        assert copied.rules == CLIP


def test_training_ignores_order_and_repeats_itself(tmp_path: Path) -> None:
    first = train_bpe(CAPTIONS, tmp_path / "a.json", 560)
    second = train_bpe(CAPTIONS[::-1], tmp_path / "b.json", 560)
    assert first.to_json() == second.to_json()
    assert [p.name for p in sorted(tmp_path.iterdir())] == ["a.json", "b.json"]


def test_training_needs_room_and_captions(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="at least 514"):
        train_bpe(CAPTIONS, tmp_path / "a.json", 500)
    with pytest.raises(DataError, match="no captions"):
        train_bpe([], tmp_path / "a.json", 600)
    assert not list(tmp_path.iterdir())


def test_unusable_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere.*does not exist"):
        load_tokenizer(tmp_path / "nowhere" / "tokenizer.json", CLIP)
    with pytest.raises(DataError, match="does not exist"):
        load_tokenizer(tmp_path, CLIP)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(DataError, match=r"not a readable tokenizer\.json"):
        load_tokenizer(tmp_path, CLIP)


def test_tokenizer_without_clip_specials_is_refused(tokenizer: Tokenizer) -> None:
    text = tokenizer.to_json().replace(CLIP.sos, "<s>")
    with pytest.raises(DataError, match="startoftext"):
        Tokenizer(text, CLIP)


def test_hub_failure_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def fail(*args: str) -> str:
        raise OSError("no network")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fail)
    with pytest.raises(DataError, match=r"openai/clip.*OSError.*give its path"):
        load_tokenizer("openai/clip", CLIP)


def test_equal_to_transformers_clip(folder: Path, tmp_path: Path) -> None:
    """A file saved by transformers' CLIP tokenizer gives the same ids as there."""
    transformers = pytest.importorskip("transformers")
    model = json.loads((folder / "tokenizer.json").read_text())["model"]
    (tmp_path / "vocab.json").write_text(json.dumps(model["vocab"]))
    merges = ["#version: 0.2", *(" ".join(pair) for pair in model["merges"])]
    (tmp_path / "merges.txt").write_text("\n".join(merges) + "\n")
    theirs = transformers.CLIPTokenizerFast.from_pretrained(str(tmp_path))
    theirs.save_pretrained(str(tmp_path / "saved"))
    ours = load_tokenizer(tmp_path / "saved", CLIP)
    sentences = [
        "the red dog on the left",
        "The dog's  2nd WHEEL, isn't it?",
        "zebra-crossing #42 & more...",
        "café naïve ½ 狗",
        "dog " * 40,
    ]
    expected = theirs(sentences, truncation=True, max_length=24)["input_ids"]
    tokens, lengths = ours.encode(sentences, 24, LENGTHS)
    assert [t[:n].tolist() for t, n in zip(tokens, lengths, strict=True)] == expected
    # ... and the file we train ourselves agrees with both.
    assert load_tokenizer(folder, CLIP).ids(sentences) == ours.ids(sentences)
