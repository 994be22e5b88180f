"""CLIP and SigLIP 2 as scorers, tiny: equal to transformers, whole crops, cut texts."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

# ruff: noqa: E402 (without torch nothing here can be imported)
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from helpers import tiny_language_models as tiny

from unires_jax.engine import backends
from unires_jax.engine.backends import reading
from unires_jax.engine.backends.cosine import squared
from unires_jax.engine.roles import ModelError

TEXTS = ["a car", "the wheel of a car", "dog"]


@pytest.fixture(
    scope="module",
    params=["clip", pytest.param("siglip2", marks=pytest.mark.slow)],
)
def folder(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    torch.set_num_threads(1)
    make = getattr(tiny, f"make_{request.param}")
    return make(tmp_path_factory.mktemp("scorers") / request.param)


@pytest.fixture(scope="module")
def scorer(folder: Path) -> Any:
    return backends.load(f"{folder.name}:{folder}", "scorer", "cpu", "float32")


@pytest.fixture(scope="module")
def crops() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    sizes = [(64, 64), (90, 9), (3, 40), (30, 30)]
    return [rng.integers(0, 255, (*size, 3), dtype=np.uint8) for size in sizes]


def test_a_square_crop_is_scored_as_transformers_does(
    folder: Path, scorer: Any, crops: list[np.ndarray]
) -> None:
    model = scorer.model
    tokens = scorer.tokenizer(
        TEXTS,
        padding="max_length",
        padding_side="right",
        max_length=32 if folder.name == "clip" else 64,
        return_tensors="pt",
    )
    if folder.name != "clip":
        del tokens["attention_mask"]
    pictures = scorer.pictures(crops[0], return_tensors="pt")
    with torch.inference_mode():
        whole = model(**tokens, **pictures)
    cosines = (whole.image_embeds @ whole.text_embeds.T).numpy()
    np.testing.assert_allclose(scorer.score(crops[:1], TEXTS), cosines, atol=1e-5)
    assert np.ptp(cosines) > 1e-3


def test_alone_or_among_others(scorer: Any, crops: list[np.ndarray]) -> None:
    together = scorer.score(crops, TEXTS)
    assert together.shape == (4, 3) and together.dtype == np.float32
    for i, crop in enumerate(crops):
        for j, text in enumerate(TEXTS):
            alone = scorer.score([crop], [text])
            np.testing.assert_allclose(alone, together[i : i + 1, j : j + 1], atol=1e-6)
    assert np.ptp(together, axis=0).min() > 1e-4
    assert scorer.score([], TEXTS).shape == (0, 3)
    assert scorer.score(crops, []).shape == (4, 0)


def test_long_texts_are_cut_and_told(
    folder: Path, scorer: Any, crops: list[np.ndarray], caplog: pytest.LogCaptureFixture
) -> None:
    reading.say_cut.cache_clear()
    long = "red car on the left " * 20
    with caplog.at_level(logging.WARNING):
        scores = scorer.score(crops, [long, long + "dog", "dog"])
    assert caplog.text.count(f"{folder.name} reads") == 1
    np.testing.assert_allclose(scores[:, 0], scores[:, 1], atol=1e-6)
    np.testing.assert_allclose(scores[:, 2:], scorer.score(crops, ["dog"]), atol=1e-6)


def test_the_ends_of_a_tall_crop_are_seen(folder: Path, scorer: Any) -> None:
    ramp = np.linspace(0, 255, 400).astype(np.uint8)[:, None, None]
    crop = np.broadcast_to(ramp, (400, 40, 3)).copy()
    other_ends = crop.copy()
    other_ends[:40], other_ends[-40:] = 255, 0
    scores = scorer.score([crop, other_ends], TEXTS)
    assert np.abs(scores[0] - scores[1]).max() > 1e-3
    if folder.name == "clip":
        pixels = scorer.pixels([crop])[0].numpy()
        mean, std = (
            np.array(x)[:, None, None]
            for x in (scorer.pictures.image_mean, scorer.pictures.image_std)
        )
        grey = (pixels * std + mean) * 255
        middle = grey[:, :, grey.shape[2] // 2]
        assert middle.min() < 8 and middle.max() > 247


def test_squared() -> None:
    crop = np.full((2, 5, 3), 9, np.uint8)
    square = squared(crop, (0.5, 0.25, 1.0))
    assert square.shape == (5, 5, 3)
    assert (square[1:3] == 9).all()
    assert square[0, 0].tolist() == square[4, 4].tolist() == [128, 64, 255]


def test_a_missing_tensor_is_refused(folder: Path, tmp_path: Path) -> None:
    tiny.copy_without_a_tensor(folder, tmp_path / "less")
    with pytest.raises(ModelError, match="1 tensors of"):
        backends.load(f"{folder.name}:{tmp_path / 'less'}", "scorer", "cpu")
