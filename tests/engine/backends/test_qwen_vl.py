"""Qwen3-VL, tiny: a picture is read once for all regions, as transformers reads it."""

from pathlib import Path

import numpy as np
import pytest

# ruff: noqa: E402 (without torch nothing here can be imported)
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from helpers import tiny_language_models as tiny

from unires_jax.engine import backends
from unires_jax.engine.backends.qwen_vl import AFTER, BEFORE, DESCRIBE, QwenVL
from unires_jax.engine.roles import Captioner, ModelError
from unires_jax.errors import DataError

pytestmark = pytest.mark.slow
BOXES = np.array([[0, 0, 5, 6], [10, 20, 100, 90], [5, 5, 128, 96]], np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return tiny.make_qwen_vl(tmp_path_factory.mktemp("qwen"))


@pytest.fixture(scope="module")
def model(folder: Path) -> QwenVL:
    loaded = backends.load(f"qwen3_vl:{folder}", "captioner", "cpu")
    assert isinstance(loaded, Captioner)
    return loaded


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (96, 128, 3), dtype=np.uint8)


def test_a_caption_is_transformers_own(model: QwenVL, image: np.ndarray) -> None:
    """`generate` on the whole prompt, the picture in it, one region at a time."""
    captions = model.caption(image, BOXES)
    inputs = model.pictures(image, return_tensors="pt")
    count = int(inputs.image_grid_thw.prod()) // 4
    for box, caption in zip(BOXES.tolist(), captions, strict=True):
        question = DESCRIBE.format(*model.location(box, 96, 128))
        prompt = f"{BEFORE}{'<|image_pad|>' * count}{AFTER}{question}"
        ids = model.tokenizer(prompt, return_tensors="pt").input_ids
        with torch.inference_mode():
            written = model.model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                mm_token_type_ids=(ids == model.model.config.image_token_id).int(),
                **inputs,
                do_sample=False,
                max_new_tokens=32,
                output_logits=True,
                return_dict_in_generate=True,
            )
        new = written.sequences[0, ids.shape[1] :]
        own = model.tokenizer.decode(new, skip_special_tokens=True)
        assert caption.text == own.strip() != ""
        logs = [
            x[0].log_softmax(-1)[i] for x, i in zip(written.logits, new, strict=True)
        ]
        assert caption.logprob == pytest.approx(float(sum(logs)) / len(logs), abs=1e-4)


def test_alone_or_among_others(model: QwenVL, image: np.ndarray) -> None:
    looks = []
    hook = model.model.model.visual.register_forward_hook(lambda *_: looks.append(1))
    together = model.caption(image, BOXES)
    hook.remove()
    assert looks == [1]
    for i, caption in enumerate(together):
        (alone,) = model.caption(image, BOXES[i : i + 1])
        assert alone.text == caption.text
        assert alone.logprob == pytest.approx(caption.logprob, abs=1e-5)
    assert len({round(c.logprob, 5) for c in together}) == len(BOXES)
    assert model.caption(image, BOXES[:0]) == []


def test_boxes_in_bins_or_in_pixels(model: QwenVL, folder: Path) -> None:
    box = (32.0, 24.4, 128.0, 96.0)
    assert model.location(box, 96, 128) == [250, 254, 1000, 1000]
    pixels = backends.load(f"qwen3_vl_pixels:{folder}", "captioner", "cpu")
    assert pixels.location(box, 96, 128) == [32, 24, 128, 96]
    assert pixels.fingerprint == model.fingerprint and pixels.name != model.name


def test_what_cannot_be_read(model: QwenVL, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="too long"):
        model.caption(np.zeros((64, 64 * 201, 3), np.uint8), BOXES)
    tiny.copy_without_a_tensor(folder, tmp_path / "less")
    with pytest.raises(ModelError, match="missing"):
        backends.load(f"qwen3_vl:{tmp_path / 'less'}", "captioner", "cpu")
