"""RLE onto the grid against decoding, mapping and averaging in full."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unires_jax.errors import DataError
from unires_jax.pixels.canvas import Placement, place
from unires_jax.pixels.cells import Region
from unires_jax.pixels.masks import encode_mask, run_lengths

TOLERANCE = 1e-6


def overlaps(pixels: int, scale: float, grid: int) -> np.ndarray:
    """Length of each pixel within each cell of one axis, in cells [g, pixels]."""
    edge = np.arange(pixels + 1) * scale
    cell = np.arange(grid)[:, None]
    return np.clip(
        np.minimum(cell + 1, edge[1:]) - np.maximum(cell, edge[:-1]), 0, None
    )


def reference(mask: np.ndarray, p: Placement, grid: int) -> np.ndarray:
    part = mask[p.top : p.top + p.crop_height, p.left : p.left + p.crop_width]
    down = overlaps(p.crop_height, p.scale_y * grid / p.canvas, grid)
    across = overlaps(p.crop_width, p.scale_x * grid / p.canvas, grid)
    if p.flip:
        part = part[:, ::-1]
    return down @ part.astype(float) @ across.T


@st.composite
def masks_and_placements(draw: st.DrawFn) -> tuple[list[np.ndarray], Placement, int]:
    height, width = draw(st.integers(1, 60)), draw(st.integers(1, 60))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    masks = [
        rng.random((height, width)) < rng.choice([0.02, 0.5, 0.98, 1.1])
        for _ in range(draw(st.integers(0, 3)))
    ]
    left, top = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    box = (
        left,
        top,
        draw(st.integers(1, width - left)),
        draw(st.integers(1, height - top)),
    )
    size = draw(st.integers(4, 120))
    crop = draw(st.sampled_from([None, box]))
    placement = place(height, width, size, crop, draw(st.booleans()))
    return masks, placement, draw(st.integers(1, 40))


def region_of(masks: list[np.ndarray], height: int, width: int) -> Region:
    rles = [encode_mask(m) for m in masks]
    parts = [Region.from_rle(rle, height, width) for rle in rles]
    return Region.union(parts, height, width)


@settings(max_examples=150, deadline=None)
@given(masks_and_placements(), st.tuples(st.integers(0, 200), st.integers(0, 200)))
def test_shares_equal_decode_and_average(
    case: tuple[list[np.ndarray], Placement, int], extra: tuple[int, int]
) -> None:
    masks, placement, grid = case
    height = max(placement.top + placement.crop_height, *(m.shape[0] for m in masks), 1)
    width = max(placement.left + placement.crop_width, *(m.shape[1] for m in masks), 1)
    union = np.any(masks, axis=0) if masks else np.zeros((height, width), bool)
    region = region_of(masks, height, width)
    expected = reference(union, placement, grid)
    shares = region.shares(placement, grid)
    assert shares.dtype == np.float32
    assert np.abs(shares - expected).max() <= TOLERANCE
    assert region.area == union.sum()
    quantized = np.full((grid, grid), 99, np.uint8)
    region.quantize(placement, quantized)
    assert np.abs(quantized / 255 - expected).max() <= 1 / 510 + TOLERANCE
    p = placement
    inside = union[p.top : p.top + p.crop_height, p.left : p.left + p.crop_width].sum()
    box = (p.left, p.top, p.crop_width, p.crop_height)
    assert region.area_within(box) == inside


def test_overlap_of_two_masks_counts_once() -> None:
    left, right = np.zeros((2, 8, 8), bool)
    left[:, :6], right[:, 2:] = True, True
    shares = region_of([left, right], 8, 8).shares(place(8, 8, 8), 4)
    assert (shares == 1).all()


def test_padding_is_not_covered() -> None:
    full = np.ones((10, 20), bool)
    shares = region_of([full], 10, 20).shares(place(10, 20, 40), 8)
    assert (shares[:4] == 1).all() and (shares[4:] == 0).all()


def test_flip_moves_a_left_mask_to_the_right() -> None:
    mask = np.zeros((8, 8), bool)
    mask[:, 0] = True
    region = region_of([mask], 8, 8)
    assert region.shares(place(8, 8, 8), 8)[:, 0].min() == 1
    flipped = region.shares(place(8, 8, 8, flip=True), 8)
    assert flipped[:, 7].min() == 1 and flipped[:, :7].max() == 0


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
        Region.from_rle(rle, 6, 6)


def test_counts_of_another_size_are_told() -> None:
    rle = encode_mask(np.ones((6, 6), bool))
    with pytest.raises(DataError, match=r"covers 36 pixels, the image has 6 x 7"):
        Region.from_rle(rle, 6, 7)


@settings(max_examples=300, deadline=None)
@given(st.text(st.characters(min_codepoint=40, max_codepoint=115), max_size=12))
def test_validity_equals_the_slow_reference(rle: str) -> None:
    """Random strings: the kernel refuses exactly what `check_rle` refuses."""
    try:
        pixels = sum(run_lengths(rle))
    except DataError:
        pixels = -1
    if 0 < pixels < 10**6:
        assert Region.from_rle(rle, pixels, 1).area >= 0
    with pytest.raises(DataError):
        Region.from_rle(rle, 7, 1 if pixels != 7 else 2)
