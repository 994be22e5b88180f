"""A prediction laid over its picture: agreement, what was missed, what was too much."""

from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from unires_jax.data.records import OBJECT, PART, Record
from unires_jax.evaluation.evaluator import Split
from unires_jax.evaluation.results import Result
from unires_jax.pixels.canvas import place
from unires_jax.pixels.grid import logits_to_original
from unires_jax.pixels.images import decode_image

# RGB, told apart with any colour vision.
HIT, MISSED, EXTRA = (38, 198, 138), (61, 111, 255), (255, 138, 0)
COLOURS = {"hit": HIT, "missed": MISSED, "extra": EXTRA}
FILL = 0.55  # opacity inside an outline
SIDE, GAP = 256, 8  # of the gallery's pictures and between them, pixels
LINE = 40  # letters of a title that fit below a picture of the gallery


def picture(record: Record, side: int) -> UInt8[np.ndarray, "h w 3"]:
    """The record's picture with its longer side at `side` pixels."""
    return _resize(decode_image(record.image), side)


def layer(result: Result, side: int) -> UInt8[np.ndarray, "h w 4"]:
    """The colours to lay over `picture`, RGBA: outlines opaque, insides see-through."""
    masks = (m.pixels().astype(np.float32) for m in (result.mask, result.target))
    predicted, target = (_resize(mask, side) > 0.5 for mask in masks)
    rgba = np.zeros((*predicted.shape, 4), np.uint8)
    for region, colour in (
        (target & ~predicted, MISSED),
        (predicted & ~target, EXTRA),
        (predicted & target, HIT),
    ):
        rgba[region] = (*colour, round(255 * FILL))
    thickness = np.ones((1 + side // 160, 1 + side // 160), np.uint8)
    for mask in (predicted, target):
        edge = cv2.morphologyEx(mask.view(np.uint8), cv2.MORPH_GRADIENT, thickness) > 0
        rgba[edge & (rgba[..., 3] > 0), 3] = 255
    return rgba


def overlaid(record: Record, result: Result, side: int) -> UInt8[np.ndarray, "h w 3"]:
    """`picture` under `layer`."""
    rgba = layer(result, side)
    opacity = rgba[..., 3:].astype(np.float32) / 255
    mixed = picture(record, side) * (1 - opacity) + rgba[..., :3] * opacity
    return mixed.round().astype(np.uint8)


def heat(
    image: UInt8[np.ndarray, "h w 3"], weights: Float[np.ndarray, "s s"]
) -> UInt8[np.ndarray, "h w 3"]:
    """The picture lit by attention over the square canvas it was letterboxed into."""
    h, w, _ = image.shape
    # Only proportions matter, so any canvas stands for the model's.
    light = logits_to_original(weights.astype(np.float32), place(h, w, 1024))
    low, high = light.min(), light.max()
    brightness = ((light - low) / max(high - low, 1e-12) * 255).astype(np.uint8)
    colours = cv2.applyColorMap(brightness, cv2.COLORMAP_INFERNO)[..., ::-1]
    grey = image.mean(-1, keepdims=True)
    return (0.4 * grey + 0.6 * colours).round().astype(np.uint8)


def titled(image: UInt8[np.ndarray, "h w 3"], text: str) -> UInt8[np.ndarray, "H w 3"]:
    """The picture above a line of text (ASCII; OpenCV's font has no other signs)."""
    strip = np.full((22, image.shape[1], 3), 255, np.uint8)
    line, font = text.encode("ascii", "replace").decode(), cv2.FONT_HERSHEY_SIMPLEX
    cv2.putText(strip, line, (4, 15), font, 0.4, (0, 0, 0), 1, cv2.LINE_AA)
    return np.concatenate([image, strip])


def encode(image: UInt8[np.ndarray, "h w 3"], quality: int) -> bytes:
    """The picture as JPEG; `quality` in percent."""
    options = [cv2.IMWRITE_JPEG_QUALITY, quality]
    data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)[1]
    return data.tobytes()


def gallery(
    split: Split, results: Sequence[Result], columns: int = 5, seed: int = 0
) -> UInt8[np.ndarray, "h w 3"]:
    """A row of object and a row of part expressions with their IoU, RGB.

    Drawn from all targeted expressions, each from another picture: nothing is picked
    by how well it went.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for level in (OBJECT, PART):
        of_level = [r for r in results if r.targeted and r.level == level]
        shuffled = [of_level[i] for i in rng.permutation(len(of_level))]
        by_picture = {r.image: r for r in shuffled}
        cells = [_cell(split, r) for r in list(by_picture.values())[:columns]]
        if cells:
            rows.append(_row(cells, columns))
    return np.concatenate(rows or [_row([], columns)])


def _cell(split: Split, result: Result) -> UInt8[np.ndarray, "h w 3"]:
    image = overlaid(split[result.image], result, SIDE)
    square = np.full((SIDE, SIDE, 3), 255, np.uint8)
    square[: image.shape[0], : image.shape[1]] = image
    words, iou = result.sentence, f"  {100 * result.iou:.0f}"
    room = LINE - len(iou)
    words = words if len(words) <= room else words[: room - 3] + "..."
    return titled(square, words + iou)


def _row(
    cells: Sequence[UInt8[np.ndarray, "_ _ 3"]], columns: int
) -> UInt8[np.ndarray, "h w 3"]:
    height = SIDE + 22 + GAP
    row = np.full((height, columns * (SIDE + GAP) - GAP, 3), 255, np.uint8)
    for i, cell in enumerate(cells):
        left = i * (SIDE + GAP)
        row[: cell.shape[0], left : left + SIDE] = cell
    return row


def _resize(image: np.ndarray, side: int) -> np.ndarray:
    height, width = image.shape[:2]
    scale = side / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return cv2.resize(image, size, interpolation=method)
