"""The one picture of a run."""

import cv2
import numpy as np
import pytest
from helpers.coloured_boxes import Boxes

from unires_jax.config import Config
from unires_jax.data.records import PART
from unires_jax.evaluation import predictors
from unires_jax.evaluation.evaluator import evaluate
from unires_jax.evaluation.report import pictures
from unires_jax.evaluation.report.pictures import EXTRA, HIT, MISSED
from unires_jax.evaluation.results import Result


@pytest.fixture
def rows(boxes: Boxes, config: Config) -> list[Result]:
    return evaluate(boxes, predictors.ground_truth, config)


def close_to(image: np.ndarray, colour: tuple[int, int, int]) -> int:
    """Pixels of about the colour, at its opacity over any picture."""
    return int((np.abs(image.astype(int) - colour).max(-1) < 25).sum())


def test_a_row_for_each_level_from_different_pictures(
    boxes: Boxes, rows: list[Result]
) -> None:
    picture = pictures.gallery(boxes, rows, columns=3)
    cell = pictures.SIDE + pictures.GAP
    assert picture.shape == (2 * (cell + 22), 3 * cell - pictures.GAP, 3)
    objects = [r for r in rows if r.level != PART]
    assert pictures.gallery(boxes, objects, columns=3).shape[0] == cell + 22
    assert close_to(picture, HIT) and not close_to(picture, MISSED)
    decoded = cv2.imdecode(
        np.frombuffer(pictures.encode(picture, 90), np.uint8), cv2.IMREAD_COLOR
    )
    assert np.abs(decoded[..., ::-1].astype(int) - picture).mean() < 4


def test_what_was_missed_is_seen(boxes: Boxes, config: Config) -> None:
    nothing = evaluate(boxes, predictors.empty, config)
    picture = pictures.gallery(boxes, nothing, columns=2)
    assert close_to(picture, MISSED) and not close_to(picture, EXTRA)


def test_the_seed_draws(boxes: Boxes, rows: list[Result]) -> None:
    first, same, third = (pictures.gallery(boxes, rows, 2, seed=s) for s in (0, 0, 1))
    np.testing.assert_array_equal(first, same)
    assert not np.array_equal(first, third)


def test_without_targeted_expressions_it_is_blank(boxes: Boxes) -> None:
    assert (pictures.gallery(boxes, []) == 255).all()
