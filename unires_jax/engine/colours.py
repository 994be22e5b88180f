"""Which colour words pixels agree with. Source: ours, limits set by eye.

Only words that few would argue over: no orange, brown, grey or purple.
"""

import functools
import math

import cv2
import numpy as np
from jaxtyping import Bool, UInt8

from unires_jax.data.predicates import Truth
from unires_jax.engine.roles import Image
from unires_jax.pixels.masks import RunMask

COLOURS = ("black", "white", "red", "yellow", "green", "blue", "pink")
ABSENT = 0.15  # share of the pixels up to which a thing is clearly not of a colour
FEW = 50  # inner pixels: with fewer nothing is said


class Palette:
    """The colours of one picture's regions."""

    def __init__(self, image: Image, share: float) -> None:
        self._image, self.share = image, share
        self._shares: dict[RunMask, dict[str, float]] = {}

    @functools.cached_property
    def _names(self) -> UInt8[np.ndarray, "H W"]:
        """Of each pixel: 0, or 1 + the index of its colour in COLOURS."""
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
            "yellow": (degrees >= 44) & (degrees <= 66) & vivid & (value >= 140),
            "green": (degrees >= 78) & (degrees <= 165) & vivid,
            "blue": (degrees >= 192) & (degrees <= 255) & vivid,
        }
        names = np.zeros(hue.shape, np.uint8)
        for name, mask in masks.items():
            names[mask & (names == 0)] = 1 + COLOURS.index(name)
        return names

    def shares(self, mask: RunMask) -> dict[str, float]:
        """Of each colour, the share of the mask's inner pixels; {}: too few of them."""
        if mask not in self._shares:
            self._shares[mask] = self._measure(mask)
        return self._shares[mask]

    def _measure(self, mask: RunMask) -> dict[str, float]:
        place, inner = _inner(mask)
        names = self._names[place][inner]
        if len(names) < FEW:
            return {}
        counts = np.bincount(names, minlength=1 + len(COLOURS))[1:]
        return dict(zip(COLOURS, (counts / len(names)).tolist(), strict=True))

    def colour(self, mask: RunMask | None) -> str:
        """The colour that a region has, "" for none."""
        return next((c for c in COLOURS if self.agree(c, mask)), "")

    def agree(self, colour: str, mask: RunMask | None) -> Truth:
        """Whether a region has a colour; None: partly, or nobody knows."""
        shares = self.shares(mask) if mask is not None else {}
        if not shares:
            return None
        share = shares[colour]
        return True if share >= self.share else False if share <= ABSENT else None


def _inner(mask: RunMask) -> tuple[tuple[slice, slice], Bool[np.ndarray, "y x"]]:
    """The inner pixels of a mask, within the rows and columns of its box."""
    x, y, w, h = mask.box
    crop = mask.pixels()[y : y + h, x : x + w].astype(np.uint8)
    reach = 2 * max(1, round(0.02 * math.sqrt(mask.area))) + 1
    inner = cv2.erode(crop, np.ones((reach, reach), np.uint8), borderValue=0)
    return (slice(y, y + h), slice(x, x + w)), inner > 0
