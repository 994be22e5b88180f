"""Each rule of the native protocol on cases worked by hand."""

import math
import re

import numpy as np
import pytest
from helpers.answers import pairs
from helpers.paths import ROOT

from unires_jax import evaluation
from unires_jax.evaluation import metrics
from unires_jax.evaluation.breakdown import SIZE_NAMES, size_bucket
from unires_jax.pixels.masks import RunMask


def test_the_room_offers_the_documented_functions() -> None:
    page = (ROOT / "docs/results.md").read_text()
    documented = set(re.findall(r"`(\w+)\(", page.split("## From Python")[1]))
    assert documented - {"cris_mask"} == set(evaluation.__all__) - {"Summary"}
    for name in evaluation.__all__:
        assert getattr(evaluation, name) is getattr(metrics, name)


def grid(*rows: str) -> np.ndarray:
    return np.array([[c == "#" for c in row] for row in rows])


def test_intersection_and_union_of_arrays_and_rle() -> None:
    a = grid("##..", "##..", "....")
    b = grid(".##.", ".##.", ".##.")
    assert metrics.intersection_union(a, b) == (2, 8)
    rle = metrics.as_rle(b)
    text = {"size": rle["size"], "counts": rle["counts"].decode()}
    assert metrics.intersection_union(a, rle) == (2, 8)
    assert metrics.intersection_union(metrics.as_rle(a), text) == (2, 8)
    assert metrics.intersection_union(a, np.zeros_like(a)) == (0, 4)


def test_masks_of_different_size_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(2, 3\).*\(3, 2\)"):
        metrics.intersection_union(
            metrics.as_rle(np.ones((2, 3), bool)), np.ones((3, 2), bool)
        )


def test_thresholds_are_met_by_equality() -> None:
    rows = [(5, 10), (6, 10), (7, 10), (8, 10), (9, 10), (3, 6), (14, 20), (27, 30)]
    summary = metrics.summarize(*pairs(*rows))
    assert summary.precision == tuple(n / 8 for n in (8, 6, 5, 3, 2))
    below = metrics.summarize(*pairs((4_999_999, 10_000_000)))
    assert below.precision[0] == 0


def test_sums_do_not_overflow() -> None:
    many = pairs(*[(2**31, 2**31)] * 8)
    assert metrics.summarize(*many).oIoU == 1.0


def test_nothing_scored_is_not_zero() -> None:
    summary = metrics.summarize(*pairs())
    assert math.isnan(summary.mIoU)
    assert summary.as_dict() == {
        **dict.fromkeys(["mIoU", "oIoU", *(f"P@0.{n}" for n in range(5, 10))]),
        **{"boundary_mIoU": None, "count": 0},
    }


def test_boundary_iou_by_hand() -> None:
    """A square of 10 moved by one pixel: bands of one pixel share two sides' ends."""
    square, moved = np.zeros((2, 20, 30), bool)
    square[5:15, 5:15], moved[5:15, 6:16] = True, True
    nothing = np.zeros_like(square)
    inside, around = metrics.boundary_pairs(
        [square, square, nothing, nothing], [square, moved, square, nothing]
    )
    # Top and bottom rows share 9 pixels each; of 36 and 36 the union has 72 - 18.
    assert inside.tolist() == [36, 18, 0, 0] and around.tolist() == [36, 54, 36, 0]
    assert metrics.iou(inside, around).tolist() == [1, 1 / 3, 0, 0]
    summary = metrics.score("native", [square, moved, square], [square] * 3)
    assert summary.boundary_mIoU == pytest.approx((1 + 1 / 3 + 1) / 3)
    assert list(summary.named())[:3] == ["mIoU", "bIoU", "oIoU"]
    # Expressions without a target count apart, as in mIoU.
    targets, targeted = [square, nothing], [True, False]
    apart = metrics.score("native", [moved, square], targets, targeted=targeted)
    assert apart.as_dict()["boundary_mIoU"] == pytest.approx(1 / 3)
    peers = metrics.score("lavt", [square], [square])
    assert math.isnan(peers.boundary_mIoU) and "boundary_mIoU" not in peers.as_dict()


@pytest.mark.parametrize(
    ("pixels", "bucket"),
    [(0, 0), (49, 0), (50, 1), (199, 1), (200, 2), (999, 2), (1000, 3), (10_000, 3)],
)
def test_size_buckets(pixels: int, bucket: int) -> None:
    target = RunMask.from_pixels(np.arange(10_000).reshape(100, 100) < pixels)
    assert size_bucket(target) == SIZE_NAMES[bucket]


def test_no_target_accuracy() -> None:
    denials = np.array([True, False, False, True, False, False, False])
    none = np.array([True, True, True, False, False, False, False])
    accuracy = metrics.no_target_accuracy(denials, none)
    assert accuracy == {"N-acc": 1 / 3, "T-acc": 3 / 4, "no_target": 3, "targeted": 4}


def test_no_target_accuracy_of_what_was_not_asked() -> None:
    accuracy = metrics.no_target_accuracy(np.array([True]), np.array([False]))
    assert (accuracy["N-acc"], accuracy["T-acc"]) == (None, 0.0)
