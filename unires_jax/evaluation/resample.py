"""A model's logits to the mask that a protocol scores, each project's interpolation.

The picture lies in the top left corner of our square canvas (`canvas.Placement`);
CRIS centres it on a canvas of 416. Resizes are matrices, one for each axis.
"""

import functools

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32, Float64

from unires_jax.evaluation.protocols import Protocol
from unires_jax.inference.segment import logit, sigmoid
from unires_jax.pixels.canvas import Placement
from unires_jax.pixels.grid import logits_at, picture_cells


def mask(
    protocol: Protocol, logits: Float[np.ndarray, "g g"], placement: Placement
) -> Bool[np.ndarray, "h w"]:
    """The mask on the protocol's grid: the original picture's, or its square."""
    p, square = placement, protocol.grid
    height, width = (square, square) if square else (p.crop_height, p.crop_width)
    edge = logit(protocol.threshold)  # of a sigmoid, or of an argmax of two: above zero
    if protocol.resample == "cris":
        inverse = placement_inverse(p)
        filled = _extend(logits, p)
        return _warp(filled, inverse, height, width, p.canvas) > protocol.threshold
    if protocol.resample == "bilinear":
        return logits_at(logits, p, height, width) > edge
    rows = _two_steps(height, p.height, p.canvas, len(logits))
    columns = _two_steps(width, p.width, p.canvas, len(logits))
    return rows @ _extend(logits, p) @ columns.T > edge


def _extend(
    logits: Float[np.ndarray, "g g"], p: Placement
) -> Float32[np.ndarray, "g g"]:
    """The outermost cells with picture repeated into the padding, which means nothing.

    Wide kernels reach there.
    """
    cells = picture_cells(logits, p).astype(np.float32)
    return np.pad(cells, [(0, len(logits) - n) for n in cells.shape], "edge")


def cris_mask(
    logits: Float[np.ndarray, "g g"], height: int, width: int, canvas: int = 416
) -> Bool[np.ndarray, "H W"]:
    """CRIS's whole chain: logits over its own centred letterbox to the original size.

    Sigmoid, bicubic with aligned corners to the canvas, cubic warp with zeros around,
    > 0.35.
    """
    inverse = cris_inverse(height, width, canvas)
    return _warp(logits.astype(np.float32), inverse, height, width, canvas) > 0.35


def cris_inverse(
    height: int, width: int, canvas: int = 416
) -> Float64[np.ndarray, "2 3"]:
    """The affine map from CRIS's centred letterbox to the original picture.

    Pixel coordinates meet at the corner pixel's centre, as OpenCV's warp has them.
    """
    scale = min(canvas / height, canvas / width)
    x, y = (canvas - width * scale) / 2, (canvas - height * scale) / 2
    right, bottom = x + width * scale, y + height * scale
    inside = np.array([[x, y], [right, y], [x, bottom]], np.float32)
    original = np.array([[0, 0], [width, 0], [0, height]], np.float32)
    return cv2.getAffineTransform(inside, original)


def placement_inverse(p: Placement) -> Float64[np.ndarray, "2 3"]:
    """The affine map from our canvas to the original picture, pixel centres at halves.

    Our letterbox is made by a resize, CRIS's by a warp: each is undone as it was made.
    """
    x, y = 1 / p.scale_x, 1 / p.scale_y
    return np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2]])


def _warp(
    logits: Float32[np.ndarray, "g g"],
    inverse: Float64[np.ndarray, "2 3"],
    height: int,
    width: int,
    canvas: int,
) -> Float32[np.ndarray, "H W"]:
    """Probabilities at original size."""
    matrix = bicubic_corners(canvas, len(logits))
    probability = matrix @ sigmoid(logits) @ matrix.T
    size, how = (width, height), cv2.INTER_CUBIC
    return cv2.warpAffine(probability, inverse, size, flags=how, borderValue=0.0)


@functools.lru_cache(maxsize=512)
def _two_steps(
    size: int, extent: int, canvas: int, grid: int
) -> Float32[np.ndarray, "size g"]:
    """Grid to canvas, cut to the picture's extent, then to `size` pixels."""
    canvas_step = bicubic_smooth(canvas, grid)[:extent]
    return bicubic_smooth(size, extent) @ canvas_step


def bicubic_smooth(size: int, source: int) -> Float32[np.ndarray, "size source"]:
    """Matrix of PyTorch's bicubic resize with antialias=True of one axis.

    a = -0.5; the kernel widens when shrinking; beyond the edge it is cut and rescaled.
    """
    scale = source / size
    width = max(scale, 1.0)
    centre = (np.arange(size)[:, None] + 0.5) * scale
    pixel = np.arange(source)
    first = np.floor(np.maximum(centre - 2 * width + 0.5, 0))
    last = np.floor(np.minimum(centre + 2 * width + 0.5, source))
    weight = _cubic((pixel + 0.5 - centre) / width, -0.5)
    weight = np.where((pixel >= first) & (pixel < last), weight, 0)
    return (weight / weight.sum(1, keepdims=True)).astype(np.float32)


@functools.lru_cache(maxsize=64)
def bicubic_corners(size: int, source: int) -> Float32[np.ndarray, "size source"]:
    """Matrix of PyTorch's bicubic resize with align_corners=True of one axis.

    a = -0.75; the outermost pixel is repeated beyond the edge.
    """
    at = np.arange(size) * (source - 1) / max(size - 1, 1)
    taps = np.floor(at).astype(np.int64)[:, None] + np.arange(-1, 3)
    weight = _cubic(at[:, None] - taps, -0.75)
    matrix = np.zeros((size, source))
    np.add.at(matrix, (np.arange(size)[:, None], taps.clip(0, source - 1)), weight)
    return matrix.astype(np.float32)


def _cubic(x: Float64[np.ndarray, "..."], a: float) -> Float64[np.ndarray, "..."]:
    """Keys' kernel."""
    x = np.abs(x)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((x - 5) * x + 8) * x * a - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0))
