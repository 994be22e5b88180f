"""A prediction laid over its picture: agreement, what was missed, what was too much."""

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from unires_jax.data.records import Record
from unires_jax.evaluation.results import Result
from unires_jax.pixels.canvas import place
from unires_jax.pixels.grid import logits_to_original
from unires_jax.pixels.images import decode_image

# RGB, told apart with any colour vision.
HIT, MISSED, EXTRA = (38, 198, 138), (61, 111, 255), (255, 138, 0)
FILL = 0.55  # opacity inside an outline


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


def blend(
    image: UInt8[np.ndarray, "h w 3"], rgba: UInt8[np.ndarray, "h w 4"]
) -> UInt8[np.ndarray, "h w 3"]:
    """The picture under a layer of colour."""
    opacity = rgba[..., 3:].astype(np.float32) / 255
    mixed = image * (1 - opacity) + rgba[..., :3] * opacity
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
    line = text.encode("ascii", "replace").decode()
    place_at = (4, 15)
    cv2.putText(
        strip, line, place_at, cv2.FONT_HERSHEY_SIMPLEX, 0.4, (0, 0, 0), 1, cv2.LINE_AA
    )
    return np.concatenate([image, strip])


def _resize(image: np.ndarray, side: int) -> np.ndarray:
    height, width = image.shape[:2]
    scale = side / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return cv2.resize(image, size, interpolation=method)
