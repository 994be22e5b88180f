"""Calibrations of made numbers whose truth is known."""

import math

import numpy as np
import pytest

from unires_jax.errors import DataError
from unires_jax.evaluation import fits


def overconfident(count: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities whose logits are twice what is true, and one too high; outcomes."""
    rng = np.random.default_rng(0)
    true = rng.normal(size=count)
    outcomes = rng.uniform(size=count) < 1 / (1 + np.exp(-true))
    return 1 / (1 + np.exp(-(2 * true + 1))), outcomes


def test_a_logistic_finds_what_was_done_to_the_logits() -> None:
    stated, outcomes = overconfident()
    found = fits.logistic(stated, outcomes)
    assert found == pytest.approx((0.5, -0.5), abs=0.03)
    calibrated = np.array([found(p) for p in stated])
    assert fits.calibration_error(stated, outcomes) > 0.15
    assert fits.calibration_error(calibrated, outcomes) < 0.015
    order = np.argsort(stated)
    assert (np.diff(calibrated[order]) >= 0).all()
    for sure in (0.0, 1.0):
        assert 0 < found(sure) < 1


def test_a_temperature_leaves_what_is_decided() -> None:
    stated, outcomes = overconfident()
    found = fits.logistic(stated, outcomes, moves=False)
    assert found.offset == 0 and 0.1 < found.scale < 0.9
    assert all((found(p) > 0.5) == (p > 0.5) for p in stated[:200])


@pytest.mark.parametrize("outcome", [True, False])
@pytest.mark.parametrize("stated", [[0.2, 0.8] * 9, [0.0] * 20, [1.0] * 20])
def test_outcomes_that_are_all_alike_stay_finite(
    stated: list[float], outcome: bool
) -> None:
    found = fits.logistic(np.array(stated), np.full(len(stated), outcome))
    assert all(map(math.isfinite, found)) and found.scale > 0
    assert (found(stated[0]) > 0.5) == outcome


def test_the_error_by_hand() -> None:
    """15 bins of one answer each: .3 off in ten of them, .1 in five."""
    stated = np.array([0.3] * 10 + [0.9] * 5)
    outcomes = np.array([False] * 10 + [True] * 5)
    error = fits.calibration_error(stated, outcomes)
    assert error == pytest.approx((10 * 0.3 + 5 * 0.1) / 15)
    assert math.isnan(fits.calibration_error(stated[:0], outcomes[:0]))


def test_auroc_counts_ties_half() -> None:
    assert fits.auroc(np.array([1.0, 2.0]), np.array([2.0, 3.0])) == 7 / 8
    assert fits.auroc(np.array([1.0]), np.array([0.0])) == 0


def test_pictures_that_are_all_alike_are_refused() -> None:
    with pytest.raises(DataError, match="all alike"):
        fits.likeness(np.ones((fits.LEAST_PICTURES, 6), np.float32))


def test_strange_vectors_are_far_and_known_ones_are_not() -> None:
    """Also what differs where the known ones hardly vary, or not at all."""
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(5, 12)).astype(np.float32)

    def drawn(count: int) -> np.ndarray:
        vectors = rng.normal(size=(count, 5)).astype(np.float32) @ mixing
        vectors[:, -1] = 3
        return vectors + rng.normal(0, 1e-3, vectors.shape).astype(np.float32)

    known, distances = fits.likeness(drawn(200))
    assert (distances > 1).mean() < 0.02 and distances.max() < 2
    assert np.mean([known.distance(x) > 1 for x in drawn(500)]) < 0.02
    for place in (0, -1):
        strange = drawn(1)[0]
        strange[place] += 3
        assert known.distance(strange) > 3


def test_few_pictures_are_refused() -> None:
    with pytest.raises(DataError, match="39 pictures are too few"):
        fits.likeness(np.zeros((39, 4), np.float32))
