"""Masks as people save them: what counts is the value, or the index of a palette."""

import cv2
import numpy as np
import pytest
from helpers.pictures import encoded
from helpers.small_data import rectangle
from PIL import Image

from unires_jax.errors import DataError
from unires_jax.pixels.images import decode_png_mask

MASK = rectangle((40, 56), 10, 6, 20, 15)


def palette(*colours: tuple[int, int, int], bits: int = 8) -> bytes:
    image = Image.fromarray(MASK.astype(np.uint8)).convert("P")
    image.putdata(MASK.astype(np.uint8).ravel().tolist())
    image.putpalette(np.array(colours, np.uint8).tobytes())
    return encoded(image, "PNG", bits=bits)


def plain(value: int, dtype: type = np.uint8, channels: int = 1) -> bytes:
    array = (MASK * dtype(value)).astype(dtype)
    if channels > 1:
        array = np.repeat(array[:, :, None], channels, axis=2)
    return cv2.imencode(".png", array)[1].tobytes()


def over(colour: int, opacity: np.ndarray) -> Image.Image:
    """One colour everywhere, of an opacity."""
    grey = Image.new("L", (56, 40), colour)
    return Image.merge("LA", (grey, Image.fromarray(opacity)))


FORMS = {
    "0 and 1": plain(1),
    "0 and 255": plain(255),
    "16 bits, below 256": plain(1, np.uint16),
    "16 bits, a multiple of 256": plain(256, np.uint16),
    "RGB of 16 bits": plain(1, np.uint16, 3),
    "1 bit": encoded(Image.fromarray(MASK), "PNG"),
    "RGB": plain(7, channels=3),
    "palette on black": palette((0, 0, 0), (128, 0, 0)),
    "palette on white": palette((255, 255, 255), (255, 0, 0)),
    "palette, the target black": palette((9, 9, 9), (0, 0, 0)),
    "palette of 1 bit": palette((255, 255, 255), (0, 0, 0), bits=1),
    "opacity beside a colour": encoded(
        Image.merge(
            "LA",
            (
                Image.fromarray(MASK.astype(np.uint8) * 255),
                Image.fromarray(MASK.astype(np.uint8) * 90),
            ),
        ),
        "PNG",
    ),
}


@pytest.mark.parametrize("name", FORMS)
def test_every_form_is_the_same_mask(name: str) -> None:
    np.testing.assert_array_equal(decode_png_mask(FORMS[name]), MASK)


@pytest.mark.parametrize("colour", [0, 255])
def test_a_mask_of_opacity_alone_is_refused(colour: int) -> None:
    """It would be empty, or the whole picture."""
    opacity = MASK.astype(np.uint8) * 255
    with pytest.raises(DataError, match=r"drawn by its opacity.*one channel"):
        decode_png_mask(encoded(over(colour, opacity), "PNG"))
    everywhere = encoded(over(colour, np.full_like(opacity, 80)), "PNG")
    assert decode_png_mask(everywhere).all() == bool(colour)


def test_a_jpeg_is_refused_as_a_mask() -> None:
    data = encoded(Image.fromarray(MASK.astype(np.uint8) * 255), "JPEG")
    with pytest.raises(DataError, match=r"is a JPEG, .*save the mask as PNG"):
        decode_png_mask(data)
    with pytest.raises(DataError, match="no whole PNG"):
        decode_png_mask(encoded(Image.fromarray(MASK), "BMP"))
