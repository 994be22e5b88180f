"""What a run made, in numbers: gathered picture by picture, in bounded memory."""

import dataclasses
import math
from collections import Counter
from typing import Any

import numpy as np

from unires_jax.engine.cases import Case, cases
from unires_jax.engine.checks import CODES
from unires_jax.engine.lexemes import names, words
from unires_jax.engine.record import LEVELS, Picture, Region, Text
from unires_jax.engine.settings import Thresholds
from unires_jax.engine.thresholds import detector

KINDS = ("picture", *LEVELS, "text")
# Of the paper (section 4): words of a sentence, and 16.9 million parts of 15.3 million
# objects.
PAPER = {"words": 4.6, "parts": 1.1}
BINS = 40  # of a histogram
WORDS = 20  # the longest text that is told apart
NAMES = 20_000  # different categories or parts that are counted apart; ours
OTHERS = "(others)"
ALONG = "along"  # not a code: it went with its object, its targets or its picture
# The stages that drop, and the codes each looks for, by their first letters.
STEPS = {
    "picture": "I",
    "boxes": "B",
    "masks": "M",
    "parts": "P",
    "sentences": "T",
    "scores": "CU",
    "errors": "E",
}


@dataclasses.dataclass(frozen=True)
class Axis:
    """A histogram of one score."""

    title: str
    kinds: tuple[str, ...]  # of KINDS
    score: str
    less: str = ""  # another score that is taken away
    low: float = 0.0
    high: float = 1.0
    limits: tuple[str, ...] = ()  # settings of Thresholds
    code: str = ""
    forms: bool | None = None  # of negatives alone (False), of all others (True)


AXES = (
    Axis("Predicted IoU", LEVELS, "pred_iou", limits=("pred_iou",), code="M1"),
    Axis("Stability", LEVELS, "stability", limits=("stability",), code="M2"),
    Axis("Box IoU", LEVELS, "box_iou", limits=("box_iou",), code="M4"),
    Axis("Inside the box", LEVELS, "in_box", limits=("in_box",), code="M4"),
    Axis("Largest piece", LEVELS, "largest", limits=("largest",), code="M5"),
    Axis("Detector", ("part",), "detector", limits=("detector",), code="P1"),
    Axis("Inside the object", ("part",), "contain", limits=("contain",), code="P2"),
    Axis(
        "Part over object",
        ("part",),
        "area_ratio",
        limits=("part_area_min", "part_area_max"),
        code="P3",
    ),
    Axis("CLIP cosine", ("text",), "clip", high=0.5, limits=("clip",), code="C1"),
    Axis(
        "CLIP ahead of other texts",
        ("text",),
        "clip_margin",
        low=-0.2,
        high=0.2,
        limits=("clip_margin",),
        code="C2",
    ),
    Axis(
        "Grounder's IoU",
        ("text",),
        "own_iou",
        limits=("own_iou",),
        code="U1",
        forms=True,
    ),
    Axis(
        "Grounder ahead of others",
        ("text",),
        "own_iou",
        less="best_other_iou",
        low=-1.0,
        limits=("ahead",),
        code="U1",
        forms=True,
    ),
    Axis(
        "Absent things in the picture",
        ("text",),
        "detector",
        limits=("absent",),
        code="U3",
        forms=False,
    ),
    Axis("Captioner's log-probability", ("text",), "logprob", low=-4.0, high=0.0),
)


class Stats:
    """Numbers of the pictures that were added.

    `thresholds` are those of the filter, if it has run, drawn into the histograms.
    """

    def __init__(self, thresholds: Thresholds | None = None) -> None:
        self._thresholds = thresholds
        self._detectors = set[float]()  # what parts had to reach, by their finders
        self.total, self.kept = Counter[str](), Counter[str]()  # by kind
        self.dropped = {kind: Counter[str]() for kind in KINDS}  # by code
        self._gone = {kind: Counter[str]() for kind in KINDS}  # by first code, or ALONG
        self.forms: dict[str, Counter[str]] = {}  # texts, kept, words of the kept
        self.negatives: dict[str, Counter[str]] = {}  # by kind
        self.words = Counter[int]()  # kept texts by length
        self.categories: dict[str, Counter[str]] = {}
        self.parts: dict[str, Counter[str]] = {}
        self.sources = Counter[str]()
        self.errors = 0  # pictures
        self._bins = {axis.title: np.zeros((2, BINS), np.int64) for axis in AXES}

    def add(self, picture: Picture) -> None:
        """Count a picture, its regions and their texts."""
        self.errors += bool(picture.errors)
        for case in cases(picture):
            thing = case.text or case.region or picture
            kind = _kind(case)
            self.total[kind] += 1
            self.kept[kind] += thing.keep
            if not thing.keep:
                self.dropped[kind].update(case.strata)
                self._gone[kind].update((*case.strata, ALONG)[:1])
            if case.region is not None:
                self._count_scores(kind, thing)  # type: ignore[arg-type]
            if case.text is not None:
                self._count_text(case.region, case.text)  # type: ignore[arg-type]
            elif case.region is not None:
                self._count_region(case.region)

    def _count_scores(self, kind: str, thing: Region | Text) -> None:
        for axis in AXES:
            value = thing.scores.get(axis.score) if kind in axis.kinds else None
            if axis.less and value is not None:
                other = thing.scores.get(axis.less)
                value = None if other is None else value - other
            negative = isinstance(thing, Text) and thing.form == "negative"
            if value is None or axis.forms == negative:
                continue
            place = (value - axis.low) / (axis.high - axis.low) * BINS
            bins = self._bins[axis.title]
            bins[int(not thing.keep), int(min(max(place, 0), BINS - 1))] += 1

    def _count_region(self, region: Region) -> None:
        self.sources.update(region.src.values())
        row = _row(self.categories, region.category)
        name = "objects" if region.level == "object" else "parts"
        row[name] += 1
        row[f"kept {name}"] += region.keep
        if region.part:
            if self._thresholds:
                self._detectors.add(detector(self._thresholds, region))
            row = _row(self.parts, region.part)
            row["parts"] += 1
            row["kept parts"] += region.keep

    def _count_text(self, region: Region, text: Text) -> None:
        self.sources[text.src] += 1
        row = self.forms.setdefault(text.form, Counter())
        row["texts"] += 1
        row["kept"] += text.keep
        if text.form == "negative":
            kind = negative_kind(text, region)
            row = self.negatives.setdefault(kind, Counter())
            row["texts"] += 1
            row["kept"] += text.keep
        if text.keep:
            length = len(text.text.split())
            self.words[min(length, WORDS)] += 1
            self.forms[text.form]["words"] += length
            places = (self.categories, region.category), (self.parts, region.part)
            for rows, name in places:
                if name:
                    _row(rows, name)["kept texts"] += 1

    def to_json(self) -> dict[str, Any]:
        """All numbers, the most frequent names first."""
        objects, parts = self.kept["object"], self.kept["part"]
        texts = self.kept["text"]
        length = sum(row["words"] for row in self.forms.values())
        return {
            "total": {kind: self.total[kind] for kind in KINDS},
            "kept": {kind: self.kept[kind] for kind in KINDS},
            "errors": self.errors,
            "words": {
                "mean": length / texts if texts else None,
                "paper": PAPER["words"],
                "texts": {str(n): self.words[n] for n in range(1, WORDS + 1)},
            },
            "parts_per_object": {
                "mean": parts / objects if objects else None,
                "paper": PAPER["parts"],
            },
            "funnel": {kind: self._funnel(kind) for kind in KINDS},
            "codes": {
                code: {
                    "meaning": meaning,
                    "dropped": sum(self.dropped[kind][code] for kind in KINDS),
                }
                for code, meaning in CODES.items()
            },
            "forms": {
                form: {
                    "texts": row["texts"],
                    "kept": row["kept"],
                    "words": row["words"] / row["kept"] if row["kept"] else None,
                }
                for form, row in sorted(self.forms.items())
            },
            "negatives": {k: dict(row) for k, row in sorted(self.negatives.items())},
            "categories": _by_size(self.categories, "objects"),
            "parts": _by_size(self.parts, "parts"),
            "histograms": {
                axis.title: {
                    "low": axis.low,
                    "high": axis.high,
                    "code": axis.code,
                    "thresholds": self._limits(axis),
                    "kept": self._bins[axis.title][0].tolist(),
                    "dropped": self._bins[axis.title][1].tolist(),
                }
                for axis in AXES
                if self._bins[axis.title].any()
            },
            "sources": dict(sorted(self.sources.items())),
        }

    def _limits(self, axis: Axis) -> list[float]:
        """The thresholds of an axis that lie on it."""
        values = [getattr(self._thresholds, name, math.nan) for name in axis.limits]
        if axis.limits == ("detector",):
            values = sorted(self._detectors)
        return [value for value in values if axis.low <= value <= axis.high]

    def _funnel(self, kind: str) -> list[dict[str, Any]]:
        """What is left after each step, and the codes that went there."""
        left, rows = self.total[kind], []
        for step, letters in {ALONG: "", **STEPS}.items():
            codes = {
                code: n
                for code, n in sorted(self._gone[kind].items())
                if (code == ALONG if step == ALONG else code[0] in letters)
            }
            if codes:
                left -= sum(codes.values())
                rows.append({"step": step, "codes": codes, "left": left})
        return rows


def _kind(case: Case) -> str:
    if case.text is not None:
        return "text"
    return case.region.level if case.region else "picture"


def _row(rows: dict[str, Counter[str]], name: str) -> Counter[str]:
    """The counts of a name; beyond NAMES of them, those of all others."""
    return rows.setdefault(
        name if name in rows or len(rows) < NAMES else OTHERS, Counter()
    )


def _by_size(rows: dict[str, Counter[str]], name: str) -> dict[str, dict[str, int]]:
    """Rows as plain counts, the most frequent first."""
    ordered = sorted(rows.items(), key=lambda row: (-row[1][name], row[0]))
    return {key: dict(counts) for key, counts in ordered}


_SIDES = {"left", "right", "top", "bottom", "upper", "lower", "leftmost", "rightmost"}
_SIDES |= {"topmost", "lowest", "highest"}
_COLOURS = {"black", "white", "red", "yellow", "green", "blue", "pink", "orange"}
_COLOURS |= {"brown", "grey", "gray", "purple"}


def negative_kind(text: Text, region: Region) -> str:
    """What was changed to make a text that denotes nothing, by the words it lacks."""
    before, now = set(words(text.of)), set(words(text.text))
    if (now - before) & _COLOURS:
        return "colour"
    if (now - before) & _SIDES:
        return "side"
    renamed = names(text.of, region.category) and not names(text.text, region.category)
    return "category" if renamed else "part"
