"""The answer to one expression, worked by hand."""

import dataclasses
import json

import numpy as np
import pytest
from helpers.answers import answer

from unires_jax.errors import DataError
from unires_jax.inference.calibration import Logistic
from unires_jax.pixels.masks import RunMask


def test_mask_box_area_and_rle() -> None:
    segment = answer()
    expected = np.zeros((8, 4), bool)
    expected[2:5, 1:3] = True
    np.testing.assert_array_equal(segment.mask, expected)
    assert (segment.box, segment.area) == ((1, 2, 2, 3), 6)
    assert segment.rle["size"] == [8, 4]
    np.testing.assert_array_equal(RunMask.of(segment.rle).pixels(), expected)


def test_probability_and_score() -> None:
    segment = answer()
    inside = 1 / (1 + np.exp(-2))
    np.testing.assert_allclose(segment.probability[segment.mask], inside, rtol=1e-6)
    assert segment.score == pytest.approx(inside * 0.75, rel=1e-6)
    assert answer(None).score == pytest.approx(inside, rel=1e-6)
    assert not segment.no_target and not answer(None).no_target
    assert answer(0.51).no_target and answer(0.51).area == 6


def test_a_calibrated_score_is_of_the_mask_at_one_half() -> None:
    right = Logistic(2.0, -1.0)
    segment = dataclasses.replace(answer(), right=right)
    inside = 1 / (1 + np.exp(-2))
    assert segment.quality == pytest.approx(inside, rel=1e-6)
    for score in (segment.score, segment.at(0.3).score, segment.at(0.01).score):
        assert score == pytest.approx(0.75 / (1 + np.exp(-3)), rel=1e-6)
    assert segment.raw_score == answer().score and segment.calibrated
    assert segment.at(0.9).score == 0.0 == segment.at(0.9).area
    assert not answer().calibrated


def test_another_threshold_needs_no_model() -> None:
    segment = answer()
    assert segment.at(0.9).area == 0 and segment.at(0.9).score == 0.0
    assert segment.at(0.9).box == (0, 0, 0, 0)
    assert segment.at(0.01).area == 32  # sigmoid(-4) = 0.018
    assert segment.threshold == 0.5 and segment.area == 6
    for wrong in (0.0, 1.0, -1.0, float("nan")):
        with pytest.raises(DataError, match="threshold"):
            segment.at(wrong)


def test_json_holds_plain_values() -> None:
    values = json.loads(json.dumps(answer().to_json()))
    assert values["area"] == 6 and values["box"] == [1, 2, 2, 3]
    assert values["expression"] == "a box" and values["no_target"] is False
