"""Encoded pictures: what their header says, whether they are whole, their pixels.

The header goes before a decoder: what is too large or cut short is refused for little.
"""

import functools
import io
from collections.abc import Iterator

import cv2
import numpy as np
from jaxtyping import Bool, Shaped, UInt8
from PIL import PngImagePlugin

from unires_jax import limits
from unires_jax.errors import DataError, Kind
from unires_jax.limits import plausible

# Markers of a JPEG: of frames that libjpeg decodes, of what has no length, and of what
# ends the list.
_FRAMES = (0xC0, 0xC1, 0xC2, 0xC3, 0xC9, 0xCA, 0xCB)
_ALONE = (0x01, *range(0xD0, 0xD8))
_ENDS = (0xD9, 0xDA)
_JPEG, _PNG = b"\xff\xd8", b"\x89PNG\r\n\x1a\n"


def image_size(data: bytes) -> tuple[int, int]:
    """Height and width that a JPEG or PNG states, without decoding it.

    Raises DataError if the bytes are neither, end before the pixels, or state a side
    above limits.SIDE or more than limits.PIXELS.
    """
    size = None
    if data.startswith(_PNG) and len(data) >= 24:
        size = int.from_bytes(data[20:24], "big"), int.from_bytes(data[16:20], "big")
    elif data.startswith(_JPEG):
        size = _jpeg_size(data)
    if size is None:
        raise DataError(
            f"image: {len(data)} bytes that are no whole JPEG or PNG",
            kind=Kind.IMAGE_UNREADABLE,
        )
    height, width = size
    if not plausible(height, width):
        raise DataError(
            f"image: states {height} x {width} pixels, refused",
            kind=Kind.IMAGE_UNREADABLE,
        )
    return height, width


def check_size(data: bytes, height: int, width: int, field: str = "image") -> None:
    """Raise DataError unless a picture states the size its masks are for.

    One that states too many pixels is refused before anything is decoded.
    """
    stated = image_size(data)
    if stated != (height, width):
        raise DataError(
            f"expected the stated height x width {height} x {width}, is {stated[0]} x "
            f"{stated[1]} pixels; correct the size, or it is another copy of the "
            "picture than the masks were made for",
            place=field,
            kind=Kind.SIZE_DIFFERS,
        )


def decode_image(data: bytes) -> UInt8[np.ndarray, "h w 3"]:
    """The RGB pixels of an encoded picture as stored (an EXIF rotation is not applied).

    Masks and sizes of every source refer to the stored pixels. Raises DataError if the
    bytes are no picture, or end early (which older decoders turn into half a picture).
    """
    if not data:
        raise DataError("image: holds no bytes", kind=Kind.IMAGE_ABSENT)
    flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
    image_size(data)
    whole = _is_whole(data)
    image = _decoded(data, flags) if whole else None
    if image is None:
        fault = "is not a readable picture" if whole else "is truncated or damaged"
        raise DataError(
            f"image: {fault} ({len(data)} bytes); expected a whole JPEG or PNG, "
            "fetch the file again",
            kind=Kind.IMAGE_UNREADABLE,
        )
    return image


def decode_png_mask(data: bytes) -> Bool[np.ndarray, "H W"]:
    """The pixels of a PNG in which any colour is not zero; opacity does not count.

    Raises DataError unless the bytes are a whole PNG of a plausible size.
    """
    image_size(data)
    pixels = None
    if data.startswith(_PNG) and _is_whole(data):
        pixels = _decoded(data, cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise DataError(f"image: {len(data)} bytes that are no whole PNG")
    channels = cv2.split(pixels)[:3]  # one at a time: fewer copies at once
    return functools.reduce(np.logical_or, channels[1:], channels[0] != 0)


def _decoded(data: bytes, flags: int) -> Shaped[np.ndarray, "h w *c"] | None:
    """OpenCV's pixels; None if it cannot decode them to the size of their header."""
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except (cv2.error, MemoryError):  # it raises where there is too little memory
        return None
    stated = image_size(data)
    return None if pixels is None or pixels.shape[:2] != stated else pixels


def is_grey_png(data: bytes) -> bool:
    """Whether a PNG states one channel: neither colours, a palette nor opacity."""
    return data.startswith(_PNG) and data[25:26] == b"\0"


def _is_whole(data: bytes) -> bool:
    """False if a JPEG lacks its end marker, or a PNG a chunk or a checksum.

    OpenCV 5 can take seconds over a damaged PNG.
    """
    if data.startswith(_JPEG):
        return data.rfind(b"\xff\xd9", _jpeg_scan(data)) >= 0
    if data.startswith(_PNG):
        return _checksums_agree(data)
    return True


def _checksums_agree(data: bytes) -> bool:
    """Whether a PNG has all its chunks and each its sum."""
    try:
        with PngImagePlugin.PngImageFile(io.BytesIO(data)) as image:
            image.verify()
    except Exception:  # on damaged bytes Pillow raises almost anything
        return False
    return True


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Height and width of the frame that libjpeg decodes; None if it would not.

    Raises DataError for too many scans.
    """
    for marker, at in _jpeg_markers(data):
        if marker in _FRAMES and at + 7 <= len(data):
            height = int.from_bytes(data[at + 3 : at + 5], "big")
            width = int.from_bytes(data[at + 5 : at + 7], "big")
            check_scans(data)
            return height, width
    return None


def check_scans(data: bytes) -> None:
    """Raise DataError for a JPEG of more than limits.SCANS scans.

    A few bytes of a progressive one make the decoder pass over all its pixels again.
    """
    if data.startswith(_JPEG) and data.count(b"\xff\xda") > limits.SCANS:
        raise DataError(
            f"image: more than {limits.SCANS} scans, refused",
            kind=Kind.IMAGE_UNREADABLE,
        )


def _jpeg_scan(data: bytes) -> int:
    """Where the pixels begin: an embedded thumbnail has an end marker of its own."""
    return max((at for _, at in _jpeg_markers(data)), default=2)


def _jpeg_markers(data: bytes) -> Iterator[tuple[int, int]]:
    """The markers before the pixels, each with the place of what follows it.

    Read as libjpeg's jdmarker.c reads them, whatever stands between them: another
    reading would take another frame for the one that is decoded.
    """
    at = 2
    while (at := data.find(b"\xff", at)) >= 0:
        while data[at : at + 1] == b"\xff":
            at += 1
        marker = data[at] if at < len(data) else 0
        at += 1
        if not marker:  # no marker: the byte 0xff, or the end
            continue
        yield marker, at
        if marker in _ENDS:
            return
        if marker not in _ALONE:
            at += max(int.from_bytes(data[at : at + 2], "big"), 2)
