"""Masks as runs: equal to the pixels, and PIL's NEAREST squash pixel for pixel."""

import json

import numpy as np
import pytest
from helpers.nearest import nearest
from helpers.paths import REAL
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from unires_jax import limits
from unires_jax.errors import DataError
from unires_jax.pixels.masks import RunMask, as_rle

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
        squashed = RunMask.of(column).squash(target).pixels()
        assert squashed[row].all(), (row, pixel)


sides = st.integers(1, 70)


@settings(max_examples=150, deadline=None)
@given(sides, sides, st.integers(1, 90), st.integers(0, 2**32 - 1))
def test_runs_are_the_pixels(height: int, width: int, grid: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = (rng.random((height, width)) < rng.random() for _ in range(2))
    first, second = RunMask.of(a), RunMask.of(as_rle(b))
    assert (first.pixels() == a).all() and first.area == a.sum()
    pair = first.intersection_union(second)
    assert pair == ((a & b).sum(), (a | b).sum())
    union = RunMask.union([first, second], height, width)
    assert (union.pixels() == (a | b)).all() and union.area == pair[1]
    single = RunMask.once([first, second, first], height, width)
    assert (single.pixels() == (b & ~a)).all()
    squashed = first.squash(grid)
    expected = a[np.ix_(nearest(height, grid), nearest(width, grid))]
    assert (squashed.pixels() == expected).all() and squashed.area == expected.sum()


@settings(max_examples=150, deadline=None)
@given(sides, sides, st.integers(0, 2**32 - 1))
def test_counts_and_boxes_are_pycocotools(height: int, width: int, seed: int) -> None:
    """However a mask came to be, its text is the one pycocotools writes."""
    rng = np.random.default_rng(seed)
    share = rng.choice([0.0, 0.02, 0.5, 0.98, 1.1])
    a, b = rng.random((2, height, width)) < share
    runs = RunMask.from_pixels(a)
    packed = coco_mask.encode(np.asfortranarray(a, np.uint8))
    assert runs.rle == {"size": [height, width], "counts": packed["counts"].decode()}
    assert as_rle(runs.rle) == packed
    assert runs.box == tuple(coco_mask.toBbox(packed))
    union = RunMask.union([runs, RunMask.from_pixels(b)], height, width)
    together = coco_mask.encode(np.asfortranarray(a | b, np.uint8))
    assert union.counts == together["counts"].decode()
    lengths = np.diff(runs.spans.ravel(), prepend=0, append=a.size).tolist()
    again = RunMask.of({"size": [height, width], "counts": lengths})
    assert again.counts == runs.counts


def test_empty_runs_within_counts_are_joined() -> None:
    runs = RunMask.from_runs([1, 2, 0, 3, 0], 2, 3)
    assert runs.spans.tolist() == [[1, 6]]
    packed = coco_mask.frPyObjects({"size": [2, 3], "counts": [1, 2, 0, 3]}, 2, 3)
    read = RunMask.from_counts(packed["counts"], 2, 3)
    assert read.spans.tolist() == runs.spans.tolist()
    assert read.counts == RunMask.from_runs([1, 5], 2, 3).counts


def test_a_polygon_is_filled_as_pycocotools_fills_it() -> None:
    polygon = [3.0, 2.0, 30.5, 4.0, 20.0, 25.0]
    (rle,) = coco_mask.frPyObjects([polygon], 32, 40)
    assert RunMask.from_polygon(polygon, 32, 40).counts == rle["counts"].decode()


def test_nothing_at_all() -> None:
    empty = RunMask.union([], 3, 4)
    assert (empty.area, empty.height, empty.width, empty.box) == (0, 3, 4, (0, 0, 0, 0))
    assert empty.intersection_union(RunMask.of(np.ones((3, 4), bool))) == (0, 12)


def test_what_is_no_mask_is_refused() -> None:
    with pytest.raises(ValueError, match="original picture's size"):
        RunMask.empty(2, 3).intersection_union(RunMask.empty(3, 2))
    for runs in ([1, 2], [7, -1], []):
        with pytest.raises(DataError, match=r"rle: runs of \d pixels do not fill"):
            RunMask.from_runs(runs, 2, 3)


def run_lengths(rle: str) -> list[int]:
    """The slow reference. Raises DataError on anything but whole runs from 0 up."""
    runs: list[int] = []
    value = shift = 0
    for digit in (char - 48 for char in rle.encode()):
        if not 0 <= digit < 64 or shift > 60:
            raise DataError("character")
        value |= (digit & 31) << shift
        shift += 5
        if not digit & 32:
            value -= (digit & 16 and 1) << shift
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
        if runs and runs[-1] < 0:
            raise DataError("negative")
    if shift:
        raise DataError("cut")
    return runs


@pytest.mark.parametrize(
    ("rle", "message"),
    [
        ("`0\x7f1", "invalid character"),
        ("12é", "invalid character"),
        ("P", "ends within a number"),
        ("O", "negative"),
        ("01", "covers 1 pixels.*another size"),
        ("", "covers 0 pixels"),
        ("0" + "o" * 14 + "0", "invalid character"),
    ],
)
def test_invalid_counts_are_told(rle: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        RunMask.from_counts(rle, 6, 6)


def test_counts_of_another_size_are_told() -> None:
    rle = RunMask.from_pixels(np.ones((6, 6), bool)).counts
    with pytest.raises(DataError, match=r"covers 36 pixels, the image has 6 x 7"):
        RunMask.from_counts(rle, 6, 7)


@settings(max_examples=300, deadline=None)
@given(st.text(st.characters(min_codepoint=40, max_codepoint=115), max_size=12))
def test_validity_equals_the_slow_reference(rle: str) -> None:
    """Random strings: the kernel refuses exactly what the slow reading refuses."""
    try:
        pixels = sum(run_lengths(rle))
    except DataError:
        pixels = -1
    if 0 < pixels <= limits.SIDE:
        assert RunMask.from_counts(rle, pixels, 1).area >= 0
    with pytest.raises(DataError):
        RunMask.from_counts(rle, 7, 1 if pixels != 7 else 2)


@pytest.mark.skipif(not COCO.exists(), reason="no real masks here")
def test_real_masks() -> None:
    data = json.loads(COCO.read_text())
    size = {i["id"]: (i["height"], i["width"]) for i in data["images"]}
    masks: dict[int, list[dict]] = {}
    for a in data["annotations"]:
        pieces = coco_mask.frPyObjects(a["segmentation"], *size[a["image_id"]])
        rle = coco_mask.merge(pieces) if isinstance(pieces, list) else pieces
        masks.setdefault(a["image_id"], []).append(rle)
    assert sum(map(len, masks.values())) == 565
    for image, of_image in masks.items():
        first = coco_mask.decode(of_image[0]).astype(bool)
        squashed = RunMask.of(of_image[0]).squash(480).pixels()
        rows, columns = (nearest(n, 480) for n in size[image])
        assert (squashed == first[np.ix_(rows, columns)]).all()
        for rle in of_image:
            pixels = coco_mask.decode(rle).astype(bool)
            expected = ((first & pixels).sum(), (first | pixels).sum())
            pair = RunMask.of(of_image[0]).intersection_union(RunMask.of(rle))
            assert pair == expected
