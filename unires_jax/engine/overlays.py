"""A case drawn: its picture, and the masks and prompt box to lay over it."""

import base64
import dataclasses
import functools
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Bool, UInt8

from unires_jax.engine import picture_files
from unires_jax.engine.cases import Case
from unires_jax.engine.record import Picture, Region
from unires_jax.errors import DataError
from unires_jax.pixels.images import decode_image
from unires_jax.pixels.masks import RunMask

SIDE = 320  # longer side of a picture on a page, pixels
# RGB: the page's own colours of the levels, and of the box that was asked for.
COLOURS = {"object": (76, 110, 245), "part": (240, 62, 78), "prompt": (255, 236, 120)}
FILL = 0.45  # opacity inside an outline


@dataclasses.dataclass(frozen=True)
class Drawing:
    """Data URIs, "" where there is nothing to show."""

    image: str = ""
    layer: str = ""


def draw(root: Path | None, case: Case) -> Drawing:
    """The picture of a case below `root`, and the layer of what it is about.

    A picture that cannot be read is left out: the page is about what went wrong too.
    """
    image = (
        ""
        if root is None
        else _thumbnail(*(root, case.picture.file, case.picture.sha256))
    )
    return Drawing(image, _uri("png", _layer(case))) if image else Drawing()


@functools.lru_cache(maxsize=64)  # cases of one picture come together in a small run
def _thumbnail(root: Path, file: str, sha256: str) -> str:
    pixels = read_pixels(root, file, sha256)
    if pixels is None:
        return ""
    height, width = _size(*pixels.shape[:2])
    small = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
    return _uri("jpg", small[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 82])


def read_pixels(
    root: Path, file: str, sha256: str
) -> UInt8[np.ndarray, "H W 3"] | None:
    """The pixels of a picture below `root`; None without the one that was planned."""
    try:
        data = picture_files.planned(root, file, sha256)
        return None if data is None else decode_image(data)
    except DataError:
        return None


def _size(height: int, width: int) -> tuple[int, int]:
    scale = SIDE / max(height, width, 1)
    return max(1, round(height * scale)), max(1, round(width * scale))


def _layer(case: Case) -> UInt8[np.ndarray, "h w 4"]:
    """BGRA: objects blue, parts red, the prompt boxes of what is judged light."""
    picture, judged = case.picture, {r.id for r in case.targets}
    height, width = _size(picture.height, picture.width)
    rgba = np.zeros((height, width, 4), np.uint8)
    parents = {r.parent for r in case.targets}
    for region in sorted(picture.regions, key=lambda r: r.level):  # parts on top
        if region.id in judged | parents and region.rle:
            mask = _mask(region, picture, height, width)
            filled = region.id in judged
            _paint(rgba, mask, COLOURS[region.level], FILL if filled else 0.0)
    for region in case.targets:
        _frame(rgba, region, height / picture.height, width / picture.width)
    return cv2.cvtColor(rgba, cv2.COLOR_RGBA2BGRA)


def _mask(
    region: Region, picture: Picture, height: int, width: int
) -> Bool[np.ndarray, "h w"]:
    try:
        runs = RunMask.from_counts(region.rle, picture.height, picture.width)
    except DataError:
        return np.zeros((height, width), bool)
    return runs.resize(height, width).pixels()


def _paint(
    rgba: UInt8[np.ndarray, "h w 4"],
    mask: Bool[np.ndarray, "h w"],
    colour: tuple[int, int, int],
    fill: float,
) -> None:
    edge = cv2.morphologyEx(
        np.ascontiguousarray(mask).view(np.uint8),
        cv2.MORPH_GRADIENT,
        np.ones((3, 3), np.uint8),
    )
    if fill:
        rgba[mask] = (*colour, round(255 * fill))
    rgba[(edge > 0) & mask] = (*colour, 255)


def _frame(
    rgba: UInt8[np.ndarray, "h w 4"], region: Region, down: float, across: float
) -> None:
    x0, y0, x1, y1 = region.box
    corners = (x0 * across, y0 * down), (x1 * across, y1 * down)
    # Boxes are as they were given: far outside, OpenCV's integers would not do.
    (left, top), (right, bottom) = np.clip(corners, -SIDE, 2 * SIDE).round().astype(int)
    cv2.rectangle(
        rgba,
        (int(left), int(top)),
        (int(right) - 1, int(bottom) - 1),
        (*COLOURS["prompt"], 255),
        1,
    )


def _uri(
    kind: str, pixels: UInt8[np.ndarray, "h w c"], options: list[int] | None = None
) -> str:
    data = cv2.imencode(f".{kind}", pixels, options or [])[1]
    media = "jpeg" if kind == "jpg" else kind
    return f"data:image/{media};base64,{base64.b64encode(data.tobytes()).decode()}"
