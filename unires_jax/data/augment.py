"""What may be changed of a picture, as far as its sentences stay true.

A mirrored picture needs mirrored sentences; a crop must not move what they speak of.
The word lists are ours.
"""

import re
from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8


def random_crop(
    height: int, width: int, shortest: float, rng: np.random.Generator
) -> tuple[int, int, int, int]:
    """A box (left, top, width, height), each side `shortest` to 1 of the picture's.

    Ours.
    """
    crop_width = max(1, round(width * rng.uniform(shortest, 1)))
    crop_height = max(1, round(height * rng.uniform(shortest, 1)))
    left = int(rng.integers(0, width - crop_width + 1))
    top = int(rng.integers(0, height - crop_height + 1))
    return left, top, crop_width, crop_height


def shrunk(image_size: int, shrink: float, rng: np.random.Generator) -> int:
    """The side that a picture fills of a canvas of `image_size` pixels.

    Half of the time all of it, else at least a share of 1 - `shrink`; ours.
    """
    if rng.random() < 0.5:
        return image_size
    return max(1, round(image_size * rng.uniform(1 - shrink, 1)))


_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # of RGB (ITU-R BT.601)


def recoloured(
    pixels: UInt8[np.ndarray, "h w 3"], amount: float, rng: np.random.Generator
) -> UInt8[np.ndarray, "h w 3"]:
    """The picture in other light, contrast and saturation, each within 1 +- `amount`.

    No hue changes, and none comes or goes where `amount` is moderate: what sentences
    say of colours stays true. Ours.
    """
    light, contrast, saturation = rng.uniform(1 - amount, 1 + amount, 3)
    # All three are one affine map of RGB.
    grey = np.outer(np.ones(3, np.float32), _LUMA)
    colours = grey + np.float32(saturation) * (np.eye(3, dtype=np.float32) - grey)
    matrix = np.float32(light * contrast) * colours
    middle = light * (1 - contrast) * float(pixels.reshape(-1, 3).mean(0) @ _LUMA)
    changed = pixels.astype(np.float32) @ matrix.T + np.float32(middle)
    return np.clip(np.rint(changed), 0, 255).astype(np.uint8)


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

    def exchange(match: re.Match[str]) -> str:
        before, side, after = match.groups()
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
