"""Boxes x0, y0, x1, y1 in pixels, and what they cut out of a picture."""

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Shaped, UInt8

from unires_jax.pixels.masks import RunMask

Box = tuple[float, float, float, float]
_PADDING = 127  # of a square crop: about the mean of photographs; ours


def of(mask: RunMask) -> Box:
    """The box around a mask's pixels; zeros without any."""
    x, y, width, height = mask.box
    return float(x), float(y), float(x + width), float(y + height)


def area(box: Box) -> float:
    """Pixels, not whole ones; 0 for a box that ends before it begins."""
    return max(box[2] - box[0], 0.0) * max(box[3] - box[1], 0.0)


def clip(box: Iterable[Any], height: int, width: int) -> Box:
    """The part within a picture of a box of any four numbers; NaN counts as 0."""
    x0, y0, x1, y1 = (0.0 if math.isnan(v) else float(v) for v in box)
    return (
        *(min(max(x0, 0.0), float(width)), min(max(y0, 0.0), float(height))),
        *(min(max(x1, 0.0), float(width)), min(max(y1, 0.0), float(height))),
    )


def grow(box: Box, share: float) -> Box:
    """A box larger on each side by a share of its length along that direction."""
    x, y = share * (box[2] - box[0]), share * (box[3] - box[1])
    return box[0] - x, box[1] - y, box[2] + x, box[3] + y


def around(boxes: list[Box]) -> Box:
    """The smallest box that holds all; at least one is given."""
    x0, y0, x1, y1 = zip(*boxes, strict=True)
    return min(x0), min(y0), max(x1), max(y1)


def ious(a: Float[np.ndarray, "a 4"], b: Float[np.ndarray, "b 4"]) -> np.ndarray:
    """Intersection over union of each pair, [a, b]; 0 where both are empty."""
    first = np.maximum(a[:, None, :2], b[None, :, :2])
    last = np.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = np.prod(np.clip(last - first, 0, None), axis=2)
    sizes_a, sizes_b = (
        np.prod(np.clip(x[:, 2:] - x[:, :2], 0, None), axis=1) for x in (a, b)
    )
    covered = sizes_a[:, None] + sizes_b[None] - shared
    return np.divide(shared, covered, out=np.zeros_like(shared), where=covered > 0)


def iou(a: Box, b: Box) -> float:
    """Intersection over union of two boxes."""
    return float(ious(np.array([a], np.float64), np.array([b], np.float64))[0, 0])


class Window(NamedTuple):
    """Rows and columns of a picture, whole pixels."""

    top: int
    bottom: int
    left: int
    right: int

    def cut(self, pixels: Shaped[np.ndarray, "H W *c"]) -> np.ndarray:
        """Its pixels, not copied."""
        return pixels[self.top : self.bottom, self.left : self.right]

    def outer(self, box: Box) -> Box:
        """A box in the window as one of the picture."""
        x, y = self.left, self.top
        return box[0] + x, box[1] + y, box[2] + x, box[3] + y

    def inner(self, box: Box) -> Box:
        """A box of the picture as one in the window; it may leave it."""
        x, y = self.left, self.top
        return box[0] - x, box[1] - y, box[2] - x, box[3] - y

    def paste(
        self, pixels: Shaped[np.ndarray, "h w"], height: int, width: int
    ) -> np.ndarray:
        """What was cut, back in a picture of zeros."""
        whole = np.zeros((height, width), pixels.dtype)
        self.cut(whole)[...] = pixels
        return whole


def window(box: Box, height: int, width: int, grown: float = 0.0) -> Window:
    """The whole pixels that a box, grown by a share on each side, touches."""
    x0, y0, x1, y1 = clip(grow(box, grown), height, width)
    return Window(math.floor(y0), math.ceil(y1), math.floor(x0), math.ceil(x1))


def square(image: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "s s 3"]:
    """A crop in the middle of a grey square: no model cuts its ends off then."""
    height, width = image.shape[:2]
    side = max(height, width)
    padded = np.full((side, side, 3), _PADDING, np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    padded[top : top + height, left : left + width] = image
    return padded
