"""Pictures to another size, as OpenCV does it and faster where OpenCV is slow.

Area averaging by a factor between 1 and 2 (photographs to the usual canvas sizes) costs
OpenCV more than half of what decoding the JPEG does. A pixel then averages at most
3 x 3 source pixels, so two passes of three taps do it in a third of the time, within
one grey level (the rounding of ties) of cv2.INTER_AREA.
"""

import functools
from typing import no_type_check

import cv2
import numpy as np
from jaxtyping import Float32, Int64, UInt8

from unires_jax.pixels.compiled import compiled_after

ROWS = 16  # that numpy fills at once: more would leave the processor's caches; ours


def resize(
    image: UInt8[np.ndarray, "h w 3"],
    canvas: UInt8[np.ndarray, "H W 3"],
    height: int,
    width: int,
    mirror: bool = False,
) -> None:
    """Fill the canvas' first `height` rows and `width` columns with the picture.

    INTER_AREA to shrink, INTER_CUBIC to enlarge.
    """
    h, w = image.shape[:2]
    down = height <= h <= 2 * height and width <= w <= 2 * width
    if down and min(h, w) >= 3:
        rows = np.ascontiguousarray(image).reshape(h, 3 * w)
        _average(rows, *_taps(h, height), *_taps(w, width, mirror), canvas)
        return
    enlarges = height > h or width > w
    method = cv2.INTER_CUBIC if enlarges else cv2.INTER_AREA
    resized = cv2.resize(image, (width, height), interpolation=method)
    canvas[:height, :width] = cv2.flip(resized, 1) if mirror else resized


@functools.lru_cache(maxsize=1024)
def _taps(
    source: int, target: int, mirror: bool = False
) -> tuple[Int64[np.ndarray, "t"], Float32[np.ndarray, "t 3"]]:
    """First source pixel and three weights of each target pixel along one axis."""
    scale = source / target
    start = np.arange(target) * scale
    if mirror:
        start = start[::-1]
    first = np.minimum((start + 1e-9).astype(np.int64), source - 3)
    pixel = first[:, None] + np.arange(3)
    covered = np.minimum(pixel + 1, start[:, None] + scale)
    covered = covered - np.maximum(pixel, start[:, None])
    return first, (np.maximum(covered, 0) / scale).astype(np.float32)


def _averaged(
    image: UInt8[np.ndarray, "h w3"],
    top: Int64[np.ndarray, "H"],
    down: Float32[np.ndarray, "H 3"],
    left: Int64[np.ndarray, "W"],
    across: Float32[np.ndarray, "W 3"],
    out: UInt8[np.ndarray, "_ _ 3"],
) -> None:
    """`_average` in numpy, some rows of the target at a time."""
    for start in range(0, len(top), ROWS):
        some = slice(start, start + ROWS)
        a, b, c = (image[top[some] + i].astype(np.float32) for i in range(3))
        u, v, w = down[some].T[:, :, None]
        rows = (u * a + v * b + w * c).reshape(len(a), -1, 3)
        a, b, c = (rows.take(left + i, 1) for i in range(3))
        u, v, w = across.T[:, :, None]
        out[start : start + len(a), : len(left)] = (
            u * a + v * b + w * c + np.float32(0.5)
        )


@compiled_after(_averaged)
@no_type_check
def _average(image, top, down, left, across, out):
    """Three weighted rows into one, then three weighted pixels of it into one.

    Rows are flat and channels unrolled: the form that the compiler turns into vectors.
    """
    row = np.empty(image.shape[1], np.float32)
    half = np.float32(0.5)
    for y in range(top.size):
        a, b, c = image[top[y]], image[top[y] + 1], image[top[y] + 2]
        u, v, w = down[y]
        for x in range(row.size):
            row[x] = u * np.float32(a[x]) + v * np.float32(b[x]) + w * np.float32(c[x])
        for x in range(left.size):
            n = 3 * left[x]
            u, v, w = across[x]
            red = u * row[n] + v * row[n + 3] + w * row[n + 6]
            green = u * row[n + 1] + v * row[n + 4] + w * row[n + 7]
            blue = u * row[n + 2] + v * row[n + 5] + w * row[n + 8]
            out[y, x, 0] = np.uint8(red + half)
            out[y, x, 1] = np.uint8(green + half)
            out[y, x, 2] = np.uint8(blue + half)
