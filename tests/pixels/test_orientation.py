"""EXIF's orientation: what a picture states, and a picture that states none."""

import numpy as np
import pytest
from helpers.pictures import corners, encoded
from PIL import Image

from unires_jax.errors import DataError, Kind
from unires_jax.pixels import orientation
from unires_jax.pixels.images import decode_image
from unires_jax.serving.photo import read_photo

KINDS = ["JPEG", "PNG", "WEBP", "AVIF"]


def photo(kind: str, number: int, xmp: bool = False) -> bytes:
    """24 x 40 stored pixels and an orientation, among other EXIF or in XMP alone."""
    exif = Image.Exif()
    exif[0x010F] = "a maker"
    about = f'<x:xmpmeta tiff:Orientation="{number}"/>'.encode()
    if not xmp:
        exif[0x0112] = number
    options = {"lossless": True} if kind == "WEBP" else {"quality": 95}
    options |= {"xmp": about} if xmp else {}
    return encoded(Image.fromarray(corners()), kind, exif=exif.tobytes(), **options)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("number", range(1, 9))
def test_without_it_every_reader_sees_the_stored_pixels(kind: str, number: int) -> None:
    data = photo(kind, number)
    assert orientation.stated(data) == number
    bare = orientation.removed(data)
    assert orientation.stated(bare) == 1
    assert (bare == data) == (number == 1)
    np.testing.assert_array_equal(decode_image(bare), decode_image(data))
    np.testing.assert_array_equal(read_photo(bare).pixels, decode_image(bare))
    if kind == "JPEG":  # not a pixel was encoded again
        scan = data.index(b"\xff\xda")
        assert bare.endswith(data[scan:])


def test_xmp_counts_where_exif_is_silent() -> None:
    data = photo("JPEG", 6, xmp=True)
    assert orientation.stated(data) == 6
    assert orientation.stated(orientation.removed(data)) == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("number", range(2, 9))
def test_turned_is_what_people_see(kind: str, number: int) -> None:
    data = photo(kind, number)
    upright = orientation.turned(data)
    assert orientation.stated(upright) == 1
    seen, pixels = read_photo(data).pixels, decode_image(upright)
    assert pixels.shape == seen.shape
    np.testing.assert_array_equal(orientation.decode_upright(data), seen)
    assert np.abs(pixels.astype(int) - seen).mean() < (0.01 if kind == "PNG" else 6)


def test_the_size_says_whose_pixels_masks_belong_to() -> None:
    lying = photo("JPEG", 6)  # 24 x 40 stored, 40 x 24 seen
    assert orientation.for_masks(lying, 24, 40) == lying
    assert decode_image(orientation.for_masks(lying, 40, 24, "upright")).shape[0] == 40
    cases = [(40, 24, "stored", "upright"), (24, 40, "upright", "stored")]
    for height, width, masks, other in cases:
        message = rf"EXIF orientation 6.*shown as 40 x 24.*--orientation={other}"
        with pytest.raises(DataError, match=message) as error:
            orientation.for_masks(lying, height, width, masks)
        assert error.value.kind == Kind.SIZE_DIFFERS
    with pytest.raises(DataError, match="its sides are exchanged"):
        orientation.for_masks(photo("JPEG", 1), 40, 24)
    with pytest.raises(DataError, match="another copy") as error:
        orientation.for_masks(lying, 30, 30)
    assert "EXIF" not in str(error.value)
    with pytest.raises(DataError, match="'lying': expected stored or upright"):
        orientation.checked("lying")


def test_damaged_exif_states_nothing() -> None:
    data = photo("JPEG", 6)
    at = data.index(b"Exif") + 6
    for length in range(at, at + 30):
        spoilt = data[:length] + bytes(20) + data[length + 20 :]
        assert orientation.stated(spoilt) in range(1, 9)
        assert orientation.stated(orientation.removed(spoilt)) == 1
    assert orientation.stated(b"") == orientation.stated(b"\xff\xd8\xff") == 1
