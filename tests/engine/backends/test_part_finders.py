"""Names to places of parts, and texts to masks, by tiny models of the real classes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unires_jax.engine.backends import BACKENDS, load
from unires_jax.engine.roles import FoundPart

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from unires_jax.engine.backends.boxes import (  # noqa: E402
    FLOOR,
    INSTANCES,
    PIECES,
    best,
    clipped,
)

IMAGE = np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8)
OBJECT = np.ones((96, 128), bool)
NAMES = ("wheel", "left front leg", "a" * 60, "dog's head? no.")
slow = pytest.mark.slow


@pytest.fixture(
    scope="module",
    params=[
        "owlv2",
        "clipseg",
        pytest.param("grounding_dino", marks=slow),
        pytest.param("mm_grounding_dino", marks=slow),
        pytest.param("sam3", marks=slow),
    ],
)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def folder(name: str, tiny_model: Callable[[str], Path]) -> Path:
    return tiny_model(name)


@pytest.fixture(scope="module")
def finder(name: str, folder: Path) -> Any:
    return load(f"{name}:{folder}", "part_finder", "cpu")


def of(name: str, parts: list[FoundPart]) -> list[FoundPart]:
    return [part for part in parts if part.name == name]


def test_candidates_lie_in_the_picture(finder: Any, name: str) -> None:
    whole = finder.find(IMAGE, None, "", NAMES)
    crop = finder.find(IMAGE, OBJECT, "car", NAMES)
    assert {part.name for part in whole} == set(NAMES)
    for parts, most in ((whole, INSTANCES), (crop, PIECES)):
        assert all(len(of(n, parts)) <= most for n in NAMES)
        for part in parts:
            x0, y0, x1, y1 = part.box
            assert 0 <= x0 < x1 <= 128 and 0 <= y0 < y1 <= 96
            assert FLOOR <= part.score <= 1
            masks = name in ("sam3", "clipseg")
            assert (part.mask is not None) == masks
            assert part.mask is None or part.mask.shape == (96, 128)
    assert [p.name for p in whole] == sorted((p.name for p in whole), key=NAMES.index)
    assert len({part.score for part in whole}) > 1, "texts change nothing"
    assert finder.find(IMAGE, None, "", ()) == []
    assert finder.name == name and finder.licence and len(finder.fingerprint) == 12


def test_a_name_alone_or_among_others(finder: Any) -> None:
    among = finder.find(IMAGE, OBJECT, "car", NAMES)
    for name in NAMES:
        alone = finder.find(IMAGE.copy(), OBJECT, "car", [name])
        for one, other in zip(alone, of(name, among), strict=True):
            assert one.score == pytest.approx(other.score, abs=1e-5)
            np.testing.assert_allclose(one.box, other.box, atol=1e-3)
            if one.mask is not None:
                np.testing.assert_array_equal(one.mask, other.mask)


def test_a_picture_is_encoded_once(finder: Any, name: str) -> None:
    encoder = {
        "owlv2": lambda m: m.owlv2.vision_model,
        "clipseg": lambda m: m.clip.vision_model,
        "sam3": lambda m: m.vision_encoder,
    }.get(name, lambda m: m.model.backbone.backbone)(finder.model)
    calls = []
    hook = encoder.register_forward_hook(lambda module, args, out: calls.append(1))
    fresh, other = IMAGE.copy(), IMAGE.copy()
    for image in (fresh, fresh, other):
        finder.find(image, None, "", NAMES[:2])
    hook.remove()
    assert len(calls) == 2


def test_a_model_of_nan_finds_nothing(name: str, folder: Path) -> None:
    broken = load(f"{name}:{folder}", "part_finder", "cpu")
    with torch.no_grad():
        for tensor in broken.model.parameters():
            tensor.fill_(float("nan"))
    assert broken.find(IMAGE, None, "", NAMES) == []
    if "grounder" in BACKENDS[name].roles:
        assert not any(mask.any() for mask in broken.ground(IMAGE, NAMES))


def test_bfloat16_answers_nearly_the_same(name: str, folder: Path, finder: Any) -> None:
    small = load(f"{name}:{folder}", "part_finder", "cpu", "bfloat16")
    for text in NAMES[:2]:
        one = small.find(IMAGE, None, "", [text])[0]
        other = finder.find(IMAGE, None, "", [text])[0]
        assert one.score == pytest.approx(other.score, abs=0.05)


@pytest.mark.parametrize("shape", [(300, 7), (64, 64)])
def test_pictures_of_any_shape(finder: Any, shape: tuple[int, int]) -> None:
    larger = np.random.default_rng(1).integers(0, 256, (300, 300, 3), np.uint8)
    image = larger[: shape[0], : shape[1]]  # a crop, not copied
    for part in finder.find(image, None, "", NAMES[:1]):
        assert part.box[2] <= shape[1] and part.box[3] <= shape[0]


@pytest.mark.parametrize("name", ["clipseg", pytest.param("sam3", marks=slow)])
def test_a_text_is_grounded_alone_or_among_others(
    name: str, tiny_model: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    grounder = load(f"{name}:{tiny_model(name)}", "grounder", "cpu")
    if name == "sam3":  # a tiny one is sure of nothing
        monkeypatch.setattr("unires_jax.engine.backends.sam3.MEANT", 0.2)
    masks = grounder.ground(IMAGE, NAMES)
    assert [(m.shape, m.dtype) for m in masks] == [((96, 128), bool)] * len(NAMES)
    assert any(m.any() for m in masks)
    for text, mask in zip(NAMES, masks, strict=True):
        (alone,) = grounder.ground(IMAGE.copy(), [text])
        np.testing.assert_array_equal(alone, mask)
    assert grounder.ground(IMAGE, ()) == []


def test_owl_is_as_its_own_call(tiny_model: Callable[[str], Path]) -> None:
    """Picture and names encoded apart, or in one call of transformers."""
    owl = load(f"owlv2:{tiny_model('owlv2')}", "part_finder", "cpu")
    pixels = owl._processor(IMAGE, return_tensors="pt")["pixel_values"]
    words = owl._tokenizer(
        ["wheel"], padding="max_length", max_length=16, return_tensors="pt"
    )
    with torch.no_grad():
        output = owl.model(pixel_values=pixels, **words)
    (expected,) = owl._processor.post_process_object_detection(
        output, threshold=FLOOR, target_sizes=[(96, 128)]
    )
    boxes = clipped(expected["boxes"].numpy(), 96, 128)
    scores = expected["scores"].numpy()
    places = best(boxes, scores, INSTANCES)
    parts = owl.find(IMAGE, None, "", ["wheel"])
    np.testing.assert_allclose([p.box for p in parts], boxes[places], atol=1e-3)
    np.testing.assert_allclose([p.score for p in parts], scores[places], atol=1e-5)


def test_clipseg_is_as_its_own_call(tiny_model: Callable[[str], Path]) -> None:
    seg = load(f"clipseg:{tiny_model('clipseg')}", "part_finder", "cpu")
    pixels = seg._processor(IMAGE, return_tensors="pt")["pixel_values"]
    words = seg._tokenizer(["wheel"], return_tensors="pt")
    with torch.no_grad():
        logits = seg.model(pixel_values=pixels, **words).logits.reshape(1, 1, 64, 64)
    heat = torch.nn.functional.interpolate(logits, (96, 128), mode="bilinear").sigmoid()
    (part,) = seg.find(IMAGE, None, "", ["wheel"])
    assert part.score == pytest.approx(float(heat.max()), abs=1e-5)
    assert (part.mask == (heat[0, 0] > 0.3).numpy()).mean() > 0.999


@pytest.mark.slow
def test_grounding_dino_is_as_its_own_call(tiny_model: Callable[[str], Path]) -> None:
    dino = load(f"grounding_dino:{tiny_model('grounding_dino')}", "part_finder", "cpu")
    pixels = dino._processor(IMAGE, return_tensors="pt")
    words = dino._tokenizer("wheel.", return_tensors="pt")
    assert len(words["input_ids"][0]) == 8  # [CLS] w h e e l . [SEP]
    with torch.no_grad():
        output = dino.model(**pixels, **words)
    scores = output.logits[0, :, 1:6].sigmoid().amax(1).numpy()
    part = dino.find(IMAGE, None, "", ["Wheel"])[0]
    assert part.score == pytest.approx(float(scores.max()), abs=1e-5)


@pytest.mark.slow
def test_sam3_is_as_its_own_call(tiny_model: Callable[[str], Path]) -> None:
    sam = load(f"sam3:{tiny_model('sam3')}", "part_finder", "cpu")
    from unires_jax.engine.backends.sam2 import square

    words = sam._tokenizer(
        ["wheel"], padding="max_length", max_length=32, return_tensors="pt"
    )
    pixels = square(IMAGE, 64, (0.5,) * 3, (0.5,) * 3)
    with torch.no_grad():
        output = sam.model(pixel_values=pixels, **words)
    scores = output.pred_logits[0].sigmoid() * output.presence_logits[0].sigmoid()
    part = sam.find(IMAGE, None, "", ["wheel"])[0]
    assert part.score == pytest.approx(float(scores.max()), abs=1e-6)
    box = output.pred_boxes[0, scores.argmax()] * torch.tensor([128, 96, 128, 96])
    np.testing.assert_allclose(part.box, box.numpy(), atol=1e-3)


def test_the_best_boxes_of_a_name() -> None:
    boxes = np.array(
        [[0, 0, 10, 10], [0, 0, 10, 9], [20, 0, 30, 10], [5, 5, 5, 9], [40, 0, 50, 9]],
        np.float32,
    )
    scores = np.array([0.8, 0.9, 0.3, 0.99, np.nan], np.float32)
    assert best(boxes, scores, 9) == [1, 2]  # a twin, an empty one, one of no number
    assert best(boxes, scores, 1) == [1]
    assert best(boxes, np.full(5, FLOOR / 2, np.float32), 9) == []
    assert best(boxes[:0], scores[:0], 9) == []
