"""10,000 mutated pictures and requests: an answer or a clear refusal, nothing else."""

import io
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.pictures import bomb, corners, encoded, mutated, noise
from PIL import Image

from unires_jax.errors import DataError
from unires_jax.serving.photo import read_photo
from unires_jax.serving.predictor import Predictor

PICTURES, REQUESTS = 8_000, 2_000
KINDS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")


def seeds() -> list[bytes]:
    """Whole pictures of every kind, and things that are none."""
    upright, grey = Image.fromarray(corners()), Image.fromarray(corners()[:, :, 0])
    exif = Image.Exif()
    exif[0x0112] = 6
    pictures = [encoded(x, kind) for x in (upright, grey) for kind in KINDS]
    pictures += [
        encoded(upright, k, exif=exif.tobytes()) for k in ("JPEG", "PNG", "WEBP")
    ]
    pictures += [
        bomb(4000),
        bomb(60_000),
        b"GIF89a",
        b"%PDF-1.7",
        b"<svg/>",
        bytes(100),
    ]
    return pictures


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, about damaged tags
def test_mutated_pictures() -> None:
    r, whole, read = random.Random(0), seeds(), 0
    for _ in range(PICTURES):
        data = mutated(r, r.choice(whole), r.choice(whole))
        try:
            pixels = read_photo(data).pixels
        except DataError as error:
            assert 0 < len(str(error)) < 1000
            continue
        read += 1
        assert pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3
    assert 500 < read < PICTURES - 500  # both happened


def requests(r: random.Random) -> Any:
    """Expressions as no one should send them."""
    texts: list[Any] = [
        "",
        " \t\n",
        "\x00",
        "a" * r.randint(1, 20_000),
        "\ud800 dog",
        "".join(chr(r.randrange(1, 0x10FFF)) for _ in range(r.randint(1, 60))),
        "<script>alert(1)</script>",
        "'; DROP TABLE masks; --",
        "../../etc/passwd",
        "<|endoftext|> <|startoftext|>" * r.randint(1, 9),
        "the red car",
        "{0.__class__}",
        "%s%n",
    ]
    return [r.choice(texts) for _ in range(r.randint(0, 3))]


@pytest.mark.slow
def test_mutated_requests(
    predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    r, encoded, answered = random.Random(1), predictor.encode_image(noise(0)), 0
    for _ in range(REQUESTS):
        sentences = requests(r)
        try:
            segments = predictor.segment(encoded, sentences)
        except DataError as error:
            assert 0 < len(str(error)) < 300
            continue
        answered += 1
        assert len(segments) == len(sentences)
        assert all(np.isfinite(s.logits).all() for s in segments)
    assert 300 < answered < REQUESTS - 300
    with pytest.raises(DataError, match="10000000 characters"):
        predictor.segment(encoded, "x" * 10_000_000)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "path", ["../../../../etc/passwd", "/etc/passwd", "/dev/zero", "/proc/self/environ"]
)
def test_paths_to_other_files_are_refused_without_their_content(path: str) -> None:
    with pytest.raises(DataError) as error:
        read_photo(path)
    assert "root:" not in str(error.value) and len(str(error.value)) < 300


def test_a_png_with_a_text_bomb_is_refused_or_read() -> None:
    """A megabyte of zeros beside the pixels, compressed a thousandfold, repeated."""
    from PIL import PngImagePlugin

    info = PngImagePlugin.PngInfo()
    for i in range(100):
        info.add_text(f"k{i}", "0" * 1_000_000, zip=True)
    buffer = io.BytesIO()
    Image.fromarray(corners()).save(buffer, "PNG", pnginfo=info)
    with pytest.raises(DataError, match="cannot be decoded"):
        read_photo(buffer.getvalue())
