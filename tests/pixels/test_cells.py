"""RLE onto the grid against decoding, mapping and averaging in full."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from unires_jax.pixels import cells
from unires_jax.pixels.canvas import Placement, place
from unires_jax.pixels.masks import RunMask

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
    across, down = st.integers(1, width - left), st.integers(1, height - top)
    box = left, top, draw(across), draw(down)
    size = draw(st.integers(4, 120))
    crop = draw(st.sampled_from([None, box]))
    placement = place(height, width, size, crop, draw(st.booleans()))
    return masks, placement, draw(st.integers(1, 40))


def union_of(masks: list[np.ndarray], height: int, width: int) -> RunMask:
    counts = [RunMask.from_pixels(m).counts for m in masks]
    runs = [RunMask.from_counts(text, height, width) for text in counts]
    return RunMask.union(runs, height, width)


@settings(max_examples=150, deadline=None)
@given(masks_and_placements(), st.tuples(st.integers(0, 200), st.integers(0, 200)))
def test_shares_equal_decode_and_average(
    case: tuple[list[np.ndarray], Placement, int], extra: tuple[int, int]
) -> None:
    masks, placement, grid = case
    height = max(placement.top + placement.crop_height, *(m.shape[0] for m in masks), 1)
    width = max(placement.left + placement.crop_width, *(m.shape[1] for m in masks), 1)
    union = np.any(masks, axis=0) if masks else np.zeros((height, width), bool)
    runs = union_of(masks, height, width)
    expected = reference(union, placement, grid)
    shares = cells.shares(runs, placement, grid)
    assert shares.dtype == np.float32
    assert np.abs(shares - expected).max() <= TOLERANCE
    assert runs.area == union.sum()
    quantized = np.full((grid, grid), 99, np.uint8)
    cells.quantize(runs, placement, quantized)
    assert np.abs(quantized / 255 - expected).max() <= 1 / 510 + TOLERANCE
    p = placement
    inside = union[p.top : p.top + p.crop_height, p.left : p.left + p.crop_width].sum()
    box = (p.left, p.top, p.crop_width, p.crop_height)
    assert cells.area_within(runs, box) == inside


def test_overlap_of_two_masks_counts_once() -> None:
    left, right = np.zeros((2, 8, 8), bool)
    left[:, :6], right[:, 2:] = True, True
    shares = cells.shares(union_of([left, right], 8, 8), place(8, 8, 8), 4)
    assert (shares == 1).all()


def test_padding_is_not_covered() -> None:
    full = np.ones((10, 20), bool)
    shares = cells.shares(union_of([full], 10, 20), place(10, 20, 40), 8)
    assert (shares[:4] == 1).all() and (shares[4:] == 0).all()


def test_flip_moves_a_left_mask_to_the_right() -> None:
    mask = np.zeros((8, 8), bool)
    mask[:, 0] = True
    runs = union_of([mask], 8, 8)
    assert cells.shares(runs, place(8, 8, 8), 8)[:, 0].min() == 1
    flipped = cells.shares(runs, place(8, 8, 8, flip=True), 8)
    assert flipped[:, 7].min() == 1 and flipped[:, :7].max() == 0
