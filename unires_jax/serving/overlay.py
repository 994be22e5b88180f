"""Answers laid over their picture: one colour for each expression, and a legend."""

import dataclasses
from collections.abc import Collection, Sequence

import cv2
import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image, ImageDraw, ImageFont

from unires_jax.inference.segment import Segment

# RGB. The first eight are Okabe and Ito's, told apart with any colour vision.
COLOURS = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
    (144, 144, 144),
    (148, 75, 220),
    (120, 200, 60),
)
FILL = 128  # opacity inside an outline, of 255
_EDGE = np.ones((3, 3), np.uint8)
_LUMINANCE = (0.2126, 0.7152, 0.0722)  # of sRGB's primaries (WCAG 2.2)


def colour(index: int) -> tuple[int, int, int]:
    """The colour of the n-th expression; they repeat after the last."""
    return COLOURS[index % len(COLOURS)]


def draw(
    pixels: UInt8[np.ndarray, "H W 3"],
    segments: Sequence[Segment],
    hidden: Collection[int] = (),
) -> UInt8[np.ndarray, "H W 3"]:
    """The picture under the masks. Smaller masks lie on top, so that parts show.

    No mask is drawn of an expression that means nothing here, and of those whose
    numbers are `hidden`.
    """
    picture = pixels.copy()
    meant = {i for i, segment in enumerate(segments) if not segment.no_target}
    for i in sorted(meant - set(hidden), key=lambda i: -segments[i].area):
        ink = layer(segments[i].mask, colour(i))
        inked = ink[:, :, 3] > 0
        opacity = ink[inked, 3:] / 255
        mixed = (1 - opacity) * picture[inked] + opacity * ink[inked, :3]
        picture[inked] = mixed.round()
    return picture


def scaled(segment: Segment, height: int, width: int) -> Segment:
    """The answer for its picture in another size; its mask is as smooth there."""
    placement = segment.placement
    if (placement.crop_height, placement.crop_width) == (height, width):
        return segment
    resized = dataclasses.replace(placement, crop_height=height, crop_width=width)
    return dataclasses.replace(segment, placement=resized)


def layer(
    mask: Bool[np.ndarray, "H W"], rgb: tuple[int, int, int]
) -> UInt8[np.ndarray, "H W 4"]:
    """What is laid over a picture for one mask: RGBA, clear away from the mask.

    The outline has two tones, the colour and around it black or white, whichever
    differs more: on any ground one of them shows.
    """
    ink = np.zeros((*mask.shape, 4), np.uint8)
    thick = 1 + max(mask.shape) // 640
    line = cv2.dilate(mask.view(np.uint8), _EDGE, iterations=thick)
    rim = cv2.dilate(line, _EDGE, iterations=(thick + 1) // 2)
    ink[rim > 0] = (*_opposite(rgb), 255)
    ink[line > 0] = (*rgb, 255)
    ink[mask] = (*rgb, FILL)
    return ink


def _opposite(rgb: tuple[int, int, int]) -> tuple[int, int, int]:
    """Black or white, whichever has the higher contrast (WCAG 2.2)."""
    linear = (np.array(rgb) / 255) ** 2.2
    return (0, 0, 0) if float(linear @ _LUMINANCE) > 0.179 else (255, 255, 255)


def with_legend(
    pixels: UInt8[np.ndarray, "H W 3"], segments: Sequence[Segment]
) -> UInt8[np.ndarray, "H2 W2 3"]:
    """`draw`, above a line for each expression: its colour, words and score.

    The picture is enlarged to at least 480 pixels a side for the words' sake.
    """
    scale = max(1.0, 480 / max(pixels.shape[:2]))
    height, width = (round(n * scale) for n in pixels.shape[:2])
    size = (width, height)
    enlarged = Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)
    over = [scaled(segment, height, width) for segment in segments]
    picture = Image.fromarray(draw(np.array(enlarged), over))
    text = max(13, round(max(size) / 48))
    font, line, gap = ImageFont.load_default(text), round(1.6 * text), text // 2
    width = max(picture.width, 360)
    sheet = Image.new(
        "RGB", (width, picture.height + line * len(segments) + gap), "white"
    )
    sheet.paste(picture, (0, 0))
    pen = ImageDraw.Draw(sheet)
    for i, segment in enumerate(segments):
        top = picture.height + gap // 2 + i * line
        pen.rectangle((gap, top + 3, gap + text, top + 3 + text), fill=colour(i))
        room = width - text - 3 * gap
        words = _fitted(_caption(segment), pen, font, room)
        pen.text((text + 2 * gap, top), words, fill="black", font=font)
    return np.array(sheet)


def _caption(segment: Segment) -> str:
    words = " ".join(segment.expression.split())
    if segment.no_target:
        return f"{words}: nothing here ({segment.no_target_probability:.0%} sure)"
    return f"{words}: {segment.score:.2f}"


def _fitted(
    text: str,
    pen: ImageDraw.ImageDraw,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    room: int,
) -> str:
    """The text, cut in its middle so that it fits; its end holds the score."""
    text, cut = text[:400], text[:400]
    while pen.textlength(cut, font=font) > room and len(text) > 12:
        text = text[: len(text) // 2 - 1] + text[len(text) // 2 + 1 :]
        cut = text[: len(text) // 2] + "..." + text[len(text) // 2 :]
    return cut
