"""Encoded pictures: what their header says, whether they are whole, their pixels.

The header goes before a decoder: what is too large or cut short is refused for little.
"""

import functools
import io
from collections.abc import Iterator

import cv2
import numpy as np
from jaxtyping import Bool, Shaped, UInt8
from PIL import Image, PngImagePlugin

from unires_jax import limits
from unires_jax.errors import DataError, Kind
from unires_jax.limits import plausible
from unires_jax.pixels import rgb
from unires_jax.pixels.opencv import rgb_flag

# Markers of a JPEG: of frames that libjpeg decodes, of what has no length, and of what
# ends the list.
_FRAMES = (0xC0, 0xC1, 0xC2, 0xC3, 0xC9, 0xCA, 0xCB)
_ALONE = (0x01, *range(0xD0, 0xD8))
_ENDS = (0xD9, 0xDA)
_JPEG, _PNG = b"\xff\xd8", b"\x89PNG\r\n\x1a\n"
_GREY, _PALETTE = 0, 3  # PNG's types of colour


def image_size(data: bytes) -> tuple[int, int]:
    """Height and width that a picture states, without decoding it.

    Raises DataError if the bytes are of none of `rgb.FORMATS`, end before the pixels,
    or state a side above limits.SIDE or more than limits.PIXELS.
    """
    size = None
    if data.startswith(_PNG) and len(data) >= 24:
        size = int.from_bytes(data[20:24], "big"), int.from_bytes(data[16:20], "big")
    elif data.startswith(_JPEG):
        size = _jpeg_size(data)
    elif not data.startswith(_PNG):
        size = _opened_size(data)
    if size is None:
        raise DataError(
            f"image: {len(data)} bytes that are no whole picture "
            f"({', '.join(rgb.FORMATS)})",
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
        remedy = (
            "its sides are exchanged: the height comes first"
            if stated == (width, height)
            else "correct the size, or it is another copy of the picture than the "
            "masks were made for"
        )
        raise DataError(
            f"expected the stated height x width {height} x {width}, is {stated[0]} x "
            f"{stated[1]} pixels; {remedy}",
            place=field,
            kind=Kind.SIZE_DIFFERS,
        )


def decode_image(data: bytes) -> UInt8[np.ndarray, "h w 3"]:
    """The RGB pixels of an encoded picture as stored (an EXIF rotation is not applied).

    The masks of a record refer to them (`orientation`). Raises DataError if the bytes
    are no picture, or end early (which older decoders turn into half a picture).
    """
    if not data:
        raise DataError("image: holds no bytes", kind=Kind.IMAGE_ABSENT)
    size = image_size(data)
    whole = _is_whole(data)
    image = _pixels(data, size) if whole else None
    if image is None:
        fault = "is not a readable picture" if whole else "is truncated or damaged"
        raise DataError(
            f"image: {fault} ({len(data)} bytes); expected a whole picture "
            f"({', '.join(rgb.FORMATS)}), fetch the file again",
            kind=Kind.IMAGE_UNREADABLE,
        )
    return image


def _pixels(data: bytes, size: tuple[int, int]) -> UInt8[np.ndarray, "h w 3"] | None:
    """The pixels as `rgb` reads them; None if they cannot be decoded."""
    flags = rgb_flag() | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        with rgb.opened(data) as image:
            if _is_plain(image, data):
                # The same pixels (tested) in half the time.
                return _decoded(data, flags, size)
            return rgb.to_rgb(image)
    except DataError as error:
        raise DataError(f"image: {error}", kind=Kind.IMAGE_UNREADABLE) from None
    except Exception:  # on damaged bytes decoders raise almost anything
        return None


def _is_plain(image: Image.Image, data: bytes) -> bool:
    """Whether nothing about a picture is left to choose: 8 bits, opaque, one frame."""
    if image.mode not in ("RGB", "L"):
        return False
    if image.format == "PNG":
        moves = getattr(image, "is_animated", False)
        return data[24] == 8 and not image.has_transparency_data and not moves
    return image.format == "JPEG"


def decode_png_mask(data: bytes) -> Bool[np.ndarray, "H W"]:
    """The pixels of a PNG that are not zero: of a palette the index, else any colour.

    A palette's colours mean nothing: index 0 is the background, whatever it looks like
    (VOC, CVAT, labelme). Opacity does not count. Raises DataError unless the bytes are
    a whole PNG of a plausible size, and where opacity alone draws the mask.
    """
    size = image_size(data)
    if data.startswith(_JPEG):
        raise DataError(
            "image: is a JPEG, which keeps no exact values; save the mask as PNG"
        )
    pixels = None
    if data.startswith(_PNG) and _is_whole(data):
        pixels = _mask_values(data, size)
    if pixels is None:
        raise DataError(f"image: {len(data)} bytes that are no whole PNG")
    channels = list(cv2.split(pixels))  # one at a time: fewer copies at once
    colours, opacity = channels[:3], channels[3:]
    if any(map(_varies, opacity)) and not any(map(_varies, colours)):
        raise DataError(
            "image: has one colour everywhere and is drawn by its opacity, which does "
            "not count; save the mask with one channel, 0 = not the target"
        )
    return functools.reduce(np.logical_or, colours[1:], colours[0] != 0)


def _varies(channel: Shaped[np.ndarray, "h w"]) -> bool:
    return bool((channel != channel[0, 0]).any())


def _decoded(
    data: bytes, flags: int, size: tuple[int, int]
) -> Shaped[np.ndarray, "h w *c"] | None:
    """OpenCV's pixels; None if it cannot decode them to the size of their header."""
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except (cv2.error, MemoryError):  # it raises where there is too little memory
        return None
    return None if pixels is None or pixels.shape[:2] != size else pixels


def _mask_values(data: bytes, size: tuple[int, int]) -> np.ndarray | None:
    """The values of a whole PNG, channels last; of a palette its indices."""
    if _colour_type(data) == _PALETTE:
        with PngImagePlugin.PngImageFile(io.BytesIO(data)) as image:
            return np.asarray(image)
    return _decoded(data, cv2.IMREAD_UNCHANGED, size)


def is_one_channel_png(data: bytes) -> bool:
    """Whether a PNG states one value a pixel: grey or an index, without opacity."""
    return data.startswith(_PNG) and _colour_type(data) in (_GREY, _PALETTE)


def _colour_type(data: bytes) -> int:
    """What the header of a PNG states; -1 if it ends before."""
    return data[25] if len(data) > 25 else -1


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


def _opened_size(data: bytes) -> tuple[int, int] | None:
    try:
        with rgb.opened(data) as image:
            return image.height, image.width
    except Exception:  # on damaged bytes Pillow raises almost anything
        return None


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
