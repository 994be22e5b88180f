"""Logits to masks: each project's interpolation against PyTorch's and OpenCV's own."""

import cv2
import numpy as np
import pytest

from unires_jax.evaluation import resample
from unires_jax.evaluation.protocols import PROTOCOLS
from unires_jax.pixels.canvas import place

SIZES = [(26, 104), (30, 89), (104, 57), (20, 7), (7, 20)]


def interpolate(x: np.ndarray, size: tuple[int, int], mode: str, **how: bool) -> object:
    """PyTorch's resize of one map."""
    torch = pytest.importorskip("torch")
    tensor = torch.tensor(x)[None, None]
    return torch.nn.functional.interpolate(tensor, size=size, mode=mode, **how)[
        0, 0
    ].numpy()


@pytest.mark.parametrize(("source", "size"), SIZES)
def test_matrices_are_pytorchs(source: int, size: int) -> None:
    x = np.random.default_rng(0).normal(size=(source, source)).astype(np.float32)
    for matrix, how in (
        (
            resample.bicubic_smooth,
            {"mode": "bicubic", "align_corners": False, "antialias": True},
        ),
        (resample.bicubic_corners, {"mode": "bicubic", "align_corners": True}),
    ):
        resized = matrix(size, source) @ x @ matrix(size, source).T
        expected = interpolate(x, (size, size), **how)
        # PyTorch takes positions in float32.
        np.testing.assert_allclose(resized, expected, atol=2e-4)


def blob(grid: int, seed: int) -> np.ndarray:
    """Smooth logits with a few regions above zero."""
    noise = np.random.default_rng(seed).normal(size=(grid, grid))
    smooth = cv2.GaussianBlur(noise.astype(np.float32), (0, 0), grid / 14)
    return (smooth / smooth.std() * 4 - 1).astype(np.float32)


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / max((a | b).sum(), 1))


@pytest.mark.parametrize("size", [(480, 640), (640, 427), (375, 500), (300, 301)])
def test_cris_letterbox_is_undone(size: tuple[int, int]) -> None:
    torch = pytest.importorskip("torch")
    height, width = size
    logits = blob(104, height)
    scale = min(416 / height, 416 / width)
    x, y = (416 - width * scale) / 2, (416 - height * scale) / 2
    forward = np.array([[scale, 0, x], [0, scale, y]])
    probability = torch.sigmoid(torch.tensor(logits)).numpy()
    canvas = interpolate(probability, (416, 416), "bicubic", align_corners=True)
    inverse = cv2.invertAffineTransform(forward)
    warped = cv2.warpAffine(canvas, inverse, (width, height), flags=cv2.INTER_CUBIC)
    mask = resample.cris_mask(logits, height, width)
    assert mask.shape == size and 0.05 < mask.mean() < 0.9
    assert 1 - iou(mask, warped > 0.35) < 5e-4
    # Neither another threshold nor a letterbox in the corner would pass.
    assert 1 - iou(mask, warped > 0.5) > 5e-3
    assert 1 - iou(mask, np.roll(warped > 0.35, 2, axis=0)) > 5e-3


@pytest.mark.parametrize("name", list(PROTOCOLS))
@pytest.mark.parametrize("size", [(75, 100), (100, 60), (40, 40)])
def test_a_region_comes_out_where_it_is(name: str, size: tuple[int, int]) -> None:
    """Half a picture, sharp on the grid, within a cell of its place by any protocol."""
    protocol, placement = PROTOCOLS[name], place(*size, 64)
    logits = np.full((16, 16), -9.0, np.float32)
    half = placement.height * 16 / 64 / 2  # in cells
    logits[: int(half)] = 9.0
    logits[:, int(np.ceil(placement.width / 4)) :] = 50.0  # padding means nothing
    logits[int(np.ceil(placement.height / 4)) :] = 50.0
    mask = resample.mask(protocol, logits, placement)
    height, width = (protocol.grid,) * 2 if protocol.grid else size
    assert mask.shape == (height, width)
    cell = height / (placement.height / 4)  # pixels of a cell
    edge = int(half) * cell
    above, below = int(edge - 1.1 * cell), int(np.ceil(edge + 1.1 * cell))
    assert mask[2:above, 2:-2].all() and not mask[below:].any()


def test_two_steps_are_two_steps() -> None:
    logits, placement = blob(24, 3), place(96, 80, 96)
    t = interpolate(logits, (96, 96), "bicubic", align_corners=False, antialias=True)
    t = t[: placement.height, : placement.width]
    smooth = {"mode": "bicubic", "align_corners": False, "antialias": True}
    for size in ((96, 80), (240, 200), (60, 50)):
        expected = interpolate(t, size, **smooth) > 0
        other = interpolate(t, size, "bilinear", align_corners=False) > 0
        for name in ("xdecoder", "mmdet"):
            mask = resample.mask(PROTOCOLS[name], logits, place(*size, 96))
            # The padding's cells are replaced.
            assert 1 - iou(mask, expected) < 2e-3
            # Another last resize would be nearer to itself.
            assert size == (96, 80) or iou(mask, expected) > iou(mask, other)
