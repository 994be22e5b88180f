"""The one reading of a picture: any format and mode to 8-bit RGB pixels.

Training, evaluation and the Predictor read pictures through here, and the scripts of
exports repeat it (`export/templates/steps.py`): transparent pixels show white, of 16
bits the upper eight count, grey is repeated, of an animation the first frame is taken.
Pixels come as they are stored; only TIFF's own orientation is applied, as every reader
does. Source: ours.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps

from unires_jax.errors import DataError

# Nothing but plain image formats is admitted: Pillow also knows some that start other
# programs, and Image.open would try them all.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF")
# How the names of their files end, in any case.
_ENDS = "jpg jpeg png webp bmp tif tiff gif avif"
SUFFIXES = frozenset(f".{end}" for end in _ENDS.split())

UPRIGHT = 1  # EXIF's number of an orientation that changes nothing
_TAG = 0x0112  # EXIF's field of the orientation


@contextmanager
def opened(data: bytes) -> Iterator[Image.Image]:
    """A picture whose header is read and no pixel yet.

    Raises what Pillow raises, which on damaged bytes is almost anything.
    """
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        yield image


def orientation(image: Image.Image) -> int:
    """EXIF's orientation of an opened picture, 1 to 8; 1 where it states none.

    From 5 on, height and width change places when the picture is turned upright. TIFF
    is read upright.
    """
    stated = 1 if image.format == "TIFF" else image.getexif().get(_TAG, UPRIGHT)
    return stated if stated in range(1, 9) else UPRIGHT


def upright(image: Image.Image) -> Image.Image:
    """The picture turned by its EXIF orientation."""
    if orientation(image) == UPRIGHT:
        return image  # exif_transpose copies it
    return ImageOps.exif_transpose(image)


def to_rgb(image: Image.Image) -> UInt8[np.ndarray, "h w 3"]:
    """The pixels of an opened picture. Raises DataError for 32 bits a channel."""
    if image.mode.startswith("I;16"):
        return _deep_to_rgb(image)
    if image.mode in ("I", "F"):
        raise DataError(
            f"has 32-bit pixels (mode {image.mode}); expected 8 or 16 bits a channel"
        )
    if image.has_transparency_data:
        image = image.convert("RGBA")
        ground = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(ground, image)
    if image.mode != "RGB":  # convert copies what is RGB
        image = image.convert("RGB")
    return np.array(image)


def _deep_to_rgb(image: Image.Image) -> UInt8[np.ndarray, "h w 3"]:
    grey = np.asarray(image).astype(np.uint16)
    pixels = to_bytes(grey)
    if (clear := image.info.get("transparency")) is not None:
        pixels = np.where(grey == clear, np.uint8(255), pixels)
    return np.repeat(pixels[:, :, None], 3, axis=2)


def to_bytes(values: np.ndarray) -> np.ndarray:
    """The upper byte of 16-bit values, as decoders of 16-bit colours have it."""
    return (values >> 8).astype(np.uint8)
