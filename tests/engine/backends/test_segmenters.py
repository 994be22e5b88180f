"""Boxes to masks, by tiny models of the real classes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PILImage

from unires_jax.engine.backends import load

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from unires_jax.engine.backends.sam2 import square  # noqa: E402

IMAGE = np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8)
BOXES = np.array([[10, 10, 60, 60], [30.5, 20, 90, 60], [5, 5, 5, 5]], np.float32)
slow = pytest.mark.slow


@pytest.fixture(
    scope="module",
    params=[
        "sam2",
        pytest.param("sam", marks=slow),
        pytest.param("sam_hq", marks=slow),
        pytest.param("sam3_tracker", marks=slow),
    ],
)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def folder(name: str, tiny_model: Callable[[str], Path]) -> Path:
    return tiny_model(name)


@pytest.fixture(scope="module")
def segmenter(name: str, folder: Path) -> Any:
    return load(f"{name}:{folder}", "segmenter", "cpu")


def test_a_mask_for_each_box(segmenter: Any, name: str) -> None:
    answers = segmenter.segment(IMAGE, BOXES)
    assert [a.mask.shape for a in answers] == [(96, 128)] * 3
    assert all(a.mask.dtype == bool and 0 < a.mask.mean() < 1 for a in answers)
    assert all(np.isfinite(a.iou) and 0 <= a.stability <= 1 for a in answers)
    assert len({a.mask.tobytes() for a in answers}) == 3, "boxes change nothing"
    assert segmenter.segment(IMAGE, BOXES[:0]) == []
    assert segmenter.name == name and len(segmenter.fingerprint) == 12
    assert segmenter.licence


def test_a_box_alone_or_among_others(segmenter: Any) -> None:
    together = segmenter.segment(IMAGE, BOXES)
    for box, among in zip(BOXES, together, strict=True):
        (alone,) = segmenter.segment(IMAGE.copy(), box[None])
        np.testing.assert_array_equal(alone.mask, among.mask)
        assert alone.iou == pytest.approx(among.iou, abs=1e-5)
        assert alone.stability == pytest.approx(among.stability, abs=1e-5)


def test_a_box_beyond_the_picture_is_clipped(segmenter: Any) -> None:
    beyond = np.array([[-1e30, -5, np.inf, 500], [0, 0, 128, 96]], np.float32)
    one, other = segmenter.segment(IMAGE, beyond)
    np.testing.assert_array_equal(one.mask, other.mask)


def test_a_picture_is_encoded_once(segmenter: Any) -> None:
    sizes = []
    hook = segmenter.model.vision_encoder.register_forward_hook(
        lambda module, args, output: sizes.append(1)
    )
    fresh, other = IMAGE.copy(), IMAGE.copy()
    for image in (fresh, fresh, other):
        segmenter.segment(image, BOXES[:1])
    hook.remove()
    assert len(sizes) == 2


@pytest.mark.parametrize("shape", [(300, 7), (1, 1), (64, 64)])
def test_pictures_of_any_shape(segmenter: Any, shape: tuple[int, int]) -> None:
    larger = np.random.default_rng(1).integers(0, 256, (300, 300, 3), np.uint8)
    image = larger[: shape[0], : shape[1]]  # a crop, not copied
    (answer,) = segmenter.segment(image, np.array([[0, 0, 5, 5]], np.float32))
    assert answer.mask.shape == shape


def test_the_stability_is_of_the_picture_s_size(segmenter: Any) -> None:
    """Logits in steps of one, so that every threshold cuts somewhere."""
    side = 16
    ramp = torch.linspace(-8, 8, side)[:, None].expand(side, side)

    def answer(module: Any, args: Any, output: Any) -> Any:
        output.pred_masks = ramp[None, None, None].clone()
        return output

    hook = segmenter.model.register_forward_hook(answer)
    square_image = np.ascontiguousarray(IMAGE[:96, :96])
    (segmented,) = segmenter.segment(square_image, BOXES[:1])
    hook.remove()
    enlarged = torch.nn.functional.interpolate(
        ramp[None, None], (96, 96), mode="bilinear", align_corners=False
    )[0, 0]
    assert segmented.mask.mean() == pytest.approx(0.5, abs=0.01)
    expected = float((enlarged > 1).sum() / (enlarged > -1).sum())
    assert segmented.stability == pytest.approx(expected, abs=0.02)


def test_a_model_of_nan_marks_nothing(name: str, folder: Path) -> None:
    broken = load(f"{name}:{folder}", "segmenter", "cpu")
    with torch.no_grad():
        for tensor in broken.model.mask_decoder.parameters():
            tensor.fill_(float("nan"))
    for answer in broken.segment(IMAGE, BOXES):
        assert not answer.mask.any() and answer.stability == 0.0
        assert np.isnan(answer.iou)


def test_bfloat16_marks_nearly_the_same(
    name: str, folder: Path, segmenter: Any
) -> None:
    small = load(f"{name}:{folder}", "segmenter", "cpu", "bfloat16")
    weights = {x.dtype for x in small.model.parameters()}
    assert weights == {torch.bfloat16}
    for one, other in zip(
        small.segment(IMAGE, BOXES), segmenter.segment(IMAGE, BOXES), strict=True
    ):
        assert (one.mask == other.mask).mean() > 0.95


@pytest.mark.parametrize("side", [64, 1008])
def test_a_square_is_as_torchvision_makes_it(side: int) -> None:
    """Its resize of uint8 pictures is torch's, which differs from PIL's by rounding."""
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    smooth = PILImage.fromarray(IMAGE).resize((200, 150), PILImage.Resampling.BICUBIC)
    image = np.asarray(smooth)
    pixels = square(image, side, mean, std)
    assert pixels.shape == (1, 3, side, side) and pixels.dtype == torch.float32
    levels = pixels[0].permute(1, 2, 0) * torch.tensor(std) + torch.tensor(mean)
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(image.copy()).permute(2, 0, 1)[None],
        (side, side),
        mode="bilinear",
        antialias=True,
        align_corners=False,
    )[0].permute(1, 2, 0)
    assert (levels * 255 - expected.float()).abs().max() < 1.01


@pytest.mark.slow
def test_sam_is_as_its_processor_does_it(tiny_model: Callable[[str], Path]) -> None:
    """Boxes, padding and the way back, through transformers' own processor."""
    from transformers import SamModel, SamProcessor
    from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil

    folder = tiny_model("sam")
    processor = SamProcessor(SamImageProcessorPil.from_pretrained(folder))
    boxes = [BOXES[:2].tolist()]
    inputs = processor(IMAGE, input_boxes=boxes, return_tensors="pt")
    inputs["input_boxes"] = inputs["input_boxes"].float()
    sizes = inputs.pop("original_sizes"), inputs.pop("reshaped_input_sizes")
    model = SamModel.from_pretrained(folder).eval()
    with torch.no_grad():
        output = model(**inputs, multimask_output=False)
    (expected,) = processor.image_processor.post_process_masks(
        output.pred_masks, *(x.tolist() for x in sizes)
    )
    answers = load(f"sam:{folder}", "segmenter", "cpu").segment(IMAGE, BOXES[:2])
    for answer, mask in zip(answers, expected[:, 0].numpy(), strict=True):
        np.testing.assert_array_equal(answer.mask, mask)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "role", "layout"),
    [
        ("sam2", "segmenter", "sam2_video"),
        ("sam3_tracker", "segmenter", "sam3_video"),
        ("sam3", "part_finder", "sam3_video"),
    ],
)
def test_a_model_is_taken_out_of_the_one_of_videos(
    name: str, role: str, layout: str, tiny_model: Callable[[str], Path]
) -> None:
    """As SAM 2.1 and SAM 3 are published: every tensor is there, and is its own."""
    from safetensors.torch import load_file

    folder = tiny_model(layout)
    backend = load(f"{name}:{folder}", role, "cpu")
    published = {
        x.numpy().tobytes() for x in load_file(folder / "model.safetensors").values()
    }
    ours = dict(backend.model.named_parameters())
    assert all(x.detach().numpy().tobytes() in published for x in ours.values())
