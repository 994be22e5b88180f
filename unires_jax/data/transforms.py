"""Where a picture lies on the square canvas, and what a sentence allows one to change.

The geometry is ours: the picture is scaled to fit and put TOP-LEFT, so that padding is
always on the right and at the bottom. Training and evaluation share `Placement`.
"""

import dataclasses
import functools
import re
from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import UInt8

from unires_jax.data.picture_header import is_whole_png
from unires_jax.data.records import DataError, Record
from unires_jax.data.resize import resize

PAD = (123, 117, 104)  # CLIP's mean colour in RGB


@dataclasses.dataclass(frozen=True)
class Placement:
    """How original pixels map onto the canvas: crop, then scale, then mirror.

    The crop box is `left, top, crop_width, crop_height` in original pixels; it fills
    the canvas' first `height` rows and `width` columns (the valid area). Without a flip
    canvas x = (x - left) * scale_x; with one it is width minus that.
    """

    left: int
    top: int
    crop_width: int
    crop_height: int
    width: int
    height: int
    canvas: int  # side of the square, pixels
    flip: bool = False

    @property
    def scale_x(self) -> float:
        """Canvas pixels per original pixel, horizontally."""
        return self.width / self.crop_width

    @property
    def scale_y(self) -> float:
        """Canvas pixels per original pixel, vertically."""
        return self.height / self.crop_height


def place(
    height: int,
    width: int,
    image_size: int,
    crop: tuple[int, int, int, int] | None = None,
    flip: bool = False,
) -> Placement:
    """The letterbox of a picture, or of its `crop` (left, top, width, height)."""
    left, top, crop_width, crop_height = crop or (0, 0, width, height)
    scale = image_size / max(crop_width, crop_height)
    return Placement(
        left=left,
        top=top,
        crop_width=crop_width,
        crop_height=crop_height,
        width=max(1, round(crop_width * scale)),
        height=max(1, round(crop_height * scale)),
        canvas=image_size,
        flip=flip,
    )


def decode_image(data: bytes) -> UInt8[np.ndarray, "h w 3"]:
    """The RGB pixels of an encoded picture as stored (an EXIF rotation is not applied).

    Masks and sizes of every source refer to the stored pixels. Raises DataError if the
    bytes are no picture, or end early (which older decoders turn into half a picture).
    """
    if not data:
        raise DataError("image: holds no bytes")
    flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
    whole = _is_whole(data)
    image = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if whole else None
    if image is None:
        fault = "is not a readable picture" if whole else "is truncated or damaged"
        raise DataError(
            f"image: {fault} ({len(data)} bytes); expected a whole JPEG or PNG, "
            "fetch the file again"
        )
    return image


def decode_record_image(record: Record) -> UInt8[np.ndarray, "h w 3"]:
    """The RGB pixels of a record. Raises DataError also if its size is another."""
    pixels = decode_image(record.image)
    if pixels.shape[:2] != (record.height, record.width):
        raise DataError(
            f"image: is {pixels.shape[0]} x {pixels.shape[1]} pixels, expected "
            f"image/height x image/width = {record.height} x {record.width}; picture "
            "and masks belong to different copies"
        )
    return pixels


def _is_whole(data: bytes) -> bool:
    """False if a JPEG lacks its end marker, or a PNG a chunk or a checksum."""
    if data.startswith(b"\xff\xd8"):
        return data.rfind(b"\xff\xd9", _jpeg_scan(data)) >= 0
    if data.startswith(b"\x89PNG"):
        return is_whole_png(data)
    return True


def _jpeg_scan(data: bytes) -> int:
    """Where the pixels begin: an embedded thumbnail has an end marker of its own."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return at


def draw(
    image: UInt8[np.ndarray, "h w 3"],
    placement: Placement,
    canvas: UInt8[np.ndarray, "H W 3"],
) -> None:
    """Fill the canvas with the picture placed on it and the padding."""
    p = placement
    part = image[p.top : p.top + p.crop_height, p.left : p.left + p.crop_width]
    resize(part, canvas, p.height, p.width, p.flip)
    padding = _padding(p.canvas)
    canvas[p.height :] = padding[p.height :]
    canvas[: p.height, p.width :] = padding[: p.height, p.width :]


@functools.lru_cache(maxsize=4)
def _padding(size: int) -> UInt8[np.ndarray, "S S 3"]:
    """A whole canvas of it: copied much faster than filled."""
    return np.full((size, size, 3), PAD, np.uint8)


def prepare_image(
    image: bytes | UInt8[np.ndarray, "h w 3"], image_size: int
) -> tuple[UInt8[np.ndarray, "H W 3"], Placement]:
    """The canvas of an encoded or decoded RGB picture, unaugmented, and its placement.

    Raises DataError as `decode_image` does.
    """
    pixels = decode_image(image) if isinstance(image, bytes) else image
    placement = place(pixels.shape[0], pixels.shape[1], image_size)
    canvas = np.empty((image_size, image_size, 3), np.uint8)
    draw(pixels, placement, canvas)
    return canvas, placement


def random_crop(
    height: int, width: int, rng: np.random.Generator
) -> tuple[int, int, int, int]:
    """A box (left, top, width, height), each side 0.6 to 1 of the picture's; ours."""
    crop_width = max(1, round(width * rng.uniform(0.6, 1)))
    crop_height = max(1, round(height * rng.uniform(0.6, 1)))
    left = int(rng.integers(0, width - crop_width + 1))
    top = int(rng.integers(0, height - crop_height + 1))
    return left, top, crop_width, crop_height


# A side word: alone, hyphenated, or grown together ("leftmost", "topleft", "lefthand").
_BEFORE = (
    "(?:(?:top|bottom|upper|lower|uppermost|far|furthest|farthest|mid|middle|center|"
    "centre|back|front|rear|extreme|most|very)?)"
)
_AFTER = (
    "(?:(?:y|ies|er|est|s|ward|wards|wardly|side|sided|hand|handed|hander|handers|most|"
    "ish|front|back|top|bottom|corner|edge|end|facing|field|fielder)?)"
)
_SIDE = re.compile(rf"\b({_BEFORE})(left|right)({_AFTER})\b")

# After these, "left" and "right" are perhaps no sides ("right behind", "left over").
_UNCLEAR = re.compile(
    r"\b(?:right|left) (?:behind|next|in front|up|above|below|under|underneath|beside|"
    r"besides|near|by|at|before|after|there|here|now|against|over|out|alone|away)\b"
    r"|\ball right\b|\bonly (?:one|ones|thing|person|piece) left\b"
    # Abbreviations and slips of the same words, and directions of other kinds.
    r"|\b(?:l|r|lt|rt|lft|rgt|rite|lef|leff|lefft|leftt|letf|lfet|righ|rigt|rigth|"
    r"rihgt|rght|righht|rightt)\b"
    r"|\b(?:east|west)(?:ern|ward|wards)?\b"
    r"|\b(?:counter|anti)?-?clockwise\b|\bo'? ?clock\b"
)

# What a mirror makes unreadable.
_TEXT = re.compile(
    r"\b(?:letters?|lettering|lettered|words?|wording|text|texts|writing|writings|"
    r"written|writes|numbers?|numbered|numerals?|digits?|signs?|signage|logos?|"
    r"labels?|labell?ed|captions?|titles?|titled|named?|names|initials?|brands?|"
    r"branded|spell|spells|spelled|spelling|say|says|saying|said|reads?|reading|"
    r"alphabet|monogram|slogans?|licen[sc]e|barcode|font|printed|inscription|"
    r"inscribed|engraved|scoreboard|billboards?)\b"
    r"|\b\d+\b|[\"“”#]"
)

# Words whose truth a crop can change: places, ordinals, and talk of the frame.
_PLACE = re.compile(
    r"\b(?:top|topmost|bottom|bottommost|upper|uppermost|lower|lowest|lowermost|high|"
    r"higher|highest|low|middle|mid|midst|center|centre|central|centered|corner|"
    r"corners|edge|edges|side|sides|end|far|farther|farthest|further|furthest|"
    r"farest|near|nearer|nearest|close|closer|closest|front|back|rear|behind|above|"
    r"below|beneath|under|underneath|over|between|beside|besides|next|adjacent|"
    r"opposite|foreground|background|backmost|frontmost|outer|outermost|inner|"
    r"innermost|away|camera|screen|picture|pic|image|photo|frame|view|visible|cut|"
    r"cropped|partial|partially|partly|whole|full|fully|entire|complete|completely|"
    r"half|horizontal|vertical|first|second|third|fourth|fifth|sixth|seventh|eighth|"
    r"ninth|tenth|last|\d+(?:st|nd|rd|th)|north|south|east|west)\b"
)


def mirrored(sentence: str) -> str:
    """The lower-cased sentence with left and right exchanged in every form."""

    def exchange(found: re.Match[str]) -> str:
        before, side, after = found.groups()
        return before + ("right" if side == "left" else "left") + after

    return _SIDE.sub(exchange, sentence.lower())


def may_flip(sentences: Sequence[str]) -> bool:
    """Whether `mirrored` sentences stay true of the mirrored picture.

    False if one speaks of text, or uses a side word whose sense is not clear.
    """
    return not any(
        _TEXT.search(s) or _UNCLEAR.search(s) for s in map(str.lower, sentences)
    )


def may_crop(sentences: Sequence[str]) -> bool:
    """Whether no sentence names a place, a side or an ordinal."""
    return not any(
        _PLACE.search(s) or _SIDE.search(s) or _UNCLEAR.search(s)
        for s in map(str.lower, sentences)
    )
