"""EXIF's orientation, and the picture of a record, which has none.

A camera stores what its sensor saw and states how it is to be turned. Masks belong to
the pixels as they are stored (the RefCOCO family, and whatever was drawn over pixels
that PIL or pycocotools read), or to the upright picture that people and many tools see.
Which, the pixels do not tell: `masks` says so. A record keeps the pixels that its masks
belong to and no orientation, so that readers that turn and readers that do not see the
same. Source: ours.
"""

import io
from typing import Literal

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from unires_jax.errors import DataError, Kind
from unires_jax.pixels import rgb
from unires_jax.pixels.images import check_size, decode_image, image_size

Masks = Literal["stored", "upright"]  # the pixels that masks belong to
MASKS: tuple[Masks, ...] = ("stored", "upright")

UPRIGHT = rgb.UPRIGHT

# One of these stands before every orientation: names of EXIF and XMP in the formats.
_MARKS = (b"Exif", b"eXIf", b"EXIF", b"exif", b"XMP", b"xmp", b"xap", b"irot", b"imir")
_JPEG, _APP1, _SCAN = b"\xff\xd8", 0xE1, 0xDA
_ALONE = {0x01, *range(0xD0, 0xD8)}  # markers without a length
_QUALITY = 95  # of a JPEG that was turned


def stated(data: bytes) -> int:
    """EXIF's orientation of an encoded picture, 1 to 8; 1 if none can be read.

    From 5 on, the upright picture is as high as the stored one is wide.
    """
    if not any(mark in data for mark in _MARKS):
        return rgb.UPRIGHT  # at once: Pillow decodes a PNG to look behind its pixels
    try:
        with rgb.opened(data) as image:
            return rgb.orientation(image)
    except Exception:  # on damaged bytes Pillow raises almost anything
        return rgb.UPRIGHT


def checked(name: str) -> Masks:
    """The choice of that name. Raises DataError naming those that there are."""
    for choice in MASKS:
        if name == choice:
            return choice
    raise DataError(
        f"--orientation={name!r}: expected {' or '.join(MASKS)}, the pixels that the "
        "masks of pictures with an EXIF orientation belong to"
    )


def told(count: int) -> str:
    """What a builder says of so many pictures that state an orientation."""
    return (
        f"{count} pictures state an EXIF orientation; their masks are taken to belong "
        "to the pixels as stored, and so are pictures read. If they belong to the "
        "upright picture: --orientation=upright"
    )


def for_masks(
    data: bytes, height: int, width: int, masks: Masks = "stored", field: str = "image"
) -> bytes:
    """A picture whose stored pixels are those that masks of this size belong to.

    "upright": one that states an orientation is turned and encoded anew. Raises
    DataError unless it has the size, naming EXIF where the other choice fits.
    """
    picture = data
    if masks == "upright":
        image_size(data)  # what is too large is not decoded
        picture = turned(data) if stated(data) != rgb.UPRIGHT else data
    try:
        check_size(picture, height, width, field)
    except DataError as error:
        raise _explained(error, data, height, width, masks) from None
    return picture


def _explained(
    error: DataError, data: bytes, height: int, width: int, masks: Masks
) -> DataError:
    """The error, and the EXIF orientation where it is the cause."""
    number = stated(data)
    if error.kind != Kind.SIZE_DIFFERS or number < 5:
        return error
    lying = image_size(data)
    other, size = ("upright", lying[::-1]) if masks == "stored" else ("stored", lying)
    if size != (height, width):
        return error
    text = (
        f"expected the stated height x width {height} x {width}; the file holds "
        f"{lying[0]} x {lying[1]} pixels and EXIF orientation {number}, by which it is "
        f"shown as {lying[1]} x {lying[0]}, and masks are taken to belong to the "
        f"{'pixels as stored' if masks == 'stored' else 'upright picture'}; give "
        f"--orientation={other} if they belong to the other"
    )
    return DataError(text, place=error.place, kind=error.kind)


def removed(data: bytes) -> bytes:
    """The same stored pixels without an orientation; as they are where there is none.

    A JPEG loses its EXIF and XMP and no pixel is touched; others become PNG.
    """
    if stated(data) == rgb.UPRIGHT:
        return data
    bare = _without_app1(data) if data.startswith(_JPEG) else data
    if stated(bare) == rgb.UPRIGHT and bare != data:
        return bare
    return _encoded(decode_image(data), "PNG")


def turned(data: bytes) -> bytes:
    """The upright picture, encoded anew: PNG if it was, else JPEG at quality 95.

    Raises DataError for what cannot be decoded.
    """
    pixels, kind = _turned(data)
    return _encoded(pixels, "PNG" if kind in ("PNG", "BMP", "GIF") else "JPEG")


def decode_upright(data: bytes) -> UInt8[np.ndarray, "h w 3"]:
    """The RGB pixels of an encoded picture, turned upright as a model is given them.

    Raises DataError as `images.decode_image`.
    """
    if stated(data) == UPRIGHT:
        return decode_image(data)
    image_size(data)  # what is too large is not decoded
    return _turned(data)[0]


def _turned(data: bytes) -> tuple[UInt8[np.ndarray, "h w 3"], str]:
    """The upright pixels, and the format of the file."""
    try:
        with rgb.opened(data) as image:
            return rgb.to_rgb(rgb.upright(image)), str(image.format)
    except DataError:
        raise
    except Exception as error:  # on damaged bytes Pillow raises almost anything
        raise DataError(
            f"image: cannot be turned by its EXIF orientation ({type(error).__name__})",
            kind=Kind.IMAGE_UNREADABLE,
        ) from None


def _encoded(pixels: UInt8[np.ndarray, "h w 3"], kind: str) -> bytes:
    buffer = io.BytesIO()
    options = {"quality": _QUALITY, "subsampling": 0} if kind == "JPEG" else {}
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def _without_app1(data: bytes) -> bytes:
    """A JPEG without the segments that hold EXIF and XMP."""
    kept, at = [data[:2]], 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != _SCAN:
        marker = data[at + 1]
        size = 0 if marker in _ALONE else int.from_bytes(data[at + 2 : at + 4], "big")
        if marker != _APP1:
            kept.append(data[at : at + 2 + size])
        at += 2 + size
    return b"".join([*kept, data[at:]])
