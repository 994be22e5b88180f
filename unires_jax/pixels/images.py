"""What an encoded picture says of itself, read without decoding it.

Goes before a decoder: what is too large or cut short is refused for little.
"""

import zlib

import cv2
import numpy as np
from jaxtyping import UInt8

from unires_jax.errors import DataError

MAX_SIDE = 1 << 15  # pixels; no COCO image is longer than 640
MAX_PIXELS = 1 << 26  # 8192 x 8192; a decoder makes room before it finds damage
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # JPEG markers that carry the size


def check_size(image: bytes, height: int, width: int) -> None:
    """Raise DataError unless a picture has the size its masks were drawn on."""
    size = image_size(image)
    if size != (height, width):
        raise DataError(
            f"image: is {size[0]} x {size[1]} pixels, its masks are for {height} x "
            f"{width}; they belong to different copies"
        )


def image_size(data: bytes) -> tuple[int, int]:
    """Height and width that a JPEG or PNG states, without decoding it.

    Raises DataError if the bytes are neither, end before the size, or state a side
    above MAX_SIDE or more
    than MAX_PIXELS.
    """
    size = None
    if data.startswith(b"\x89PNG\r\n\x1a\n") and len(data) >= 24:
        size = int.from_bytes(data[20:24], "big"), int.from_bytes(data[16:20], "big")
    elif data.startswith(b"\xff\xd8"):
        size = _jpeg_size(data)
    if size is None:
        raise DataError(f"image: {len(data)} bytes that are no whole JPEG or PNG")
    if not plausible(*size):
        raise DataError(f"image: states {size[0]} x {size[1]} pixels, refused")
    return size


def check_png(data: bytes) -> None:
    """Raise DataError unless the bytes are a whole PNG."""
    if not is_whole_png(data):
        raise DataError(f"image: {len(data)} bytes that are no whole PNG")


def is_whole_png(data: bytes) -> bool:
    """Whether a PNG has its chunks in order, with their checksums.

    Goes before a decoder: OpenCV 5 can take seconds over a damaged one.
    """
    at, kinds = 8, []
    while data.startswith(b"\x89PNG\r\n\x1a\n") and at + 12 <= len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4], "big")
        stored = int.from_bytes(data[end : end + 4], "big")
        if end + 4 > len(data) or zlib.crc32(data[at + 4 : end]) != stored:
            break
        kinds.append(data[at + 4 : at + 8])
        at = end + 4
        if kinds[-1] == b"IEND":
            break
    return bool(kinds) and (
        (kinds[0], kinds[-1]) == (b"IHDR", b"IEND") and b"IDAT" in kinds
    )


def plausible(height: int, width: int) -> bool:
    """Whether an image may have this size, in pixels."""
    sides = 0 < height <= MAX_SIDE and 0 < width <= MAX_SIDE
    return sides and height * width <= MAX_PIXELS


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
        elif marker in _FRAMES:
            height, width = data[at + 5 : at + 7], data[at + 7 : at + 9]
            return int.from_bytes(height, "big"), int.from_bytes(width, "big")
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return None


def decode_image(data: bytes) -> UInt8[np.ndarray, "h w 3"]:
    """The RGB pixels of an encoded picture as stored (an EXIF rotation is not applied).

    Masks and sizes of every source refer to the stored pixels. Raises DataError if the
    bytes are no picture, or end early (which older decoders turn into half a picture).
    """
    if not data:
        raise DataError("image: holds no bytes")
    flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
    whole = _is_whole(data)
    image = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if whole else None
    if image is None:
        fault = "is not a readable picture" if whole else "is truncated or damaged"
        raise DataError(
            f"image: {fault} ({len(data)} bytes); expected a whole JPEG or PNG, "
            "fetch the file again"
        )
    return image


def _is_whole(data: bytes) -> bool:
    """False if a JPEG lacks its end marker, or a PNG a chunk or a checksum."""
    if data.startswith(b"\xff\xd8"):
        return data.rfind(b"\xff\xd9", _jpeg_scan(data)) >= 0
    if data.startswith(b"\x89PNG"):
        return is_whole_png(data)
    return True


def _jpeg_scan(data: bytes) -> int:
    """Where the pixels begin: an embedded thumbnail has an end marker of its own."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return at
