"""From the decoder grid to the original picture.

The picture lies in the top left corner of a square canvas (`canvas.Placement`); the
decoder divides the canvas into `g` x `g` cells. Source: ours (`native`).
"""

import functools
from typing import no_type_check

import numpy as np
from jaxtyping import Bool, Float, Float32, Int64

from unires_jax.pixels.canvas import Placement
from unires_jax.pixels.cells import shares
from unires_jax.pixels.compiled import compiled_after
from unires_jax.pixels.masks import RunMask

COLUMNS = 256  # of pixels that numpy fills at once: more would take much memory; ours


@functools.lru_cache(maxsize=1024)
def taps(
    size: int, extent: int, canvas: int, grid: int
) -> tuple[Int64[np.ndarray, "size 2"], Float32[np.ndarray, "size"]]:
    """Bilinear taps of one axis: for each pixel two cells, and the second's weight.

    `size` pixels fill the first `extent` of `canvas` pixels, which hold `grid` cells.
    Centres lie at halves; beyond the outermost centres the outermost value holds, and
    cells without any picture are never read.
    """
    last = valid_cells(extent, canvas, grid) - 1
    centre = (np.arange(size) + 0.5) * extent / size * grid / canvas - 0.5
    centre = centre.clip(0, last)
    below = centre.astype(np.int64)
    cells = np.stack([below, (below + 1).clip(max=last)], axis=1)
    return cells, (centre - below).astype(np.float32)


def valid_cells(extent: int, canvas: int, grid: int) -> int:
    """Cells of one axis that hold any of the `extent` pixels of picture."""
    return -(-extent * grid // canvas)


def picture_cells(
    logits: Float[np.ndarray, "g g"], placement: Placement
) -> Float[np.ndarray, "h w"]:
    """The cells that hold any of the picture; the others mean nothing."""
    p, grid = placement, len(logits)
    height = valid_cells(p.height, p.canvas, grid)
    return logits[:height, : valid_cells(p.width, p.canvas, grid)]


def logits_at(
    logits: Float[np.ndarray, "g g"], placement: Placement, height: int, width: int
) -> Float32[np.ndarray, "H W"]:
    """Bilinear logits at each pixel of the picture in a size of one's choice.

    The letterbox is undone; `height` and `width` may squash the picture.
    """
    p, grid = placement, len(logits)
    out = np.empty((width, height), np.float32)  # column-major, as COCO's RLE runs
    rows = taps(height, p.height, p.canvas, grid)
    columns = taps(width, p.width, p.canvas, grid)
    _interpolate(np.ascontiguousarray(logits.T, np.float32), *rows, *columns, out)
    return out.T


def logits_to_original(
    logits: Float[np.ndarray, "g g"], placement: Placement
) -> Float32[np.ndarray, "H W"]:
    """Logits at each pixel of the original picture, with the letterbox undone."""
    return logits_at(logits, placement, placement.crop_height, placement.crop_width)


def _interpolated(
    logits: Float32[np.ndarray, "g g"],
    cells_y: Int64[np.ndarray, "H 2"],
    weight_y: Float32[np.ndarray, "H"],
    cells_x: Int64[np.ndarray, "W 2"],
    weight_x: Float32[np.ndarray, "W"],
    out: Float32[np.ndarray, "W H"],
) -> None:
    """`_interpolate` in numpy, some columns at a time."""
    for start in range(0, len(out), COLUMNS):
        some = slice(start, start + COLUMNS)
        one, two = logits[cells_x[some, 0]], logits[cells_x[some, 1]]
        columns = one + (two - one) * weight_x[some, None]
        a, b = columns.take(cells_y[:, 0], 1), columns.take(cells_y[:, 1], 1)
        out[some] = a + (b - a) * weight_y


@compiled_after(_interpolated)
@no_type_check
def _interpolate(logits, cells_y, weight_y, cells_x, weight_x, out):
    """Fill out[x, y] from logits[x, y]: each column of pixels, then along it."""
    for x in range(out.shape[0]):
        one, two = logits[cells_x[x, 0]], logits[cells_x[x, 1]]
        column = one + (two - one) * weight_x[x]
        for y in range(out.shape[1]):
            a, b = column[cells_y[y, 0]], column[cells_y[y, 1]]
            out[x, y] = a + (b - a) * weight_y[y]


def logits_to_mask(
    logits: Float[np.ndarray, "g g"], placement: Placement
) -> Bool[np.ndarray, "H W"]:
    """The mask at original size: interpolated logits above zero."""
    return logits_to_original(logits, placement) > 0


def through_grid(
    mask: RunMask, placement: Placement, grid: int
) -> Bool[np.ndarray, "H W"]:
    """A mask after the decoder grid: the best answer a model on that grid could give.

    Its area share of each cell, what training sees, is read as a logit (share - 0.5).
    """
    share = shares(mask, placement, grid)
    return logits_to_mask(share - np.float32(0.5), placement)
