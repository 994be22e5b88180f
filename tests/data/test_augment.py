"""Geometry of the canvas, decoding, and what sentences allow."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unires_jax.config import BACKBONES
from unires_jax.data.augment import (
    may_crop,
    may_flip,
    mirrored,
    random_crop,
    recoloured,
    shrunk,
)
from unires_jax.errors import DataError
from unires_jax.pixels.canvas import draw, place, prepare_image
from unires_jax.pixels.images import decode_image
from unires_jax.pixels.resize import resize

RNG = np.random.default_rng(0)
PAD = BACKBONES["clip"].pad_colour


def noise(height: int, width: int) -> np.ndarray:
    return RNG.integers(0, 256, (height, width, 3), np.uint8)


def drawn(image: np.ndarray, size: int, **place_args: object) -> np.ndarray:
    placement = place(*image.shape[:2], size, **place_args)
    canvas = np.zeros((size, size, 3), np.uint8)
    draw(image, placement, canvas, PAD)
    return canvas


def test_other_light_changes_no_hue() -> None:
    """Greys stay grey, and of two channels the greater stays the greater."""
    base = RNG.integers(60, 180, (20, 20, 3), np.uint8)
    base[:3] = base[:3, :, :1]
    changed = [recoloured(base, 0.3, np.random.default_rng(i)) for i in range(20)]
    for pixels in changed:
        assert (np.ptp(pixels[:3].astype(int), axis=2) <= 1).all()
        order = (base.astype(int) - np.roll(base, 1, 2)) > 8
        assert (pixels.astype(int) - np.roll(pixels, 1, 2).astype(int))[order].min() > 0
    means = [pixels.mean() / base.mean() for pixels in changed]
    spreads = [pixels.std() / base.std() for pixels in changed]
    assert 0.69 < min(means) < 0.85 and 1.15 < max(means) < 1.31
    assert min(spreads) < 0.8 and max(spreads) > 1.2
    np.testing.assert_array_equal(recoloured(base, 0.0, RNG), base)


def test_a_picture_shrinks_half_of_the_time_and_never_too_far() -> None:
    sides = np.array([shrunk(200, 0.4, RNG) for _ in range(400)])
    assert 0.4 < (sides == 200).mean() < 0.6
    assert 120 <= sides.min() < 130 and sides.max() == 200


def test_the_padding_is_the_mean_colour() -> None:
    """As the published CLIP processors fill it, and as checkpoints were trained."""
    assert PAD == (123, 117, 104)


def test_letterbox_is_top_left_and_padded() -> None:
    canvas, p = prepare_image(noise(40, 80), 64, PAD)
    assert (p.height, p.width, p.canvas) == (32, 64, 64)
    assert (p.scale_x, p.scale_y) == (0.8, 0.8)
    assert (canvas[32:] == PAD).all()
    assert not (canvas[:32] == PAD).all(axis=(1, 2)).any()
    canvas, p = prepare_image(noise(80, 30), 64, PAD)
    assert (p.height, p.width) == (64, 24)
    assert (canvas[:, 24:] == PAD).all()


@pytest.mark.parametrize("shape", [(64, 64), (40, 64), (64, 40)])
def test_same_size_is_untouched(shape: tuple[int, int]) -> None:
    image = noise(*shape)
    canvas, _ = prepare_image(image, 64, PAD)
    assert np.array_equal(canvas[: shape[0], : shape[1]], image)


@pytest.mark.parametrize(
    ("shape", "method"), [((30, 20), cv2.INTER_CUBIC), ((200, 150), cv2.INTER_AREA)]
)
def test_enlarges_cubic_and_shrinks_area(shape: tuple[int, int], method: int) -> None:
    image = noise(*shape)
    canvas, p = prepare_image(image, 64, PAD)
    expected = cv2.resize(image, (p.width, p.height), interpolation=method)
    assert np.array_equal(canvas[: p.height, : p.width], expected)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 90), st.integers(1, 90), st.data())
def test_shrinking_equals_opencv_within_a_grey_level(
    height: int, width: int, data: st.DataObject
) -> None:
    """The compiled form rounds ties up, OpenCV to even: tolerance 1 of 255."""
    image = noise(height, width)
    out_h = data.draw(st.integers(max(1, height // 3), height))
    out_w = data.draw(st.integers(max(1, width // 3), width))
    mirror = data.draw(st.booleans())
    canvas = np.full((100, 100, 3), 7, np.uint8)
    resize(image, canvas, out_h, out_w, mirror)
    expected = cv2.resize(image, (out_w, out_h), interpolation=cv2.INTER_AREA)
    if mirror:
        expected = expected[:, ::-1]
    assert np.abs(canvas[:out_h, :out_w].astype(int) - expected).max() <= 1
    canvas[:out_h, :out_w] = 7
    assert (canvas == 7).all()  # nothing was written elsewhere


@pytest.mark.parametrize("size", [(48, 60), (100, 60), (20, 30)])
def test_flip_mirrors_the_valid_area_only(size: tuple[int, int]) -> None:
    image = noise(*size)
    p = place(*size, 64)
    flat = drawn(image, 64)[: p.height, : p.width].astype(int)
    flipped = drawn(image, 64, flip=True)
    assert np.abs(flipped[: p.height, : p.width] - flat[:, ::-1]).max() <= 1
    assert (flipped[p.height :] == PAD).all()
    assert (flipped[:, p.width :] == PAD).all()


def test_crop_fills_the_canvas() -> None:
    image = noise(60, 80)
    box = (10, 20, 40, 30)
    p = place(60, 80, 64, box)
    assert (p.left, p.top, p.crop_width, p.crop_height) == box
    assert (p.height, p.width) == (48, 64) and p.scale_x == 1.6
    alone = drawn(image[20:50, 10:50].copy(), 64)
    assert np.array_equal(drawn(image, 64, crop=box), alone)


@given(st.integers(1, 50), st.integers(1, 50), st.floats(0, 1), st.integers(0, 1000))
def test_random_crop_lies_inside(
    height: int, width: int, side: float, seed: int
) -> None:
    left, top, w, h = random_crop(height, width, side, np.random.default_rng(seed))
    assert left >= 0 and top >= 0 and left + w <= width and top + h <= height
    assert w >= max(1, side * width - 0.5) and h >= max(1, side * height - 0.5)


def encoded(kind: str, image: np.ndarray) -> bytes:
    return cv2.imencode(kind, image[..., ::-1])[1].tobytes()


def test_decode_gives_rgb() -> None:
    image = np.zeros((20, 30, 3), np.uint8)
    image[..., 0] = 200  # red
    assert np.array_equal(decode_image(encoded(".png", image)), image)
    assert decode_image(encoded(".jpg", image))[..., 0].min() > 190


def test_grey_pictures_become_rgb() -> None:
    grey = encoded(".png", noise(9, 8)[..., 0][..., None])
    assert decode_image(grey).shape == (9, 8, 3)


def test_exif_rotation_is_not_applied() -> None:
    """Masks refer to the stored pixels; a rotated decode would not fit them."""
    data = encoded(".jpg", noise(20, 30))
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\1\x01\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0"
    segment = b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif
    rotated = data[:2] + segment + data[2:]
    turned = cv2.imdecode(np.frombuffer(rotated, np.uint8), cv2.IMREAD_COLOR)
    assert turned.shape == (30, 20, 3)  # the tag is one that decoders obey
    assert decode_image(rotated).shape == (20, 30, 3)


def with_thumbnail(data: bytes) -> bytes:
    """The JPEG with a whole small JPEG inside a segment before its pixels."""
    small = encoded(".jpg", noise(8, 8))
    head = b"\xff\xe1" + (len(small) + 2).to_bytes(2, "big")
    return data[:2] + head + small + data[2:]


@pytest.mark.parametrize("kind", [".jpg", ".png"])
@pytest.mark.parametrize("share", [0.3, 0.9, 0.999])
def test_truncated_pictures_are_told(kind: str, share: float) -> None:
    data = encoded(kind, noise(64, 64))
    with pytest.raises(DataError, match="truncated"):
        decode_image(data[: int(len(data) * share)])


def test_end_of_a_thumbnail_is_not_the_end() -> None:
    data = with_thumbnail(encoded(".jpg", noise(64, 64)))
    assert decode_image(data).shape == (64, 64, 3)
    with pytest.raises(DataError, match="truncated"):
        decode_image(data[: len(data) * 3 // 4])


def test_trailing_bytes_are_harmless() -> None:
    data = encoded(".jpg", noise(16, 16))
    assert np.array_equal(decode_image(data + b"\0" * 40), decode_image(data))


@pytest.mark.parametrize("data", [b"", b"hello", b"\xff\xd8", b"GIF89a"])
def test_what_is_no_picture_is_told(data: bytes) -> None:
    with pytest.raises(DataError, match="image:"):
        decode_image(data)


SIDES = [
    ("dog on the left", "dog on the right"),
    ("right dog left of the right tree", "left dog right of the left tree"),
    ("Leftmost man lefty", "rightmost man righty"),
    ("left-hand lefthand left-handed", "right-hand righthand right-handed"),
    ("left side, far left. leftest!", "right side, far right. rightest!"),
    ("topleft bottom-right upperleft", "topright bottom-left upperright"),
    ("left's lefts leftside leftward", "right's rights rightside rightward"),
    ("furthest-left/right", "furthest-right/left"),
    ("the bright copyright upright cleft", "the bright copyright upright cleft"),
    ("a frightened dog with leftovers", "a frightened dog with leftovers"),
]


@pytest.mark.parametrize(("sentence", "expected"), SIDES)
def test_mirrored_exchanges_side_words(sentence: str, expected: str) -> None:
    assert mirrored(sentence) == expected
    assert mirrored(expected) == sentence.lower()  # twice is nothing


@pytest.mark.parametrize(
    "sentence",
    [
        *("man with letters on his shirt", "the word stop", "number on the jersey"),
        *("the one who is number 12", "STOP sign on the left", "shirt with a logo"),
        *('bus that says "5th avenue"', "book with writing on it"),
        *("bottle with a label", "bus with text", "train 42", "jersey # seven"),
        # Senses of left and right that are no sides, and slips that hide a side.
        *("man right behind the dog", "cup right next to the plate"),
        *("food left over", "guy at 3 o'clock", "l dog", "pizza on the rigth"),
        *("lft man",),
    ],
)
def test_some_sentences_never_flip(sentence: str) -> None:
    assert not may_flip([sentence])
    assert not may_flip(["the red dog", sentence, "left man"])


@pytest.mark.parametrize(
    "sentence",
    [
        *("dog on the left", "man to the right of the tree"),
        *("wheels of the red truck", "second man from the left", "2nd zebra"),
        "woman designing a swordfish",  # hold "sign" and "word" inside
        *("leftmost lefty", "two people"),
    ],
)
def test_others_may_flip(sentence: str) -> None:
    assert may_flip([sentence])


@pytest.mark.parametrize(
    "sentence",
    [
        *("left dog", "rightmost", "topleft plate", "the second man", "3rd car"),
        *("dog in the middle", "man in back", "closest to camera", "bottom corner"),
        *("last one", "tree behind the house", "man cut off", "car near the edge"),
    ],
)
def test_place_and_order_forbid_a_crop(sentence: str) -> None:
    assert not may_crop(["red dog", sentence])


@pytest.mark.parametrize(
    "sentence", ["red dog", "wheels of the truck", "man with a hat", "secondhand car"]
)
def test_others_may_be_cropped(sentence: str) -> None:
    assert may_crop([sentence])


def test_a_damaged_png_is_told_before_it_is_decoded() -> None:
    data = bytearray(encoded(".png", noise(9, 8)))
    data[len(data) // 2] ^= 1  # its checksum no longer fits
    with pytest.raises(DataError, match="truncated"):
        decode_image(bytes(data))
