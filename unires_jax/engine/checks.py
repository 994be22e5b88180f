"""What a picture, region and text must be, and the code of the first that fails.

Each check reads facts of the record and no other check's outcome, so that a stricter
threshold never brings back what a laxer one drops. Source: ours.
"""

import dataclasses
import re
from collections.abc import Iterator, Mapping

import numpy as np

from unires_jax import limits
from unires_jax.engine import boxes
from unires_jax.engine.lexemes import names, repetition, words
from unires_jax.engine.record import (
    COUNTING,
    OBJECT,
    PART,
    Picture,
    Region,
    Scores,
    Text,
    level_of,
    root_form,
)
from unires_jax.engine.settings import Thresholds
from unires_jax.engine.thresholds import detector
from unires_jax.prepare.mres import fields

CODES = {
    "I1": "the picture does not decode, or is too small or too large",
    "I2": "the same file as an earlier picture",
    "E1": "a model failed on the picture",
    "B1": "nothing of the box is within the picture",
    "B2": "the box is too small",
    "B3": "a crowd, or the same box as an earlier one of its category",
    "M1": "the segmenter expects a poor mask",
    "M2": "the mask is not stable",
    "M3": "the mask is empty, too small, or nearly the whole picture",
    "M4": "the mask does not fit its box",
    "M5": "the mask is in pieces",
    "P1": "the detector is not sure of the part",
    "P2": "the part is not within its object",
    "P3": "the part is too small, or the whole object",
    "P4": "the part is a better one once more, or one of too many",
    "T1": "the text is empty, too short or long, or no caption",
    "T2": "the text does not name the part",
    "T3": "the text is said twice in the picture",
    "T4": "an instance without a box makes the text ambiguous",
    "C1": "the text does not fit the region's crop",
    "C2": "another text fits the region's crop better",
    "C3": "among the worst texts of its category",
    "U1": "the grounder finds another region by the text",
    "U2": "the grounder finds the part's whole object by the text",
    "U3": "the detector finds what the text says is absent",
}
_SIDE = 64  # pixels of a picture, at least
_WORDS = 2, 20  # of a text
_REPETITION = 0.5  # share of a text's words that it says again, below
_SAME = 0.5  # IoU of the boxes of one thing: its text is no other's
# Forms of which a crop shows nothing: they speak of places and of other regions.
_UNSEEN = (*COUNTING, "relation", "negative")
_LEAK = re.compile(
    r"<loc_|<\||</?s>|\b(?:the|this) image shows\b|\bas an ai\b", re.IGNORECASE
)
Key = tuple[str, int]  # of a text: its region's id and its place there


@dataclasses.dataclass(frozen=True)
class Bar:
    """What must be reached."""

    thresholds: Thresholds
    rules: bool = True  # whether checks that have no threshold are made
    # Positions of pictures that are an earlier one's file.
    repeated: frozenset[int] = frozenset()
    # The least cosine of a text, by category and part.
    floors: Mapping[tuple[str, str], float] = dataclasses.field(default_factory=dict)


def of_picture(picture: Picture, position: int, bar: Bar) -> Iterator[str]:
    """Codes of a picture, which is the one at `position` of all."""
    height, width = picture.height, picture.width
    if not limits.plausible(height, width):
        yield "I1"
    if picture.errors:
        yield "E1"
    if not bar.rules:
        return
    if min(height, width) < _SIDE:
        yield "I1"
    if position in bar.repeated:
        yield "I2"


def of_object(
    region: Region, picture: Picture, doubles: frozenset[str], bar: Bar
) -> Iterator[str]:
    """Codes of an object; `doubles` are `twins` of its picture."""
    limit, box = bar.thresholds, region.box
    side = min(box[2] - box[0], box[3] - box[1])
    share = boxes.area(box) / (picture.height * picture.width)
    if side < limit.side or share < limit.box_area:
        yield "B2"
    if region.id in doubles or (region.crowd and bar.rules):
        yield "B3"
    yield from _of_mask(region, picture, limit)
    if _below(region.scores, "largest", limit.largest):
        yield "M5"


def twins(picture: Picture, most: float) -> frozenset[str]:
    """Ids of objects whose box has an IoU > `most` with an earlier one's.

    Of one category, and of those that the plan took.
    """
    groups: dict[str, list[Region]] = {}
    for region in picture.regions:
        if region.level == OBJECT and not region.crowd and not region.codes:
            groups.setdefault(region.category, []).append(region)
    doubles = set[str]()
    for group in groups.values():
        places = np.array([region.box for region in group], np.float64)
        earlier = np.tril(boxes.ious(places, places), -1).max(axis=1)
        doubles |= {r.id for r, iou in zip(group, earlier, strict=True) if iou > most}
    return frozenset(doubles)


def of_part(region: Region, picture: Picture, bar: Bar) -> Iterator[str]:
    """Codes of a part."""
    limit, scores = bar.thresholds, region.scores
    if _below(scores, "detector", detector(limit, region)):
        yield "P1"
    if _below(scores, "contain", limit.contain):
        yield "P2"
    yield from _of_mask(region, picture, limit)
    small = _below(scores, "area_ratio", limit.part_area_min)
    if small or _above(scores, "area_ratio", limit.part_area_max):
        yield "P3"
    double = _above(scores, "same_name", limit.same_name)
    double = double or _above(scores, "same_place", limit.same_place)
    if double or _reaches(scores, "rank", float(limit.parts)):
        yield "P4"


def _of_mask(region: Region, picture: Picture, limit: Thresholds) -> Iterator[str]:
    scores = region.scores
    if _below(scores, "pred_iou", limit.pred_iou):
        yield "M1"
    if _below(scores, "stability", limit.stability):
        yield "M2"
    most = limit.mask_area * picture.height * picture.width
    if not max(limit.mask_pixels, 1) <= region.area <= most:
        yield "M3"
    loose = _below(scores, "box_iou", limit.box_iou)
    if loose or _below(scores, "in_box", limit.in_box):
        yield "M4"


def of_text(text: Text, region: Region, twice: bool, bar: Bar) -> Iterator[str]:
    """Codes of a text; `twice` tells whether it is among `said_twice`."""
    limit, scores = bar.thresholds, text.scores
    # What no line can hold is dropped whatever the rules.
    storable = bool(text.text.strip()) and fields.is_plain(text.text)
    if not storable or (bar.rules and not _is_plain(text.text)):
        yield "T1"
    negative = text.form == "negative"
    of_part = region.level == PART and not negative
    if bar.rules and of_part and not names(text.text, region.part):
        yield "T2"
    if bar.rules and twice:
        yield "T3"
    if negative:
        if _reaches(scores, "detector", limit.absent):
            yield "U3"
        return
    if _reaches(scores, "detector", limit.extra):
        yield "T4"
    if is_seen(text, region):
        if _below(scores, "clip", limit.clip):
            yield "C1"
        if _below(scores, "clip_margin", limit.clip_margin):
            yield "C2"
        if _below(scores, "clip", bar.floors.get(place(region), -2.0)):
            yield "C3"
    own = scores.get("own_iou")
    if bar.rules and own is not None and _above(scores, "answer_parent_iou", own):
        yield "U2"
    ahead = None if own is None else own - (scores.get("best_other_iou") or 0.0)
    if _below(scores, "own_iou", limit.own_iou) or (
        ahead is not None and not ahead >= limit.ahead
    ):
        yield "U1"


def is_seen(text: Text, region: Region) -> bool:
    """Whether the region's crop can show what a text says."""
    return root_form(region, text) not in _UNSEEN


def place(region: Region) -> tuple[str, str]:
    """What texts are compared within: a category, or a part of one."""
    return region.category, region.part


def _is_plain(text: str) -> bool:
    few, many = _WORDS
    return (
        few <= len(words(text)) <= many
        and text.isprintable()
        and not _LEAK.search(text)
        and repetition(text) < _REPETITION
    )


def said_twice(picture: Picture) -> frozenset[Key]:
    """Texts of a level that are there before, and those that several things have.

    A negative yields to what says the same of something, and the text of a part that
    was found in two objects to that of the smaller one.
    """
    areas = {region.id: region.area for region in picture.regions}
    groups: dict[tuple[str, str], list[tuple[Key, Region, Text]]] = {}
    for region in picture.regions:
        for i, text in enumerate(region.texts):
            said = " ".join(words(text.text))
            if said:
                entry = (region.id, i), region, text
                groups.setdefault((level_of(region, text), said), []).append(entry)
    doubles = set[Key]()
    for group in groups.values():
        group.sort(key=lambda x: (not x[2].targets, areas.get(x[1].parent, 0)))
        (first, region, text), *others = group
        doubles |= {key for key, _, _ in others}
        if any(t.targets and not _is_one(region, text, r, t) for _, r, t in others):
            doubles.add(first)
    return frozenset(doubles)


def _is_one(a: Region, a_text: Text, b: Region, b_text: Text) -> bool:
    """Whether two texts speak of one thing, be it found twice."""
    if a_text.targets == b_text.targets:
        return True
    single = len(a_text.targets) == len(b_text.targets) == 1
    return single and boxes.iou(a.box, b.box) > _SAME


def _below(scores: Scores, name: str, least: float) -> bool:
    value = scores.get(name)
    return value is not None and not value >= least


def _above(scores: Scores, name: str, most: float) -> bool:
    value = scores.get(name)
    return value is not None and not value <= most


def _reaches(scores: Scores, name: str, limit: float) -> bool:
    value = scores.get(name)
    return value is not None and not value < limit
