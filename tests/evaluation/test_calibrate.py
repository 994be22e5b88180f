"""What is observed of a split is true, and is what a calibration is fitted to."""

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from helpers.coloured_boxes import GRID, Boxes, ColourSegmenter, make_record
from helpers.small_data import scene

from unires_jax.config import Config
from unires_jax.data.tokenizer import Tokenizer
from unires_jax.errors import DataError
from unires_jax.evaluation import calibrate
from unires_jax.evaluation.evaluator import evaluate
from unires_jax.evaluation.predictors import ModelPredict
from unires_jax.inference.answer import Answerer, FixedShapes
from unires_jax.inference.loaded import Loaded
from unires_jax.models.unires import ImageFeatures


class WithFeatures(ColourSegmenter):
    """The finder of colours, whose features are the mean colours of its cells."""

    def __init__(self, tokenizer: Tokenizer):
        super().__init__(tokenizer)
        cells, decode = self.encode_image, self.decode

        def encode(images: np.ndarray, extent: np.ndarray) -> ImageFeatures:
            patches = cells(images, extent).reshape(len(images), GRID**2, 3)
            return ImageFeatures(patches, None, None, None, jnp.zeros_like(patches))

        self.encode_image: Any = encode
        self.decode: Any = lambda features, *rest: decode(
            features.patches.reshape(-1, GRID, GRID, 3), *rest
        )


@pytest.fixture
def model(tokenizer: Tokenizer, config: Config) -> Answerer:
    shapes = FixedShapes(config.eval.batch, config.eval.expressions)
    return Answerer(WithFeatures(tokenizer), tokenizer, config, shapes, True)


def test_what_is_observed_is_what_an_evaluation_scores(
    model: Answerer, boxes: Boxes, tokenizer: Tokenizer, config: Config
) -> None:
    observed = calibrate.observe(model, boxes)
    predict = ModelPredict(ColourSegmenter(tokenizer), tokenizer, config)
    rows = evaluate(boxes, predict, config)
    expected = [(r.score, r.no_target, r.targeted and r.iou >= 0.5) for r in rows]
    ours = zip(
        observed.scores(None, None), observed.nothing, observed.right, strict=True
    )
    np.testing.assert_allclose(sorted(ours), sorted(expected), atol=1e-6)
    assert 0 < observed.right.sum() < observed.targeted.sum() < len(rows)
    assert observed.vectors.shape == (len(boxes), 3)
    first = calibrate.observe(model, boxes, images=2)
    assert len(first.vectors) == 2
    np.testing.assert_allclose(first.vectors, observed.vectors[:2], rtol=1e-6)


def test_a_fit_says_how_often_masks_are_right(
    model: Answerer, config: Config, tokenizer: Tokenizer, loaded: Loaded
) -> None:
    """And tells pictures of another kind from those that it was fitted on."""
    observed = calibrate.observe(model, Boxes(make_record(i) for i in range(60)))
    fitted, distances = calibrate.fit(loaded, observed, {"boxes:val": "f"}, {})
    checked = calibrate.check(fitted, observed, distances)
    mean = checked["error"]["score"]["mean after"]
    assert mean == pytest.approx(checked["right"], abs=0.02)
    assert checked["error"]["score"]["after"] < checked["error"]["score"]["before"]
    assert checked["unlike"] < 0.05
    assert (checked["pictures"], checked["sentences"]) == (60, len(observed.right))
    strange = calibrate.observe(model, Boxes(scene(i) for i in range(8)))
    assert calibrate.check(fitted, strange)["unlike"] > 0.9


def test_a_model_that_never_learned_of_nothing_has_no_calibration_of_it(
    model: Answerer, loaded: Loaded
) -> None:
    untrained = dataclasses.replace(model, no_target_trained=False)
    meta = loaded.meta | {"no_target_trained": False}
    observed = calibrate.observe(untrained, Boxes(make_record(i) for i in range(40)))
    assert not observed.nothing.any()
    told = dataclasses.replace(loaded, meta=meta)
    fitted, _ = calibrate.fit(told, observed, {}, {})
    assert fitted.nothing is None
    assert list(calibrate.check(fitted, observed)["error"]) == ["score"]


def test_a_split_without_sentences_is_refused(model: Answerer) -> None:
    silent = Boxes([dataclasses.replace(make_record(0), expressions=())])
    with pytest.raises(DataError, match="holds no sentence"):
        calibrate.observe(model, silent)
