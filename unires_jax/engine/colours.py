"""Which colour words pixels agree with. Source: ours, limits set by eye.

Only words that few would argue over: no brown or grey, and of orange and purple the
plain ones.
"""

import functools
import math

import cv2
import numpy as np
from jaxtyping import Bool, UInt8

from unires_jax.data.predicates import Truth
from unires_jax.engine.roles import Image
from unires_jax.pixels.masks import RunMask

COLOURS = (
    *("black", "white", "red", "orange", "yellow", "green", "blue", "purple", "pink"),
)
# Hues in degrees, from and to, of which one would say this colour and one that.
_BETWEEN = {
    ("red", "orange"): (10, 22),
    ("orange", "yellow"): (34, 46),
    ("yellow", "green"): (62, 82),
    ("green", "blue"): (155, 200),
    ("blue", "purple"): (250, 270),
    ("purple", "pink"): (295, 318),
    ("pink", "red"): (340, 350),
}
ABSENT = 0.15  # share of the pixels up to which a thing is clearly not of a colour
FEW = 50  # inner pixels: with fewer nothing is said


class Palette:
    """The colours of one picture's regions."""

    def __init__(self, image: Image, share: float) -> None:
        self._image, self.share = image, share
        self._counted: dict[RunMask, tuple[dict[str, float], dict[str, float]]] = {}

    @functools.cached_property
    def _names(self) -> UInt8[np.ndarray, "H W"]:
        """Of each pixel: 0, or 1 + the index of its colour in (*COLOURS, *_BETWEEN)."""
        hue, saturation, value = cv2.split(
            cv2.cvtColor(self._image, cv2.COLOR_RGB2HSV_FULL)
        )
        degrees = hue.astype(np.float32) * (360 / 256)
        red, green, blue = cv2.split(self._image)
        least = np.minimum(np.minimum(red, green), blue)
        chroma = value - least  # value is the greatest of the three
        vivid = (chroma >= 50) & (saturation >= 95)
        warm = (degrees >= 345) | (degrees <= 12)
        rosy = (degrees >= 315) | (degrees <= 8)
        pale = (chroma >= 28) & (saturation < 128) & (value >= 170)
        masks = {
            "black": ((value <= 72) & (chroma <= 24)) | (value <= 36),
            "white": (least >= 170) & (chroma <= 32),
            "pink": (rosy & pale)
            | ((degrees >= 315) & (degrees < 345) & vivid & (value >= 140)),
            "red": warm & vivid & (saturation >= 150) & (value >= 90),
            "orange": (degrees >= 20)
            & (degrees <= 38)
            & (saturation >= 175)
            & (value >= 185),
            "yellow": (degrees >= 44) & (degrees <= 66) & vivid & (value >= 140),
            "green": (degrees >= 78) & (degrees <= 165) & vivid,
            "blue": (degrees >= 192) & (degrees <= 255) & vivid,
            "purple": (degrees >= 265) & (degrees <= 300) & vivid,
        }
        names = np.zeros(hue.shape, np.uint8)
        for name, mask in masks.items():
            names[mask & (names == 0)] = 1 + COLOURS.index(name)
        for i, (low, high) in enumerate(_BETWEEN.values()):
            between = (degrees >= low) & (degrees <= high) & vivid & (value >= 90)
            names[between & (names == 0)] = 1 + len(COLOURS) + i
        return names

    def shares(self, mask: RunMask) -> dict[str, float]:
        """Of each colour, the share of the mask's inner pixels; {}: too few of them."""
        return self._measured(mask)[0]

    def _measured(self, mask: RunMask) -> tuple[dict[str, float], dict[str, float]]:
        """The shares of each colour, and with what some would call so."""
        if mask not in self._counted:
            self._counted[mask] = self._measure(mask)
        return self._counted[mask]

    def _measure(self, mask: RunMask) -> tuple[dict[str, float], dict[str, float]]:
        place, inner = _inner(mask)
        names = self._names[place][inner]
        if len(names) < FEW:
            return {}, {}
        words = (*COLOURS, *_BETWEEN)
        counts = np.bincount(names, minlength=1 + len(words))[1:]
        by_word = dict(zip(words, (counts / len(names)).tolist(), strict=True))
        plain = {c: by_word[c] for c in COLOURS}
        wide = {
            c: s + sum(by_word[b] for b in _BETWEEN if c in b) for c, s in plain.items()
        }
        return plain, wide

    def colour(self, mask: RunMask | None) -> str:
        """The colour that a region has, "" for none."""
        return next((c for c in COLOURS if self.agree(c, mask)), "")

    def agree(self, colour: str, mask: RunMask | None) -> Truth:
        """Whether a region has a colour; None: partly, or nobody knows."""
        plain, wide = self._measured(mask) if mask is not None else ({}, {})
        if not plain:
            return None
        if plain[colour] >= self.share:
            return True
        return False if wide[colour] <= ABSENT else None


def _inner(mask: RunMask) -> tuple[tuple[slice, slice], Bool[np.ndarray, "y x"]]:
    """The inner pixels of a mask, within the rows and columns of its box."""
    x, y, w, h = mask.box
    crop = mask.pixels()[y : y + h, x : x + w].astype(np.uint8)
    reach = 2 * max(1, round(0.02 * math.sqrt(mask.area))) + 1
    inner = cv2.erode(crop, np.ones((reach, reach), np.uint8), borderValue=0)
    return (slice(y, y + h), slice(x, x + w)), inner > 0
