"""One reading of pictures: training, the Predictor and the scripts of exports."""

import importlib.util
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers.pictures import encoded
from PIL import Image

from unires_jax.errors import DataError
from unires_jax.export.command import TEMPLATES
from unires_jax.inference.places import BUNDLED
from unires_jax.pixels import rgb
from unires_jax.pixels.images import decode_image
from unires_jax.serving.photo import read_photo

Read = Callable[[Path], np.ndarray]

_rng = np.random.default_rng(0)
COLOURS = cv2.resize(
    _rng.integers(0, 256, (5, 7, 3), dtype=np.uint8), (56, 40), interpolation=2
)
OPACITY = np.tile(np.linspace(0, 255, 56).astype(np.uint8), (40, 1))
DEEP = _rng.integers(0, 1 << 16, (40, 56, 3), dtype=np.uint16)
GREY = COLOURS[:, :, 0]
OTHER = COLOURS[::-1]
RGBA = np.dstack([COLOURS, OPACITY])


def of(array: np.ndarray, mode: str | None = None) -> Image.Image:
    image = Image.fromarray(array)
    return image.convert(mode) if mode else image


def on_white(colours: np.ndarray) -> np.ndarray:
    image = Image.fromarray(np.dstack([colours, OPACITY]))
    ground = Image.new("RGBA", image.size, "white")
    return np.array(Image.alpha_composite(ground, image).convert("RGB"))


def three(grey: np.ndarray) -> np.ndarray:
    return np.repeat(grey[:, :, None], 3, axis=2)


def opencv(kind: str, array: np.ndarray) -> bytes:
    flipped = array[..., ::-1] if array.shape[-1] == 3 else array
    return cv2.imencode(kind, flipped)[1].tobytes()


PALETTE = of(COLOURS).quantize(16)
LOSSLESS = {"lossless": True}
CASES = {  # bytes, and the pixels where no decoder's rounding decides
    "RGB PNG": (encoded(of(COLOURS), "PNG"), COLOURS),
    "RGB BMP": (encoded(of(COLOURS), "BMP"), COLOURS),
    "RGB TIFF": (encoded(of(COLOURS), "TIFF"), COLOURS),
    "RGB WEBP": (encoded(of(COLOURS), "WEBP", **LOSSLESS), COLOURS),
    "RGB JPEG": (encoded(of(COLOURS), "JPEG", quality=90), None),
    "progressive JPEG": (encoded(of(COLOURS), "JPEG", progressive=True), None),
    "JPEG of RGB": (encoded(of(COLOURS), "JPEG", keep_rgb=True), None),
    "grey JPEG": (encoded(of(GREY), "JPEG"), None),
    "CMYK JPEG": (encoded(of(COLOURS, "CMYK"), "JPEG"), None),
    "AVIF": (encoded(of(COLOURS), "AVIF"), None),
    "CMYK TIFF": (encoded(of(COLOURS, "CMYK"), "TIFF"), COLOURS),
    "grey PNG": (encoded(of(GREY), "PNG"), three(GREY)),
    "first frame of a PNG": (
        encoded(of(COLOURS), "PNG", save_all=True, append_images=[of(OTHER)]),
        COLOURS,
    ),
    "1-bit PNG": (
        encoded(of(GREY).point(lambda v: 255 * (v > 99), "1"), "PNG"),
        three(np.where(GREY > 99, np.uint8(255), np.uint8(0))),
    ),
    "palette PNG": (encoded(PALETTE, "PNG"), np.array(PALETTE.convert("RGB"))),
    "palette GIF": (encoded(PALETTE, "GIF"), np.array(PALETTE.convert("RGB"))),
    "palette PNG, index 0 clear": (
        encoded(PALETTE, "PNG", transparency=0),
        np.where(
            np.array(PALETTE)[:, :, None] == 0, 255, np.array(PALETTE.convert("RGB"))
        ),
    ),
    "RGBA PNG": (encoded(of(RGBA), "PNG"), on_white(COLOURS)),
    "RGBA WEBP": (encoded(of(RGBA), "WEBP", exact=True, **LOSSLESS), on_white(COLOURS)),
    "LA PNG": (
        encoded(Image.merge("LA", (of(GREY), of(OPACITY))), "PNG"),
        on_white(three(GREY)),
    ),
    "one colour clear": (
        encoded(of(COLOURS), "PNG", transparency=tuple(COLOURS[0, 0].tolist())),
        np.where(
            (COLOURS[0, 0] == COLOURS).all(2, keepdims=True), np.uint8(255), COLOURS
        ),
    ),
    "16-bit grey PNG": (
        encoded(of(DEEP[:, :, 0]), "PNG"),
        three((DEEP[:, :, 0] >> 8).astype(np.uint8)),
    ),
    "16-bit grey PNG, one value clear": (
        encoded(of(DEEP[:, :, 0]), "PNG", transparency=int(DEEP[3, 4, 0])),
        three(
            np.where(DEEP[:, :, 0] == DEEP[3, 4, 0], 255, DEEP[:, :, 0] >> 8).astype(
                np.uint8
            )
        ),
    ),
    "16-bit grey TIFF": (
        encoded(of(DEEP[:, :, 0]), "TIFF"),
        three((DEEP[:, :, 0] >> 8).astype(np.uint8)),
    ),
    "16-bit RGB PNG": (opencv(".png", DEEP), (DEEP >> 8).astype(np.uint8)),
    "16-bit RGB TIFF": (opencv(".tiff", DEEP), (DEEP >> 8).astype(np.uint8)),
}


@pytest.fixture(scope="module")
def scripts_read() -> Read:
    """`read` of the script beside an export's run.py."""
    spec = importlib.util.spec_from_file_location("steps", BUNDLED / "steps.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.read


def test_the_bundled_script_is_the_templates() -> None:
    assert (BUNDLED / "steps.py").read_bytes() == (TEMPLATES / "steps.py").read_bytes()


@pytest.mark.parametrize("name", CASES)
def test_all_read_the_same_pixels(
    name: str, scripts_read: Read, tmp_path: Path
) -> None:
    data, expected = CASES[name]
    file = tmp_path / "picture"
    file.write_bytes(data)
    pixels = decode_image(data)
    assert pixels.dtype == np.uint8 and pixels.shape == COLOURS.shape
    np.testing.assert_array_equal(read_photo(file).pixels, pixels)
    np.testing.assert_array_equal(scripts_read(file), pixels)
    if expected is not None:
        np.testing.assert_array_equal(pixels, expected)


@pytest.mark.parametrize("kind", ["F", "I"])
def test_all_refuse_32_bits(kind: str, scripts_read: Read, tmp_path: Path) -> None:
    file = tmp_path / "deep.tiff"
    file.write_bytes(encoded(of(GREY, kind), "TIFF"))
    with pytest.raises(DataError, match=r"image: has 32-bit pixels .*8 or 16 bits"):
        decode_image(file.read_bytes())
    with pytest.raises(DataError, match=r"deep.tiff: has 32-bit pixels"):
        read_photo(file)
    with pytest.raises(SystemExit, match=r"deep.tiff: has 32-bit pixels"):
        scripts_read(file)


@pytest.mark.parametrize("kind", ["WEBP", "TIFF", "BMP", "GIF", "AVIF"])
def test_cut_pictures_are_refused_in_training(kind: str) -> None:
    """Half a picture would be trained on."""
    data = encoded(of(COLOURS), kind)
    assert decode_image(data).shape == COLOURS.shape
    with pytest.raises(DataError, match=r"image: .* whole picture"):
        decode_image(data[: len(data) * 2 // 3])


def test_arrays_are_read_as_files_are() -> None:
    file = opencv(".png", DEEP)
    np.testing.assert_array_equal(read_photo(DEEP).pixels, read_photo(file).pixels)
    rgba = CASES["RGBA PNG"][0]
    np.testing.assert_array_equal(read_photo(RGBA).pixels, read_photo(rgba).pixels)


def test_an_upright_picture_is_not_copied() -> None:
    """Of 50 million pixels a copy is 200 MB."""
    image = Image.new("RGB", (4, 3))
    assert rgb.upright(image) is image
    image.getexif()[0x0112] = 6
    assert rgb.upright(image).size == (3, 4) and image.size == (4, 3)
