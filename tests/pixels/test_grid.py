"""The decoder grid laid over pictures of any size."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unires_jax.pixels import grid as grids
from unires_jax.pixels.canvas import place
from unires_jax.pixels.masks import RunMask

sizes = st.tuples(st.integers(1, 90), st.integers(1, 90))


def test_taps_by_hand() -> None:
    # 4 pixels over 2 cells: centres at .25 and .75 of a cell, clamped at both ends.
    cells, weight = grids.taps(4, 8, 8, 2)
    values = np.array([0.0, 1.0])[cells]
    values_there = values[:, 0] * (1 - weight) + values[:, 1] * weight
    np.testing.assert_allclose(values_there, [0, 0.25, 0.75, 1], atol=1e-7)


def test_padding_is_never_read() -> None:
    placement = place(40, 80, 64)  # fills the upper half of the canvas
    logits = np.full((16, 16), 1.0, np.float32)
    logits[8:] = -1e6
    np.testing.assert_array_equal(
        grids.logits_to_original(logits, placement), np.ones((40, 80), np.float32)
    )


@settings(max_examples=60, deadline=None)
@given(sizes, st.sampled_from([(32, 8), (48, 12), (56, 16)]))
def test_equals_interpolation_of_the_full_canvas(
    size: tuple[int, int], canvas_grid: tuple[int, int]
) -> None:
    """A plane of logits comes out as the same plane, read at every pixel's centre."""
    canvas, grid = canvas_grid
    placement = place(*size, canvas)
    cells = np.arange(grid, dtype=np.float64) + 0.5
    plane = cells[:, None] * 3 - cells[None] * 2 + 1
    logits = grids.logits_to_original(plane.astype(np.float32), placement)
    y, x = (
        np.clip(
            (np.arange(n) + 0.5) * extent / n * grid / canvas,
            0.5,
            -(-extent * grid // canvas) - 0.5,
        )
        for n, extent in zip(size, (placement.height, placement.width), strict=True)
    )
    np.testing.assert_allclose(logits, y[:, None] * 3 - x[None] * 2 + 1, atol=1e-3)


def test_agrees_with_opencv_on_a_whole_canvas() -> None:
    logits = np.random.default_rng(0).normal(size=(12, 12)).astype(np.float32)
    resized = grids.logits_to_original(logits, place(100, 100, 48))
    expected = cv2.resize(logits, (100, 100), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_allclose(resized, expected, atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(st.tuples(st.integers(40, 200), st.integers(40, 200)), st.integers(0, 2**31 - 1))
def test_a_mask_through_the_grid_comes_back_in_place(
    size: tuple[int, int], seed: int
) -> None:
    """A large box returns with each edge less than one cell off, in original pixels."""
    rng = np.random.default_rng(seed)
    (top, bottom), (left, right) = (
        (int(rng.integers(0, n // 4)), int(rng.integers(3 * n // 4, n))) for n in size
    )
    mask = np.zeros(size, bool)
    mask[top:bottom, left:right] = True
    placement = place(*size, 96)
    through = grids.through_grid(RunMask.from_pixels(mask), placement, 48)
    rows, columns = np.flatnonzero(through.any(1)), np.flatnonzero(through.any(0))
    cell = 96 / 48 / placement.scale_x
    edges = rows[0] - top, rows[-1] + 1 - bottom, columns[0] - left
    assert np.abs([*edges, columns[-1] + 1 - right]).max() <= max(1, cell)


def test_full_and_empty_masks_survive_the_grid() -> None:
    placement = place(70, 130, 64)
    for value in (True, False):
        mask = np.full((70, 130), value)
        through = grids.through_grid(RunMask.from_pixels(mask), placement, 16)
        assert (through == value).mean() > 0.98


@pytest.mark.parametrize(
    ("canvas", "grid", "expected"),
    [
        (480, 120, (0.38, 0.78, 0.87)),
        (480, 240, (0.89, 0.95, 0.97)),
        (352, 88, (0.00, 0.55, 0.78)),
    ],
)
def test_ceiling_of_small_disks(
    canvas: int, grid: int, expected: tuple[float, ...]
) -> None:
    """Disks of 8, 12, 16 pixels on 640 x 480: stated figures within 0.1 (the placement
    of the disk among the cells moves the smallest most)."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:480, :640] + 0.5
    placement = place(480, 640, canvas)
    for diameter, ceiling in zip((8, 12, 16), expected, strict=True):
        scores = []
        for centre in rng.uniform(50, 430, (12, 2)):
            mask = np.hypot(y - centre[0], x - centre[1]) <= diameter / 2
            through = grids.through_grid(RunMask.from_pixels(mask), placement, grid)
            scores.append((mask & through).sum() / (mask | through).sum())
        assert np.mean(scores) == pytest.approx(ceiling, abs=0.11)
