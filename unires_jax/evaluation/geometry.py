"""From the decoder grid to the original picture.

The picture lies in the top left corner of a square canvas (`transforms.Placement`); the
decoder divides the canvas into `g` x `g` cells. Bilinear interpolation is separable and
linear, so it is two small matrices, cached for each size. Source: ours (`native`).
"""

import functools

import numpy as np
from jaxtyping import Bool, Float

from unires_jax.data.raster import Region
from unires_jax.data.transforms import Placement


@functools.lru_cache(maxsize=512)
def interpolation(
    size: int, extent: int, canvas: int, grid: int
) -> Float[np.ndarray, "size cells"]:
    """Bilinear weights of one axis, from the cells that hold picture to its pixels.

    `size` pixels fill the first `extent` of `canvas` pixels, which hold `grid` cells.
    Centres lie at halves; beyond the outermost centres the outermost value holds.
    """
    cells = valid_cells(extent, canvas, grid)
    centre = (np.arange(size) + 0.5) * extent / size * grid / canvas - 0.5
    centre = centre.clip(0, cells - 1)
    below = centre.astype(int)
    weights = np.zeros((size, cells), np.float32)
    pixel = np.arange(size)
    weights[pixel, below] = 1 - (centre - below)
    weights[pixel, (below + 1).clip(max=cells - 1)] += centre - below
    weights.setflags(write=False)
    return weights


def valid_cells(extent: int, canvas: int, grid: int) -> int:
    """Cells of one axis that hold any of the `extent` pixels of picture."""
    return -(-extent * grid // canvas)


def logits_to_original(
    logits: Float[np.ndarray, "g g"], placement: Placement
) -> Float[np.ndarray, "H W"]:
    """Logits at each pixel of the original picture, with the letterbox undone."""
    p, grid = placement, len(logits)
    rows = interpolation(p.crop_height, p.height, p.canvas, grid)
    columns = interpolation(p.crop_width, p.width, p.canvas, grid)
    valid = logits[: rows.shape[1], : columns.shape[1]]
    # Computed as the transpose: COCO's RLE runs down the columns.
    return (columns @ (valid.T @ rows.T)).T


def logits_to_mask(
    logits: Float[np.ndarray, "g g"], placement: Placement
) -> Bool[np.ndarray, "H W"]:
    """The mask at original size: interpolated logits above zero."""
    return logits_to_original(logits, placement) > 0


def through_grid(rle: str, placement: Placement, grid: int) -> Bool[np.ndarray, "H W"]:
    """A mask after the decoder grid: the best answer a model on that grid could give.

    `rle` is COCO's compressed counts over the original picture. Its area share of each
    cell, what training sees, is read as a logit (share - 0.5).
    """
    region = Region([rle], placement.crop_height, placement.crop_width)
    share = region.shares(placement, grid)
    return logits_to_mask(share - np.float32(0.5), placement)
