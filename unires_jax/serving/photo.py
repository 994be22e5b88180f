"""Any picture a user may give, as upright 8-bit RGB pixels. Pictures are hostile.

A picture's bytes become pixels as in training (`pixels.rgb`), but upright.
"""

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image, UnidentifiedImageError

from unires_jax import limits
from unires_jax.errors import DataError
from unires_jax.pixels import images, rgb
from unires_jax.pixels.resize import resize

MAX_BYTES = 1 << 28  # of a file, 256 MB (ours)
MAX_PIXELS = 1 << 24  # larger pictures are scaled down, 4096 x 4096 (ours)

T = TypeVar("T")
ImageLike = Any  # str | Path | bytes | PIL.Image.Image | np.ndarray | Photo


class Photo(NamedTuple):
    """A picture as the model is given it, and what was done to it."""

    pixels: UInt8[np.ndarray, "h w 3"]  # RGB
    note: str  # "", or what a user should know


def read_photo(image: ImageLike) -> Photo:
    """The picture of a path, bytes, a PIL image or an array, turned upright.

    Grey, palette, CMYK and 16-bit pictures become 8-bit RGB, transparent pixels show
    white, of an animation the first frame is taken. A picture above MAX_PIXELS is
    scaled down to them. Arrays: uint8, uint16, or floats in [0, 1], of shape [h, w],
    [h, w, 1], [h, w, 3] (RGB) or [h, w, 4] (RGBA). A Photo is read already. Raises
    DataError for anything else.
    """
    if isinstance(image, Photo):
        return image
    if isinstance(image, np.ndarray):
        return _limited(_array_to_rgb(image))
    if isinstance(image, Image.Image):
        return _limited(_decoded(image))
    if isinstance(image, bytes | bytearray | memoryview):
        return _limited(_opened(bytes(image), "image", _decoded))
    if isinstance(image, str | os.PathLike):
        path = Path(image)
        return _limited(_opened(_bytes_of(path), str(path), _decoded))
    raise DataError(
        f"image: is a {type(image).__name__}; expected a path, bytes, a PIL image or "
        "a numpy array"
    )


def size_of(data: bytes) -> tuple[int, int]:
    """Height and width of a picture's bytes by their header; no pixel is decoded.

    Raises DataError for what is no picture.
    """
    return _opened(data, "image", lambda image: (image.height, image.width))


def encode_png(pixels: UInt8[np.ndarray, "h w c"] | Bool[np.ndarray, "h w"]) -> bytes:
    """A picture (RGB or RGBA), or a mask as 0 and 255, as PNG."""
    if pixels.dtype == bool:
        pixels = pixels.astype(np.uint8) * 255
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def encode_jpeg(pixels: UInt8[np.ndarray, "h w 3"]) -> bytes:
    """A picture as JPEG, for the eye: the loss does not show."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=92, subsampling=0)
    return buffer.getvalue()


def _bytes_of(path: Path) -> bytes:
    try:
        if not path.is_file():
            raise DataError(f"{path}: no such file")
        if path.stat().st_size > MAX_BYTES:
            raise DataError(
                f"{path}: has {path.stat().st_size} bytes, the limit is {MAX_BYTES}"
            )
        return path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        if isinstance(error, DataError):
            raise
        raise DataError(f"{str(path)!r}: cannot be read: {error}") from None


def _opened(data: bytes, name: str, use: Callable[[Image.Image], T]) -> T:
    expected = f"expected a whole picture ({', '.join(rgb.FORMATS)})"
    if len(data) > MAX_BYTES:
        raise DataError(f"{name}: has {len(data)} bytes, the limit is {MAX_BYTES}")
    try:
        images.check_scans(data)
        with rgb.opened(data) as image:
            return use(image)
    except Image.DecompressionBombError as error:
        raise DataError(f"{name}: is too large: {error}") from None
    except UnidentifiedImageError:
        raise DataError(
            f"{name}: cannot be decoded (no known picture format); {expected}"
        ) from None
    except DataError as error:
        raise DataError(f"{name}: {error}") from None
    except Exception as error:  # on damaged bytes decoders raise almost anything
        reason = str(error).replace(repr(data), "its bytes")[:200]
        raise DataError(
            f"{name}: cannot be decoded ({type(error).__name__}: {reason}); {expected}"
        ) from None


def _decoded(image: Image.Image) -> UInt8[np.ndarray, "h w 3"]:
    if image.width * image.height > 4 * MAX_PIXELS:
        side = round(MAX_PIXELS**0.5)
        image.draft("RGB", (side, side))  # JPEG alone: decodes at an eighth to a half
    if image.width * image.height > limits.PIXELS:
        raise DataError(
            f"is too large: {image.height} x {image.width} pixels, at most "
            f"{limits.PIXELS} in all; scale it down, or save it as JPEG"
        )
    return rgb.to_rgb(rgb.upright(image))


def _array_to_rgb(array: np.ndarray) -> UInt8[np.ndarray, "h w 3"]:
    shape = array.shape
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4) or not array.size:
        raise DataError(
            f"image: an array of shape {shape}; expected [h, w], [h, w, 1], [h, w, 3] "
            "or [h, w, 4], channels last"
        )
    array = _to_bytes(array)
    if array.shape[2] == 4:
        return rgb.to_rgb(Image.fromarray(array))  # as a file of it is read
    return np.broadcast_to(array, (*array.shape[:2], 3)).astype(np.uint8, order="C")


def _to_bytes(array: np.ndarray) -> UInt8[np.ndarray, "h w c"]:
    if array.dtype == np.uint8:
        return array
    if array.dtype == np.uint16:
        return rgb.to_bytes(array)
    if np.issubdtype(array.dtype, np.floating):
        if not (np.isfinite(array).all() and 0 <= array.min() <= array.max() <= 1):
            raise DataError("image: an array of floats outside [0, 1]")
        return (array * 255).round().astype(np.uint8)
    raise DataError(
        f"image: an array of {array.dtype}; expected uint8, uint16 or floats in [0, 1]"
    )


def _limited(pixels: UInt8[np.ndarray, "h w 3"]) -> Photo:
    height, width = pixels.shape[:2]
    if height * width <= MAX_PIXELS:
        return Photo(pixels, "")
    scale = (MAX_PIXELS / (height * width)) ** 0.5
    size = (max(1, int(height * scale)), max(1, int(width * scale)))
    smaller = np.empty((*size, 3), np.uint8)
    resize(pixels, smaller, *size)
    return Photo(
        smaller,
        f"the picture has {height} x {width} pixels; it was scaled down to {size[0]} x "
        f"{size[1]}, and so are its masks",
    )
