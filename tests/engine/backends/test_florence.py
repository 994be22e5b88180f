"""Florence-2, tiny: equal to transformers' own pipeline, a region alone or not."""

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
from unires_jax.engine.backends.florence import (
    LOCATE,
    Florence2,
    filled,
    location,
    outlines,
)
from unires_jax.engine.roles import Captioner, Grounder, ModelError

BOXES = np.array([[0, 0, 50, 60], [10, 20, 100, 90], [5, 5, 128, 96]], np.float32)
TEXTS = ["the red car", "wheel", "a long tail of the dog"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return tiny.make_florence(tmp_path_factory.mktemp("florence"))


@pytest.fixture(scope="module")
def model(folder: Path) -> Florence2:
    loaded = backends.load(f"florence2:{folder}", "captioner", "cpu")
    assert isinstance(loaded, Captioner) and isinstance(loaded, Grounder)
    return loaded


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (96, 128, 3), dtype=np.uint8)


def published(folder: Path, image: np.ndarray, prompt: str) -> tuple[Any, Any, float]:
    """The processor, and what transformers' own pipeline writes, with its score."""
    own = Florence2(str(folder), "cpu")
    own.pictures.image_seq_length = 5
    processor = transformers.Florence2Processor(
        image_processor=own.pictures,
        tokenizer=own.tokenizer,
        post_processor_config={"polygons": {}, "pure_text": {}},
    )
    inputs = processor(text=prompt, images=image, return_tensors="pt")
    with torch.inference_mode():
        written = own.model.generate(
            **inputs,
            max_new_tokens=64 if "REGION" in prompt else 79,
            num_beams=3,
            output_scores=True,
            return_dict_in_generate=True,
        )
    return processor, written.sequences[0], float(written.sequences_scores[0])


def test_a_caption_is_transformers_own(
    folder: Path, model: Florence2, image: np.ndarray
) -> None:
    places = location(BOXES[1].tolist(), *image.shape[:2])
    processor, ids, score = published(folder, image, f"<REGION_TO_DESCRIPTION>{places}")
    (caption,) = model.caption(image, BOXES[1:2])
    assert caption.text == processor.tokenizer.decode(ids, skip_special_tokens=True)
    assert caption.logprob == pytest.approx(score, abs=1e-5)


def test_a_mask_is_transformers_own(
    folder: Path, model: Florence2, image: np.ndarray
) -> None:
    task = "<REFERRING_EXPRESSION_SEGMENTATION>"
    processor, ids, _ = published(folder, image, f"{task}{TEXTS[0]}")
    text = processor.tokenizer.decode(ids, skip_special_tokens=False)
    size = image.shape[1::-1]
    answer = processor.post_process_generation(text, task=task, image_size=size)
    theirs = [p for group in answer[task]["polygons"] for p in group if len(p) >= 6]
    ours = outlines([model.bins.get(i) for i in ids.tolist()])
    assert len(ours) > 1
    for polygon, bins in zip(theirs, ours, strict=True):  # theirs are whole pixels
        points = (np.reshape(bins, (-1, 2)) + 0.5) * size / 1000
        assert np.floor(points).ravel().tolist() == polygon
    (mask,) = model.ground(image, TEXTS[:1])
    np.testing.assert_array_equal(mask, filled(ours, *image.shape[:2]))


def test_alone_or_among_others(model: Florence2, image: np.ndarray) -> None:
    looks = []
    hook = model.model.model.vision_tower.register_forward_hook(
        lambda *_: looks.append(1)
    )
    together = model.caption(image, BOXES)
    masks = model.ground(image, TEXTS)
    assert len(looks) == 2  # once a call, however many regions
    hook.remove()
    for i, caption in enumerate(together):
        (alone,) = model.caption(image, BOXES[i : i + 1])
        assert alone.text == caption.text
        assert alone.logprob == pytest.approx(caption.logprob, abs=1e-5)
    for text, mask in zip(TEXTS, masks, strict=True):
        np.testing.assert_array_equal(model.ground(image, [text])[0], mask)
    assert len({round(c.logprob, 4) for c in together}) == len(BOXES)
    assert len({mask.tobytes() for mask in masks}) > 1
    assert model.caption(image, BOXES[:0]) == model.ground(image, []) == []


def test_long_and_acting_texts(
    model: Florence2, image: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    reading.say_cut.cache_clear()
    with caplog.at_level(logging.WARNING):
        long = model.ground(image, ["red car " * 50, "x" * 100, "wheel"])
    assert caplog.text.count("florence2 reads 75 tokens") == 1
    np.testing.assert_array_equal(long[2], model.ground(image, ["wheel"])[0])
    ids = reading.fill(model.tokenizer, LOCATE, "<loc_5></s>{} car<loc_7>", 75, "")
    assert not set(ids) & set(model.bins)
    assert ids.count(model.tokenizer.eos_token_id) == 1


def test_a_missing_tensor_is_refused(folder: Path, tmp_path: Path) -> None:
    tiny.copy_without_a_tensor(folder, tmp_path / "less")
    with pytest.raises(ModelError, match="1 tensors of Florence2"):
        backends.load(f"florence2:{tmp_path / 'less'}", "grounder", "cpu")


@pytest.mark.parametrize(
    ("box", "bins"),
    [
        ((0.0, 0.0, 128.0, 96.0), "<loc_0><loc_0><loc_999><loc_999>"),
        ((64.0, 24.0, 64.1, 95.99), "<loc_500><loc_250><loc_500><loc_999>"),
        ((-9.0, -1.0, 500.0, 97.0), "<loc_0><loc_0><loc_999><loc_999>"),
    ],
)
def test_location(box: tuple[float, ...], bins: str) -> None:
    assert location(box, 96, 128) == bins


def test_outlines() -> None:
    square = [0, 0, 499, 0, 499, 499, 0, 499]
    written = [None, *square, 7, None, 1, 2, 3, 4, None, None, *square[:6]]
    assert outlines(written) == [square, square[:6]]
    mask = filled([square], 100, 200)
    assert mask[:50, :100].mean() > 0.95 and mask.sum() == mask[:51, :101].sum()
    assert not filled(outlines([None, 3]), 100, 200).any()
