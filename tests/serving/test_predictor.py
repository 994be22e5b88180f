"""What the Predictor answers; sharing a picture or a batch changes nothing."""

import threading
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from helpers.pictures import noise
from helpers.programs import at_once
from helpers.tiny import WORDS, make_loaded, tiny_config

import unires_jax
from unires_jax import serving
from unires_jax.errors import CheckpointError, ConfigError, DataError
from unires_jax.inference import model as inference
from unires_jax.inference import programs
from unires_jax.inference.loaded import Loaded
from unires_jax.inference.segment import Segment
from unires_jax.serving.predictor import Predictor

# Logits of some tens, from equal arithmetic in batches of another size.
TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}


def test_the_public_names_are_the_same_everywhere() -> None:
    for name in unires_jax.__all__:
        assert getattr(unires_jax, name) is getattr(serving, name)
    assert (unires_jax.Predictor, unires_jax.Segment) == (Predictor, Segment)


def logits(segments: list[Segment]) -> np.ndarray:
    return np.stack([s.logits for s in segments])


def test_masks_have_the_pictures_size_and_are_not_trivial(predictor: Predictor) -> None:
    for height, width in ((40, 56), (1, 1), (200, 7), (32, 32)):
        segments = predictor.segment(noise(0, height, width), WORDS)
        assert [s.expression for s in segments] == WORDS
        assert all(s.mask.shape == (height, width) for s in segments)
    shares = [s.mask.mean() for s in predictor.segment(noise(0), WORDS)]
    assert any(0.02 < share < 0.98 for share in shares)


def test_the_end_of_a_long_sentence_is_not_read_and_told(predictor: Predictor) -> None:
    """Two that differ there alone have one answer; nothing else has a note."""
    long = " ".join(WORDS[:1] * 200)
    pair = predictor.segment(noise(0), [f"{long} {WORDS[1]}", f"{long} {WORDS[2]}"])
    np.testing.assert_array_equal(pair[0].logits, pair[1].logits)
    most = predictor.config.data.lengths[-1] - predictor.tokenizer.around
    for answer in pair:
        assert f"and the model reads {most}: what follows" in answer.note
        assert answer.to_json()["note"] == answer.note == answer.at(0.4).note
    assert not any(s.note for s in predictor.segment(noise(0), WORDS))


def test_an_encoded_picture_answers_as_the_picture(predictor: Predictor) -> None:
    encoded = predictor.encode_image(noise(1))
    np.testing.assert_array_equal(
        logits(predictor.segment(encoded, WORDS)),
        logits(predictor.segment(noise(1), WORDS)),
    )
    assert encoded.nbytes > encoded.pixels.nbytes


def test_a_batch_answers_as_its_pictures_do(predictor: Predictor) -> None:
    pictures = [noise(i, 30 + i, 60 - i) for i in range(5)]
    batched = list(predictor.segment_batch(iter(pictures), WORDS, batch=3))
    assert len(batched) == 5
    for picture, segments in zip(pictures, batched, strict=True):
        alone = predictor.segment(picture, WORDS)
        np.testing.assert_allclose(logits(segments), logits(alone), **TOLERANCE)


def test_pairs_answer_as_their_pictures_do_and_bad_ones_are_told(
    predictor: Predictor, tmp_path: Path
) -> None:
    (tmp_path / "no.jpg").write_bytes(b"none")
    pairs: list[Any] = [
        (noise(i, 30 + i, 60 - i), WORDS[: 1 + i % 3]) for i in range(5)
    ]
    pairs[1] = (tmp_path / "no.jpg", WORDS)
    pairs[3] = (noise(3), [""])
    faults: list[tuple[int, str]] = []
    answers = predictor.segment_pairs(
        iter(pairs), 3, lambda number, error: faults.append((number, str(error)))
    )
    by_number = {answer.number: answer for answer in answers}
    assert list(by_number) == [0, 2, 4]
    assert [number for number, _ in faults] == [1, 3]
    assert "no.jpg" in faults[0][1] and "is empty" in faults[1][1]
    for number, answer in by_number.items():
        alone = predictor.segment(*pairs[number])
        assert [s.expression for s in answer.segments] == pairs[number][1]
        np.testing.assert_allclose(logits(answer.segments), logits(alone), **TOLERANCE)
        assert answer.image.pixels.shape == pairs[number][0].shape
    with pytest.raises(DataError, match=r"no\.jpg"):
        list(predictor.segment_pairs(pairs))


def test_pairs_are_answered_on_all_devices(loaded: Loaded) -> None:
    """In the order in which they were given, whatever device is done first."""
    predictor = Predictor(loaded)
    pairs = [(noise(i), WORDS[:2]) for i in range(7)]
    used = set()
    for answer in predictor.segment_pairs(pairs, batch=1):
        used |= jax.tree.leaves(answer.image.encoded.features)[0].devices()
        alone = predictor.segment(*pairs[answer.number])
        np.testing.assert_allclose(logits(answer.segments), logits(alone), **TOLERANCE)
    assert len(used) == min(len(jax.local_devices()), 7)
    numbers = [a.number for a in predictor.segment_pairs(pairs, batch=2)]
    assert numbers == list(range(7))


def test_new_counts_compile_nothing_after_warmup(loaded: Loaded) -> None:
    predictor = Predictor(loaded)
    predictor.warmup(8)
    before = set(predictor.answerer.segmenter._programs)
    for count in range(1, 9):
        predictor.segment(noise(count), (WORDS * 2)[:count])
    assert set(predictor.answerer.segmenter._programs) == before


def test_what_is_compiled_in_the_background_is_not_compiled_twice(
    loaded: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A question waits for its programs, and stopping for the one that is under way."""
    compiled, begun = list[str](), threading.Event()
    compile_one = programs.Programs._compiled

    def counted(self: programs.Programs, name: str, inputs: Any) -> Any:
        compiled.append(f"{name} {[x.shape for x in jax.tree.leaves(inputs)]}")
        begun.set()
        return compile_one(self, name, inputs)

    monkeypatch.setattr(programs.Programs, "_compiled", counted)
    predictor = Predictor(loaded)
    predictor.warmup(1, background=True)
    (thread,) = (t for t in threading.enumerate() if t.name == "warming")
    assert begun.wait(60)
    assert len(predictor.segment(noise(0), WORDS[:1])) == 1
    thread.stop()
    assert not thread.is_alive()
    assert len(compiled) == len(set(compiled))
    assert sum(name.startswith("encode_image") for name in compiled) == 1


def test_threads_get_their_own_answers(predictor: Predictor) -> None:
    pictures = [noise(i) for i in range(4)]
    alone = [logits(predictor.segment(p, WORDS)) for p in pictures]
    start = threading.Barrier(4)

    def ask(i: int) -> None:
        start.wait()
        for _ in range(10):
            answers = logits(predictor.segment(pictures[i], WORDS))
            np.testing.assert_allclose(answers, alone[i], **TOLERANCE)

    at_once(ask, 4)


@pytest.mark.parametrize(
    ("expressions", "message"),
    [
        ([], "none given"),
        ([""], r"expressions\[0\]: is empty"),
        (["a dog", " \n"], r"expressions\[1\]: is empty"),
        (["a" * 10_000_000], "10000000 characters, the limit is"),
        (["\ud800"], "no valid Unicode"),
    ],
)
def test_bad_expressions(predictor: Predictor, expressions: Any, message: str) -> None:
    with pytest.raises(DataError, match=message) as error:
        predictor.segment(noise(0), expressions)
    assert len(str(error.value)) < 200


def test_long_and_foreign_sentences_are_answered(predictor: Predictor) -> None:
    odd = ["wheel " * 500, "x" * 9_999, "\x00 \x1b"]
    odd += ["das rote Auto", "红色的汽车", "🚗"]
    segments = predictor.segment(noise(0), odd)
    assert all(np.isfinite(s.logits).all() for s in segments)


def test_untrained_no_target_head_is_never_heard(tmp_path: Path) -> None:
    loaded = make_loaded(tmp_path, tiny_config())
    loaded.meta["no_target_trained"] = False
    segments = Predictor(loaded).segment(noise(0), WORDS)
    assert all(s.no_target_probability is None and not s.no_target for s in segments)


def test_broken_weights_are_told(tmp_path: Path) -> None:
    loaded = make_loaded(tmp_path, tiny_config())
    loaded.params["word_project"]["bias"][:] = np.nan
    with pytest.raises(CheckpointError, match="not finite"):
        Predictor(loaded).segment(noise(0), WORDS)


def test_load_names_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such folder"):
        unires_jax.load(tmp_path / "nothing")
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        unires_jax.load(tmp_path)


def test_load_computes_in_float32_on_cpu(
    loaded: Loaded, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = tiny_config(model__dtype="bfloat16")
    in_bfloat16 = Loaded(tmp_path, config, loaded.tokenizer, loaded.params, loaded.meta)
    monkeypatch.setattr(inference, "load", lambda *_, **__: in_bfloat16)
    assert jax.default_backend() == "cpu"
    assert unires_jax.load(tmp_path).config.model.dtype == "float32"
    model = unires_jax.load(tmp_path, dtype="bfloat16")
    assert model.config.model.dtype == "bfloat16" == config.model.dtype
    assert np.isfinite(model.segment(noise(0), "a dog")[0].logits).all()


def test_a_model_answers_at_another_side(tmp_path: Path) -> None:
    """As one whose training was at its own side and whose answers are at that."""
    loaded = make_loaded(tmp_path, tiny_config())
    larger = loaded.answering_at(48)
    assert (larger.other_side, loaded.answering_at(32)) == (48, loaded)
    model = larger.config.model
    assert (model.image_size, model.train_size) == (48, 32)
    built = make_loaded(
        tmp_path, tiny_config(model__image_size=48, model__train_size=32)
    )
    got, expected = (
        logits(Predictor(x).segment(noise(0), WORDS)) for x in (larger, built)
    )
    np.testing.assert_allclose(got, expected, **TOLERANCE)
    assert got.shape != logits(Predictor(loaded).segment(noise(0), WORDS)).shape
    for side in (-8, 44):
        with pytest.raises(ConfigError, match=f"image_size={side} must be a positive"):
            loaded.answering_at(side)


def test_load_takes_the_side_of_answers() -> None:
    model = unires_jax.load(image_size=64)
    assert model.config.model.image_size == 64
    with pytest.raises(ConfigError, match="multiple of the model's patch, 16 pixels"):
        unires_jax.load(image_size=100)
