"""The connected pieces of a mask and the holes in it."""

import cv2
import numpy as np
from jaxtyping import Bool, Int

_PIECES, _HOLES = 8, 4  # neighbours of a pixel, so that pieces and holes are told apart


def clean(
    mask: Bool[np.ndarray, "H W"], share: float
) -> tuple[Bool[np.ndarray, "H W"], float]:
    """The mask without specks, and its largest piece's share of what is left.

    Pieces and holes of less than `share` of the mask's pixels are specks; the largest
    piece never is. An empty mask stays as it is, with a share of 0. Source: as SAM
    cleans its automatic masks, but relative to the mask.
    """
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return mask, 0.0
    # Only around the mask, with a margin that joins all of the outside.
    around = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    inner = np.pad(mask[around], 1)
    least = share * np.count_nonzero(inner)
    outside, areas = _labels(~inner, _HOLES)
    areas[0] = areas[outside[0, 0]] = inner.size
    inner = inner | (areas < least)[outside]
    pieces, areas = _labels(inner, _PIECES)
    areas[0] = 0
    whole = areas >= min(least, areas.max())
    whole[0] = False
    cleaned = np.zeros_like(mask)
    cleaned[around] = whole[pieces][1:-1, 1:-1]
    return cleaned, float(areas.max() / areas[whole].sum())


def _labels(
    mask: Bool[np.ndarray, "h w"], neighbours: int
) -> tuple[Int[np.ndarray, "h w"], Int[np.ndarray, " n"]]:
    """Each pixel's piece, 0 beside the mask, and the pixels of each."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(
        mask.astype(np.uint8), connectivity=neighbours
    )
    return labels, stats[:, cv2.CC_STAT_AREA].copy()
