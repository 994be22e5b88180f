"""The driver: groupings and padding change no answer, and what is broken is named."""

import dataclasses
from typing import Any

import jax
import numpy as np
import pytest
from helpers.pictures import noise
from helpers.tiny import WORDS, change

from unires_jax.data.records import Expression, Record
from unires_jax.errors import CheckpointError, DataError
from unires_jax.evaluation.predictors import ModelPredict
from unires_jax.evaluation.protocols import NATIVE, ask
from unires_jax.inference.answer import (
    AHEAD,
    Answerer,
    EncodedPicture,
    FixedShapes,
    PowersOfTwo,
)
from unires_jax.inference.loaded import Loaded
from unires_jax.inference.segment import Segment
from unires_jax.inference.steps import Compiled
from unires_jax.pixels.grid import picture_cells
from unires_jax.serving.photo import encode_png
from unires_jax.serving.predictor import Predictor

PICTURES = [noise(i, 30 + 9 * i, 60 - 7 * i) for i in range(5)]
# Every picture is asked something else, short and long sentences mixed.
QUESTIONS = [(i % 5, " ".join([WORDS[i % 4]] * (1 + i // 4 % 2))) for i in range(15)]
# Logits of some tens, from equal arithmetic in batches of another size.
TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}


@pytest.fixture(scope="module")
def answerer(loaded: Loaded) -> Answerer:
    """One picture and one sentence at a time."""
    model = Compiled(loaded.config, jax.local_devices()[:1]).bind(loaded.params)
    return Answerer(model, loaded.tokenizer, loaded.config, FixedShapes(1, 1), True)


def alone(answerer: Answerer) -> list[Segment]:
    """The answer to each question when nothing else is asked."""
    segments = []
    for picture, sentence in QUESTIONS:
        encoded = answerer.look([PICTURES[picture]])
        ((number, segment),) = answerer.answers(encoded, [(0, sentence)])
        assert number == 0
        segments.append(segment)
    return segments


@pytest.mark.parametrize(
    "shapes",
    [FixedShapes(5, 15), FixedShapes(8, 4), FixedShapes(6, 64), PowersOfTwo(4)],
)
def test_groupings_and_padding_change_nothing(
    answerer: Answerer, shapes: FixedShapes | PowersOfTwo
) -> None:
    grouped = dataclasses.replace(answerer, shapes=shapes)
    answers = dict(grouped.answers(grouped.look(PICTURES), QUESTIONS))
    assert sorted(answers) == list(range(len(QUESTIONS)))
    for number, expected in enumerate(alone(answerer)):
        segment = answers[number]
        assert segment.expression == QUESTIONS[number][1]
        assert segment.mask.shape == PICTURES[QUESTIONS[number][0]].shape[:2]
        np.testing.assert_allclose(segment.logits, expected.logits, **TOLERANCE)
        assert segment.score == pytest.approx(expected.score, abs=1e-5)
        assert segment.no_target_probability == pytest.approx(
            expected.no_target_probability, abs=1e-5
        )
    distinct = {answers[n].logits.tobytes() for n in answers}
    assert len(distinct) == len(set(QUESTIONS))  # nobody got another's answer


def test_sizes_of_the_policies() -> None:
    powers, fixed = PowersOfTwo(64), FixedShapes(8, 32)
    assert [powers.sentence_rows(n) for n in (1, 2, 3, 5, 64)] == [1, 2, 4, 8, 64]
    assert [powers.picture_rows(n) for n in (1, 3)] == [1, 4]
    assert (fixed.picture_rows(3), fixed.sentence_rows(3)) == (8, 32)


class Recorded:
    """Steps that note the sizes they are called with."""

    def __init__(self, inner: Any):
        self.inner, self.sizes = inner, []

    def encode_image(self, images: np.ndarray, extent: np.ndarray) -> Any:
        self.sizes.append(images.shape[0])
        return self.inner.encode_image(images, extent)

    def encode_text(self, tokens: np.ndarray, lengths: np.ndarray) -> Any:
        return self.inner.encode_text(tokens, lengths)

    def decode(self, *args: Any) -> Any:
        self.sizes.append(args[3].shape[0])
        return self.inner.decode(*args)


@pytest.mark.parametrize(
    ("shapes", "sizes"),
    [(FixedShapes(8, 4), [8, 4, 4, 4, 4]), (PowersOfTwo(8), [8, 8, 8])],
)
def test_compiled_sizes_are_the_policys(
    answerer: Answerer, shapes: FixedShapes | PowersOfTwo, sizes: list[int]
) -> None:
    steps = Recorded(answerer.segmenter)
    recorded = dataclasses.replace(answerer, segmenter=steps, shapes=shapes)
    assert len(list(recorded.answers(recorded.look(PICTURES), QUESTIONS))) == 15
    assert steps.sizes == sizes


def test_the_device_runs_ahead_by_few_chunks(answerer: Answerer) -> None:
    """Any number of sentences takes no more memory than some."""
    steps = Recorded(answerer.segmenter)
    recorded = dataclasses.replace(answerer, segmenter=steps)
    answers = recorded.answers(recorded.look(PICTURES[:1]), [(0, "a dog")] * 20)
    for count, _ in enumerate(answers, 1):
        assert len(steps.sizes) - 1 <= count + AHEAD


class Damaged:
    """The model with one number of one row replaced."""

    def __init__(self, inner: Any, place: str, value: float):
        self.encode_image, self.encode_text = inner.encode_image, inner.encode_text
        self._inner, self._place, self._value = inner, place, value

    def decode(self, *args: Any) -> tuple[np.ndarray, np.ndarray]:
        logits, no_target = map(np.array, self._inner.decode(*args))
        if self._place == "no_target":
            no_target[0] = self._value
        else:
            logits[0][(0, 0) if self._place == "picture" else (-1, -1)] = self._value
        return logits, no_target


@pytest.mark.parametrize("trained", [True, False])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", ["picture", "no_target"])
def test_logits_that_are_not_finite_are_named(
    answerer: Answerer, place: str, value: float, trained: bool
) -> None:
    broken = dataclasses.replace(
        answerer,
        segmenter=Damaged(answerer.segmenter, place, value),
        no_target_trained=trained,
        checkpoint="runs/broken/700",
    )
    with pytest.raises(CheckpointError, match=r"^runs/broken/700: .*not finite; take"):
        list(broken.answers(broken.look(PICTURES[:1]), [(0, "a dog")]))


def test_cells_of_the_padding_mean_nothing(answerer: Answerer) -> None:
    padded = dataclasses.replace(
        answerer, segmenter=Damaged(answerer.segmenter, "padding", np.nan)
    )
    encoded = padded.look(PICTURES[:1])
    ((_, segment),) = padded.answers(encoded, [(0, "a dog")])
    assert np.isnan(segment.logits).any()
    assert np.isfinite(picture_cells(segment.logits, segment.placement)).all()
    ((_, whole),) = answerer.answers(encoded, [(0, "a dog")])
    np.testing.assert_array_equal(segment.mask, whole.mask)
    assert segment.score == whole.score


def test_an_untrained_head_decides_nothing(answerer: Answerer) -> None:
    untrained = dataclasses.replace(answerer, no_target_trained=False)
    encoded: list[EncodedPicture] = untrained.look(PICTURES[:1])
    ((_, segment),) = untrained.answers(encoded, [(0, WORDS[1])])
    ((_, trained),) = answerer.answers(encoded, [(0, WORDS[1])])
    assert segment.no_target_probability is None and not segment.no_target
    none = trained.no_target_probability
    assert none is not None and 0 < none < 1
    assert trained.score == pytest.approx(segment.score * (1 - none), rel=1e-6)


def test_nothing_asked_is_nothing_answered(answerer: Answerer) -> None:
    assert list(answerer.answers(answerer.look(PICTURES[:1]), [])) == []
    with pytest.raises(DataError, match="empty"):
        list(answerer.answers(answerer.look(PICTURES[:1]), [(0, " ")]))


def test_evaluation_and_predictor_give_the_identical_mask(
    loaded: Loaded, predictor: Predictor
) -> None:
    """To the pixel and the last digit, where both compute in the same sizes."""
    config = change(loaded.config, eval__batch=1, eval__expressions=len(WORDS))
    steps = Compiled(config).bind(loaded.params)
    predict = ModelPredict(steps, loaded.tokenizer, config)
    for picture in PICTURES:
        expressions = tuple(Expression(1, i, w, w, 0, ()) for i, w in enumerate(WORDS))
        size = picture.shape[:2]
        record = Record(encode_png(picture), 1, *size, (), expressions)
        (predictions,) = predict([ask(NATIVE, record)])
        segments = predictor.segment(encode_png(picture), WORDS)
        for prediction, segment in zip(predictions, segments, strict=True):
            assert prediction.mask == segment.runs
            assert prediction.score == segment.score
            assert prediction.no_target == segment.no_target_probability
