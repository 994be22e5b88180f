"""A mask's runs straight to area shares of the decoder's cells, without decoding.

A run of mask pixels in one column is two points of a step function along y; each point
is four additions to a table of differences, and one running sum per column ends it. The
cost follows the mask's outline instead of its pixels. The algorithm is ours.
"""

from typing import no_type_check

import numpy as np
from jaxtyping import Float32, Float64, UInt8

from unires_jax.pixels.canvas import Placement
from unires_jax.pixels.compiled import compiled
from unires_jax.pixels.masks import RunMask


@compiled
@no_type_check
def _area(spans, height, left, top, right, bottom):
    """Mask pixels within a box."""
    total = 0
    for start, end in spans:
        for x in range(max(start // height, left), min((end - 1) // height + 1, right)):
            y0 = max(start - x * height, top)
            y1 = min(end - x * height, bottom)
            total += max(0, y1 - y0)
    return total


@compiled
@no_type_check
def _shares(spans, height, left, top, right, bottom, scale_x, scale_y, mirror, grid):
    """Share of each cell; scales are cells per pixel, `mirror` the width in cells."""
    steps = np.zeros((grid + 2, grid))  # differences along y
    for start, end in spans:
        for x in range(max(start // height, left), min((end - 1) // height + 1, right)):
            y0 = (max(start - x * height, top) - top) * scale_y
            y1 = (min(end - x * height, bottom) - top) * scale_y
            if y1 <= y0:
                continue
            x0 = (x - left) * scale_x
            x1 = x0 + scale_x
            if mirror > 0:
                x0, x1 = mirror - x1, mirror - x0
            row0, row1 = int(y0), int(y1)
            part0, part1 = y0 - row0, y1 - row1
            for cell in range(max(int(x0), 0), min(int(np.ceil(x1)), grid)):
                wide = min(x1, cell + 1) - max(x0, cell)
                if wide <= 0:
                    continue
                steps[row0, cell] += wide * (1 - part0)
                steps[row0 + 1, cell] += wide * part0
                steps[row1, cell] -= wide * (1 - part1)
                steps[row1 + 1, cell] -= wide * part1
    for row in range(1, grid):
        for cell in range(grid):
            steps[row, cell] += steps[row - 1, cell]
    return steps[:grid]


@compiled
@no_type_check
def _quantize(shares, out):
    """round(255 * share)."""
    for row in range(shares.shape[0]):
        for cell in range(shares.shape[1]):
            share = min(max(shares[row, cell], 0.0), 1.0)
            out[row, cell] = np.uint8(share * 255 + 0.5)


def area_within(mask: RunMask, box: tuple[int, int, int, int]) -> int:
    """Pixels of a mask within `box` (left, top, width, height)."""
    left, top, width, height = box
    return int(_area(mask.spans, mask.height, left, top, left + width, top + height))


def shares(
    mask: RunMask, placement: Placement, grid: int
) -> Float32[np.ndarray, "g g"]:
    """Share of each cell of the canvas' `grid` x `grid` that a mask covers, in [0, 1].

    The exact area average of the mask carried through `placement`; cells or parts of
    cells in the padding count as uncovered.
    """
    return _placed_shares(mask, placement, grid).clip(0, 1).astype(np.float32)


def quantize(
    mask: RunMask, placement: Placement, out: UInt8[np.ndarray, "g g"]
) -> None:
    """Fill `out` with `shares` as round(255 * share): at most 1/510 away."""
    _quantize(_placed_shares(mask, placement, out.shape[0]), out)


def _placed_shares(
    mask: RunMask, p: Placement, grid: int
) -> Float64[np.ndarray, "g g"]:
    cells = grid / p.canvas  # per canvas pixel
    return _shares(
        mask.spans,
        mask.height,
        p.left,
        p.top,
        p.left + p.crop_width,
        p.top + p.crop_height,
        p.scale_x * cells,
        p.scale_y * cells,
        p.width * cells if p.flip else 0.0,
        grid,
    )
