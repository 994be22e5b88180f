"""Where a picture lies on the square canvas that the model sees.

The geometry is ours: the picture is scaled to fit and put TOP-LEFT, so that padding is
always on the right and at the bottom. Training and evaluation share `Placement`.
"""

import dataclasses
import functools

import numpy as np
from jaxtyping import UInt8

from unires_jax.pixels.images import decode_image
from unires_jax.pixels.resize import resize

Colour = tuple[int, int, int]  # RGB
Box = tuple[int, int, int, int]  # left, top, width, height in pixels of the picture


@dataclasses.dataclass(frozen=True)
class Placement:
    """How original pixels map onto the canvas: crop, then scale, then mirror.

    The crop box is `left, top, crop_width, crop_height` in original pixels; it fills
    the canvas' first `height` rows and `width` columns (the valid area). Without a flip
    canvas x = (x - left) * scale_x; with one it is width minus that.
    """

    left: int
    top: int
    crop_width: int
    crop_height: int
    width: int
    height: int
    canvas: int  # side of the square, pixels
    flip: bool = False

    @property
    def scale_x(self) -> float:
        """Canvas pixels per original pixel, horizontally."""
        return self.width / self.crop_width

    @property
    def scale_y(self) -> float:
        """Canvas pixels per original pixel, vertically."""
        return self.height / self.crop_height


def place(
    height: int,
    width: int,
    image_size: int,
    crop: Box | None = None,
    flip: bool = False,
    side: int | None = None,
) -> Placement:
    """The letterbox of a picture, or of its `crop` (left, top, width, height).

    Its longer side becomes `side` pixels, by default all of the canvas.
    """
    left, top, crop_width, crop_height = crop or (0, 0, width, height)
    scale = (side or image_size) / max(crop_width, crop_height)
    return Placement(
        left=left,
        top=top,
        crop_width=crop_width,
        crop_height=crop_height,
        width=max(1, round(crop_width * scale)),
        height=max(1, round(crop_height * scale)),
        canvas=image_size,
        flip=flip,
    )


def draw(
    image: UInt8[np.ndarray, "h w 3"],
    placement: Placement,
    canvas: UInt8[np.ndarray, "H W 3"],
    pad: Colour,
) -> None:
    """Fill the canvas with the picture placed on it, `pad` around it."""
    p = placement
    part = image[p.top : p.top + p.crop_height, p.left : p.left + p.crop_width]
    resize(part, canvas, p.height, p.width, p.flip)
    padding = _padding(p.canvas, pad)
    canvas[p.height :] = padding[p.height :]
    canvas[: p.height, p.width :] = padding[: p.height, p.width :]


@functools.lru_cache(maxsize=4)
def _padding(size: int, pad: Colour) -> UInt8[np.ndarray, "S S 3"]:
    """A whole canvas of it: copied much faster than filled."""
    return np.full((size, size, 3), pad, np.uint8)


def prepare_image(
    image: bytes | UInt8[np.ndarray, "h w 3"], image_size: int, pad: Colour
) -> tuple[UInt8[np.ndarray, "H W 3"], Placement]:
    """The canvas of an encoded or decoded RGB picture, unaugmented, and its placement.

    Raises DataError as `decode_image` does.
    """
    pixels = decode_image(image) if isinstance(image, bytes) else image
    placement = place(pixels.shape[0], pixels.shape[1], image_size)
    canvas = np.empty((image_size, image_size, 3), np.uint8)
    draw(pixels, placement, canvas, pad)
    return canvas, placement
