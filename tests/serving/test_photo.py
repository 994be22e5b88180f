"""Pictures of every kind become upright RGB; everything else is refused."""

import io
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from helpers.paths import REAL
from helpers.pictures import bomb, corners, encoded
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from unires_jax.errors import DataError
from unires_jax.serving import photo
from unires_jax.serving.photo import read_photo

IMAGES = REAL / "coco" / "images"


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "WEBP"])
def test_lossless_kinds_and_all_ways_of_giving_them(kind: str, tmp_path: Path) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(Image.fromarray(corners()), kind, **options)
    file = tmp_path / "picture"
    file.write_bytes(data)
    ways = [data, file, str(file), Image.open(io.BytesIO(data)), corners()]
    for way in ways:
        picture = read_photo(way)
        assert picture.note == ""
        np.testing.assert_array_equal(picture.pixels, corners())


# EXIF orientation -> how upright pixels are stored.
STORED = {
    1: lambda x: x,
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.swapaxes(0, 1),
    6: lambda x: np.rot90(x, 1),
    7: lambda x: np.rot90(x, 2).swapaxes(0, 1),
    8: lambda x: np.rot90(x, -1),
}


@pytest.mark.parametrize("orientation", STORED)
def test_exif_orientation_is_undone(orientation: int) -> None:
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](corners())))
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = read_photo(encoded(stored, "PNG", exif=exif.tobytes()))
    np.testing.assert_array_equal(picture.pixels, corners())


def test_grey_palette_alpha_cmyk_and_sixteen_bits() -> None:
    grey = np.arange(200, dtype=np.uint8).reshape(10, 20)
    three = np.repeat(grey[:, :, None], 3, 2)
    image = Image.fromarray(grey)
    np.testing.assert_array_equal(read_photo(encoded(image, "PNG")).pixels, three)
    np.testing.assert_array_equal(read_photo(grey).pixels, three)
    np.testing.assert_array_equal(read_photo(grey[:, :, None]).pixels, three)
    deep = encoded(Image.fromarray(grey.astype(np.uint16) * 257), "PNG")
    np.testing.assert_array_equal(read_photo(deep).pixels, three)
    np.testing.assert_array_equal(read_photo(grey / 255).pixels, three)
    palette = Image.fromarray(corners()).quantize(4)
    pixels = read_photo(encoded(palette, "GIF")).pixels
    np.testing.assert_array_equal(pixels, np.array(palette.convert("RGB")))
    cmyk = Image.fromarray(corners()).convert("CMYK")
    pixels = read_photo(encoded(cmyk, "TIFF")).pixels
    np.testing.assert_array_equal(pixels, corners())


@pytest.mark.parametrize("way", ["array", "file"])
def test_transparent_pixels_show_white(way: str) -> None:
    rgba = np.concatenate([corners(), np.full((24, 40, 1), 255, np.uint8)], axis=2)
    rgba[:, :5, 3] = 0
    file = encoded(Image.fromarray(rgba), "PNG")
    picture = read_photo(rgba if way == "array" else file)
    assert (picture.pixels[:, :5] == 255).all()
    np.testing.assert_array_equal(picture.pixels[:, 5:], corners()[:, 5:])


def test_large_pictures_are_scaled_down_with_a_note(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(photo, "MAX_PIXELS", 240)
    picture = read_photo(corners())
    height, width = picture.pixels.shape[:2]
    assert (height, width) == (12, 20) and "24 x 40" in picture.note
    np.testing.assert_array_equal(picture.pixels, corners()[::2, ::2])


def test_tiny_and_long_pictures() -> None:
    assert read_photo(np.zeros((1, 1, 3), np.uint8)).pixels.shape == (1, 1, 3)
    assert read_photo(np.zeros((1, 3000), np.uint8)).pixels.shape == (1, 3000, 3)


def test_refused_files(tmp_path: Path) -> None:
    whole = encoded(Image.fromarray(corners()), "JPEG")
    cases = {
        b"": "cannot be decoded",
        b"hello": "cannot be decoded",
        whole[:-40]: "cannot be decoded",
        bomb(60_000): "is too large",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n": "cannot be decoded",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>": "cannot be decoded",
    }
    for data, message in cases.items():
        file = tmp_path / "picture.jpg"
        file.write_bytes(data)
        with pytest.raises(DataError, match=message) as error:
            read_photo(file)
        assert str(file) in str(error.value) and len(str(error.value)) < 600
    for path in (tmp_path, tmp_path / "none.jpg", "a\0b", "http://x/y.jpg"):
        with pytest.raises(DataError, match=r"no such file|cannot be read"):
            read_photo(path)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (None, "NoneType"),
        (7, "int"),
        ([[1, 2]], "list"),
        (np.zeros((2, 2, 2), np.uint8), r"shape \(2, 2, 2\)"),
        (np.zeros((0, 4, 3), np.uint8), "shape"),
        (np.zeros(5, np.uint8), "shape"),
        (np.zeros((2, 2), np.int64), "int64"),
        (np.full((2, 2), 255.0), "outside"),
        (np.full((2, 2), np.nan), "outside"),
    ],
)
def test_refused_objects(image: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_photo(image)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["JPEG", "PNG", "WEBP", "TIFF", "GIF"]), st.data())
def test_mutated_files_are_read_or_refused(kind: str, data: st.DataObject) -> None:
    pixels = bytearray(encoded(Image.fromarray(corners()), kind))
    for _ in range(data.draw(st.integers(1, 8))):
        place = data.draw(st.integers(0, len(pixels) - 1))
        pixels[place] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(pixels)))
    for mutated in (bytes(pixels), bytes(pixels[:cut])):
        try:
            picture = read_photo(mutated)
        except DataError:
            continue
        assert picture.pixels.dtype == np.uint8 and picture.pixels.ndim == 3


@pytest.mark.skipif(not IMAGES.is_dir(), reason="needs the real photographs")
def test_photographs_decode_as_in_training() -> None:
    for path in sorted(IMAGES.glob("*.jpg"))[:20]:
        data = np.frombuffer(path.read_bytes(), np.uint8)
        flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
        stored = cv2.imdecode(data, flags)
        pixels = read_photo(path).pixels
        if pixels.shape == stored.shape:  # upright already
            np.testing.assert_array_equal(pixels, stored)


def test_jpegs_decode_as_in_training() -> None:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (9, 13, 3), dtype=np.uint8)
    picture = cv2.resize(coarse, (203, 151), interpolation=cv2.INTER_CUBIC)
    for quality in (60, 95):
        data = encoded(Image.fromarray(picture), "JPEG", quality=quality)
        stored = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
        np.testing.assert_array_equal(read_photo(data).pixels, stored)
