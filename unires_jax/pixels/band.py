"""The band of a mask along its edge, whose overlap is the Boundary IoU.

Source: Cheng et al., "Boundary IoU" (CVPR 2021). Erosion within the mask's box is ours.
"""

import math

import cv2
import numpy as np

from unires_jax.pixels.masks import RunMask, joined

WIDTH = 0.02  # of the picture's diagonal, at least one pixel
_KERNEL = np.ones((3, 3), np.uint8)


def band_width(height: int, width: int) -> int:
    """How many pixels deep the band is in a picture of this size."""
    return max(1, round(WIDTH * math.sqrt(height**2 + width**2)))


def band(mask: RunMask) -> RunMask:
    """The pixels of a mask that `band_width` erosions by 3 x 3 pixels take away.

    What lies outside the picture is background, so that a mask cut by the picture's
    border has an edge there too. A mask no wider than two bands is all band.
    """
    depth = band_width(mask.height, mask.width)
    left, top, width, height = mask.box
    if min(width, height) <= 2 * depth:
        return mask
    # Column by column, as runs are, within a ring of background: nothing further out
    # is nearer to any of its pixels.
    inside = np.zeros((width + 2, height + 2), np.uint8)
    box = mask.pixels().T[left : left + width, top : top + height]
    inside[1:-1, 1:-1] = box
    edge = inside - cv2.erode(inside, _KERNEL, iterations=depth)
    ends = np.flatnonzero(np.diff(edge.ravel())) + 1
    column, row = np.divmod(ends, height + 2)
    ends = (left + column - 1) * mask.height + top + row - 1
    return RunMask(joined(ends.reshape(-1, 2)), mask.height, mask.width)


def band_pair(a: RunMask, b: RunMask) -> tuple[int, int]:
    """Pixels in both bands, and in either. Raises ValueError if sizes differ."""
    return band(a).intersection_union(band(b))
