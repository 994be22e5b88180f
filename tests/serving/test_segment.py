"""The answer to one expression, worked by hand."""

import json

import numpy as np
import pytest
from helpers.answers import answer

from unires_jax.errors import DataError
from unires_jax.pixels.masks import RunMask


def test_mask_box_area_and_rle() -> None:
    found = answer()
    expected = np.zeros((8, 4), bool)
    expected[2:5, 1:3] = True
    np.testing.assert_array_equal(found.mask, expected)
    assert (found.box, found.area) == ((1, 2, 2, 3), 6)
    assert found.rle["size"] == [8, 4]
    np.testing.assert_array_equal(
        RunMask.from_counts(found.rle["counts"], 8, 4).pixels(), expected
    )


def test_probability_and_score() -> None:
    found = answer()
    inside = 1 / (1 + np.exp(-2))
    np.testing.assert_allclose(found.probability[found.mask], inside, rtol=1e-6)
    assert found.score == pytest.approx(inside * 0.75, rel=1e-6)
    assert answer(None).score == pytest.approx(inside, rel=1e-6)
    assert not found.no_target and not answer(None).no_target
    assert answer(0.51).no_target and answer(0.51).area == 6


def test_another_threshold_needs_no_model() -> None:
    found = answer()
    assert found.at(0.9).area == 0 and found.at(0.9).score == 0.0
    assert found.at(0.9).box == (0, 0, 0, 0)
    assert found.at(0.01).area == 32  # sigmoid(-4) = 0.018
    assert found.threshold == 0.5 and found.area == 6
    for wrong in (0.0, 1.0, -1.0, float("nan")):
        with pytest.raises(DataError, match="threshold"):
            found.at(wrong)


def test_json_holds_plain_values() -> None:
    told = json.loads(json.dumps(answer().to_json()))
    assert told["area"] == 6 and told["box"] == [1, 2, 2, 3]
    assert told["expression"] == "a box" and told["no_target"] is False
