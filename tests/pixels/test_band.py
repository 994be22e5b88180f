"""Bands along masks' edges: those of the textbook, on any mask."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unires_jax.pixels.band import band, band_pair, band_width
from unires_jax.pixels.masks import RunMask


def eroded(mask: np.ndarray) -> np.ndarray:
    """A pixel stays if all nine around it are in the mask; none are outside it."""
    height, width = mask.shape
    padded = np.pad(mask, 1)
    shifts = [(y, x) for y in range(3) for x in range(3)]
    return np.all([padded[y : y + height, x : x + width] for y, x in shifts], axis=0)


def textbook(mask: np.ndarray) -> np.ndarray:
    """What as many erosions as the band has pixels take away, on the whole picture."""
    inner = mask
    for _ in range(max(1, round(0.02 * np.hypot(*mask.shape)))):
        inner = eroded(inner)
    return mask & ~inner


@st.composite
def pictures(draw: st.DrawFn) -> np.ndarray:
    """Overlapping boxes less others, at the border too; now and then noise."""
    height, width = draw(st.integers(1, 110)), draw(st.integers(1, 110))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    mask = np.zeros((height, width), bool)
    for value in draw(st.lists(st.booleans(), max_size=6)):
        top, bottom = np.sort(rng.integers(-9, height + 9, 2)).clip(0, height)
        left, right = np.sort(rng.integers(-9, width + 9, 2)).clip(0, width)
        mask[top:bottom, left:right] = value
    flip = draw(st.sampled_from((0.0, 0.0, 0.001, 0.5)))
    return mask ^ (rng.random(mask.shape) < flip)


@settings(max_examples=60, deadline=None)
@given(pictures())
def test_a_band_is_the_textbooks(mask: np.ndarray) -> None:
    runs = RunMask.from_pixels(mask)
    assert band(runs) == RunMask.from_pixels(textbook(mask))
    # Of two masks: what the bands share, and what they cover.
    other = mask[::-1] if mask.any() else ~mask
    edges = textbook(mask), textbook(other)
    expected = int((edges[0] & edges[1]).sum()), int((edges[0] | edges[1]).sum())
    assert band_pair(runs, RunMask.from_pixels(other)) == expected


@pytest.mark.parametrize(
    ("height", "width", "depth"),
    # 0.02 of 25, 75 and 125 are 0.5, 1.5 and 2.5, which round to even numbers.
    [(1, 1, 1), (15, 20, 1), (45, 60, 2), (75, 100, 2), (480, 640, 16), (640, 427, 15)],
)
def test_the_depth_of_a_band(height: int, width: int, depth: int) -> None:
    assert band_width(height, width) == depth


@pytest.mark.parametrize(
    ("box", "pixels"),
    # Top, bottom, left, right in a picture of 40 x 30, whose bands are one pixel deep.
    [
        ((0, 40, 0, 30), 2 * 40 + 2 * 28),  # all of it: the picture's border is an edge
        ((0, 10, 5, 15), 36),  # cut by the border above
        ((7, 8, 3, 4), 1),
        ((7, 9, 3, 20), 34),  # no wider than two bands
        ((7, 10, 3, 20), 51 - 15),
        ((0, 0, 0, 0), 0),
    ],
)
def test_bands_by_hand(box: tuple[int, int, int, int], pixels: int) -> None:
    top, bottom, left, right = box
    mask = np.zeros((40, 30), bool)
    mask[top:bottom, left:right] = True
    assert band(RunMask.from_pixels(mask)).area == pixels


def test_bands_of_different_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(2, 3\).*\(3, 2\)"):
        band_pair(RunMask.empty(2, 3), RunMask.empty(3, 2))
