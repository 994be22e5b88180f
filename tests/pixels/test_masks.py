"""Masks as runs: equal to the pixels, and PIL's NEAREST squash pixel for pixel."""

import json

import numpy as np
import pytest
from helpers.nearest import nearest
from helpers.paths import REAL
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from unires_jax.errors import DataError
from unires_jax.evaluation import metrics
from unires_jax.pixels import masks as runs

COCO = REAL / "coco/instances.json"


# What PIL 12's resize(NEAREST) gave for a ramp. At 640, the usual COCO width, pixels
# 4, 16, 19 and 22 differ from multiplying (4.5 * 640 / 480 = 6).
@pytest.mark.parametrize(
    ("source", "target", "pixels"),
    [
        (7, 5, {0: 0, 1: 2, 2: 3, 3: 4, 4: 6}),
        (5, 7, {0: 0, 1: 1, 2: 1, 3: 2, 4: 3, 5: 3, 6: 4}),
        (640, 480, {3: 4, 4: 5, 5: 7, 16: 21, 19: 25, 22: 29}),
        (64, 480, {7: 0, 22: 2, 97: 12, 112: 14}),
        (192, 480, {7: 2, 52: 20, 57: 22, 62: 24}),
    ],
)
def test_nearest_is_pils(source: int, target: int, pixels: dict[int, int]) -> None:
    for row, pixel in pixels.items():
        column = np.zeros((source, 1), bool)
        column[pixel] = True
        squashed = runs.squash(runs.parse(column), target).decode()
        assert squashed[row].all(), (row, pixel)


sides = st.integers(1, 70)


@settings(max_examples=150, deadline=None)
@given(sides, sides, st.integers(1, 90), st.integers(0, 2**32 - 1))
def test_runs_are_the_pixels(height: int, width: int, grid: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = (rng.random((height, width)) < rng.random() for _ in range(2))
    one, other = runs.parse(a), runs.parse(metrics.as_rle(b))
    assert (one.decode() == a).all() and one.area == a.sum()
    found = runs.intersection_union(one, other)
    assert found == ((a & b).sum(), (a | b).sum())
    together = runs.union([one, other], height, width)
    assert (together.decode() == (a | b)).all() and together.area == found[1]
    single = runs.once([one, other, one], height, width)
    assert (single.decode() == (b & ~a)).all()
    squashed = runs.squash(one, grid)
    expected = a[np.ix_(nearest(height, grid), nearest(width, grid))]
    assert (squashed.decode() == expected).all() and squashed.area == expected.sum()


def test_nothing_at_all() -> None:
    empty = runs.union([], 3, 4)
    assert (empty.area, empty.height, empty.width) == (0, 3, 4)
    assert runs.intersection_union(empty, runs.parse(np.ones((3, 4), bool))) == (0, 12)


@pytest.mark.parametrize(
    ("counts", "message"),
    [("0", "covers 0 pixels"), ("\x20", "invalid character"), ("P", "within a number")],
)
def test_bad_counts_are_named(counts: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        runs.parse({"size": [2, 2], "counts": counts})


@pytest.mark.skipif(not COCO.exists(), reason="no real masks here")
def test_real_masks() -> None:
    data = json.loads(COCO.read_text())
    size = {i["id"]: (i["height"], i["width"]) for i in data["images"]}
    masks: dict[int, list[dict]] = {}
    for a in data["annotations"]:
        found = coco_mask.frPyObjects(a["segmentation"], *size[a["image_id"]])
        rle = coco_mask.merge(found) if isinstance(found, list) else found
        masks.setdefault(a["image_id"], []).append(rle)
    assert sum(map(len, masks.values())) == 565
    for image, found in masks.items():
        first = coco_mask.decode(found[0]).astype(bool)
        squashed = runs.squash(runs.parse(found[0]), 480).decode()
        rows, columns = (nearest(n, 480) for n in size[image])
        assert (squashed == first[np.ix_(rows, columns)]).all()
        for other in found:
            pixels = coco_mask.decode(other).astype(bool)
            expected = ((first & pixels).sum(), (first | pixels).sum())
            assert metrics.intersection_union(found[0], other) == expected
