"""Referring segmentation metrics from (intersection, union) pairs, by any protocol.

One pair of pixel counts per expression is accumulated and divided once. Under `native`
every sentence counts for itself, an empty union scores 0, and a precision threshold is
met by equality. Functions take plain arrays and COCO RLE and can be called from outside
(docs/results.md, "From Python"). Source: DESIGN, "Evaluation".
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int64, Integer

from unires_jax.evaluation import ground_truth as truth
from unires_jax.evaluation import protocols
from unires_jax.evaluation.ground_truth import Polygons
from unires_jax.evaluation.protocols import NATIVE, Protocol
from unires_jax.pixels import masks as runs
from unires_jax.pixels.masks import RLE, MaskLike, as_rle

__all__ = ["RLE", "MaskLike", "as_rle"]  # and what is defined below

SIZE_EDGES = (0.005, 0.02, 0.1)  # shares of the image's area
SIZE_NAMES = ("below 0.5 %", "0.5 to 2 %", "2 to 10 %", "10 % and more")
WORD_EDGES = (3, 6, 10)
WORD_NAMES = ("1 to 2 words", "3 to 5 words", "6 to 9 words", "10 words and more")

Answers = Bool[np.ndarray, "e"]
Counts = Integer[np.ndarray, "e"] | Sequence[int]  # pixels
Flags = Answers | Sequence[bool]


def area(mask: MaskLike) -> int:
    """Pixels of a mask."""
    return int(runs.parse(mask).area)


def intersection_union(prediction: MaskLike, target: MaskLike) -> tuple[int, int]:
    """Pixels of the intersection and of the union of two masks of one size.

    Raises DataError for invalid RLE, ValueError if sizes differ.
    """
    return runs.intersection_union(runs.parse(prediction), runs.parse(target))


def pairs(
    protocol: str | Protocol,
    predictions: Sequence[MaskLike],
    targets: Sequence[MaskLike],
    polygons: Sequence[Polygons | None] | None = None,
) -> tuple[Int64[np.ndarray, "e"], Int64[np.ndarray, "e"]]:
    """(I, U) of binary masks on the protocol's grid, for each prediction and target.

    Masks are [H, W] arrays (a pixel is in where it is not 0) or COCO RLE, compressed or
    not, of the picture's size or already of the grid's. `polygons` are those of each
    target's annotation in pixels of the picture, for the protocols that scale them
    (ReLA) or look at their overlaps (LAVT, LISA); without them, and where the target
    alone is of the grid's size, it is taken as it is. Raises DataError for invalid RLE,
    ValueError for sizes that differ otherwise.
    """
    rules = protocols.get(protocol)
    outlines = polygons if polygons is not None else [None] * len(targets)
    found = np.empty((len(targets), 2), np.int64)
    rows = zip(predictions, targets, outlines, strict=True)
    for i, (prediction, target, outline) in enumerate(rows):
        answer, stored = runs.parse(prediction), runs.parse(target)
        sizes = {(m.height, m.width) for m in (answer, stored)}
        if len(sizes - {(rules.grid, rules.grid)}) > 1:
            runs.intersection_union(answer, stored)  # raises, with both sizes
        squashed = rules.grid == stored.height == stored.width
        if squashed and (answer.height, answer.width) != (rules.grid, rules.grid):
            outline = None  # drawn on the grid already; the picture has another size
        drawn = truth.draw(rules, stored, outline)
        found[i] = runs.intersection_union(truth.of_prediction(rules, answer), drawn)
    return found[:, 0], found[:, 1]


def score(
    protocol: str | Protocol,
    predictions: Sequence[MaskLike],
    targets: Sequence[MaskLike],
    *,
    polygons: Sequence[Polygons | None] | None = None,
    targeted: Flags | None = None,
    said_none: Flags | None = None,
) -> "Summary":
    """Score binary masks by a protocol: `pairs`, then `summarize`.

    `targeted` is False for expressions that denote nothing, `said_none` is the model's
    own decision that nothing is meant; by default all are targeted and none is said.
    """
    found = pairs(protocol, predictions, targets, polygons)
    return summarize(*found, protocol, targeted=targeted, said_none=said_none)


def iou(
    intersection: Integer[np.ndarray, "e"],
    union: Integer[np.ndarray, "e"],
    protocol: str | Protocol = NATIVE,
) -> Float[np.ndarray, "e"]:
    """Intersection over union of each expression, by the protocol's division."""
    rules = protocols.get(protocol)
    kind: Any = np.float32 if rules.single else np.float64
    around = union.astype(kind) + kind(rules.epsilon)
    out = np.zeros(len(union), kind)
    found = np.divide(intersection.astype(kind), around, out=out, where=union > 0)
    found[union == 0] = rules.empty
    return found


@dataclasses.dataclass(frozen=True)
class Summary:
    """The metrics of a set of expressions, as fractions; NaN if there are none."""

    count: int
    mIoU: float  # mean of the expressions' IoU (the field's gIoU)
    oIoU: float  # sum of intersections over sum of unions (the field's cIoU)
    precision: tuple[float, ...]  # share above each of the protocol's thresholds
    protocol: Protocol = NATIVE
    no_target: Mapping[str, Any] | None = None  # `no_target_accuracy`, where it counts

    def as_dict(self) -> dict[str, float | int | None]:
        """For metrics.json: None where nothing was scored.

        ReLA's precision is None, its means are numbers, where nothing has a target.
        """
        values = (self.mIoU, self.oIoU, *self.precision)
        known = [None if np.isnan(v) else v for v in values]
        names = self.protocol.columns()
        return {**dict(zip(names, known, strict=True)), "count": self.count}

    def named(self) -> dict[str, float | int | None]:
        """The same under the project's own names, with N-acc and T-acc if it has them.

        CRIS and the projects without precision print fewer: what they do not print is
        marked as ours or absent.
        """
        values = self.as_dict()
        shown = {name: values[ours] for ours, name in self.protocol.columns().items()}
        if self.no_target is not None:
            shown |= {k: self.no_target[k] for k in ("N-acc", "T-acc")}
        return shown | {"count": self.count}


def columns(protocol: Protocol = NATIVE) -> list[str]:
    """Names of a Summary's numbers: mIoU, oIoU, P@0.5 to P@0.9."""
    return list(protocol.columns())


def ious(
    intersection: Integer[np.ndarray, "e"],
    union: Integer[np.ndarray, "e"],
    protocol: Protocol,
    targeted: Answers,
    said_none: Answers,
) -> Float[np.ndarray, "e"]:
    """`iou` with the protocol's rule for expressions that denote nothing."""
    if not protocol.no_target:
        return iou(intersection, union, protocol)
    kept = np.where(said_none, 0, intersection)
    return np.where(targeted, iou(kept, union, protocol), said_none)


def counted(
    intersection: Integer[np.ndarray, "e"],
    union: Integer[np.ndarray, "e"],
    targeted: Answers,
    said_none: Answers,
) -> tuple[Integer[np.ndarray, "e"], Integer[np.ndarray, "e"]]:
    """What each expression adds to the sums where no-target ones are scored."""
    nothing = said_none | ~targeted
    right = said_none & ~targeted
    return np.where(nothing, 0, intersection), np.where(right, 0, union)


def summarize(
    intersection: Counts,
    union: Counts,
    protocol: str | Protocol = NATIVE,
    *,
    targeted: Flags | None = None,
    said_none: Flags | None = None,
) -> Summary:
    """mIoU, oIoU and precision over expressions, from pixel counts on the right grid.

    Expressions without a target are left out, unless the protocol scores them: then
    IoU is 1 where the model said "none" (nothing is added to the sums) and 0 elsewhere
    (the prediction's area is added to the unions); a target that it denied has I = 0;
    precision covers targeted expressions alone.
    """
    rules = protocols.get(protocol)
    inside, around = np.asarray(intersection, np.int64), np.asarray(union, np.int64)
    real = _flags(targeted, len(around), True)
    none = _flags(said_none, len(around), False)
    if not rules.no_target:
        inside, around, none = inside[real], around[real], none[real]
        real = real[real]
    accuracy = no_target_accuracy(none, ~real, rules) if rules.no_target else None
    if not len(around):
        empty = (np.nan,) * len(rules.precision)
        return Summary(0, np.nan, np.nan, empty, rules, accuracy)
    value = ious(inside, around, rules, real, none)
    if rules.no_target:
        inside, around = counted(inside, around, real, none)
    return Summary(
        count=len(around),
        mIoU=float(value.sum(dtype=np.float64) / (len(around) + rules.mean_epsilon)),
        oIoU=float(inside.sum() / max(around.sum(), 1)),
        precision=_precision(value[real], rules),
        protocol=rules,
        no_target=accuracy,
    )


def _flags(given: Flags | None, count: int, default: bool) -> Answers:
    return np.full(count, default) if given is None else np.asarray(given, bool)


def _precision(value: Float[np.ndarray, "e"], rules: Protocol) -> tuple[float, ...]:
    if not len(value):
        return (np.nan,) * len(rules.precision)
    return tuple(float(reaches(value, t, rules).mean()) for t in rules.precision)


def reaches(
    value: Float[np.ndarray, "e"], threshold: float, rules: Protocol
) -> Answers:
    """Which IoUs count for a precision threshold."""
    rounded = rules.single or rules.single_thresholds
    edge = np.float32(threshold) if rounded else threshold
    return value >= edge if rules.ties else value > edge


def size_bucket(pixels: int, height: int, width: int) -> str:
    """Which of SIZE_NAMES a target of that area falls into; an edge belongs upwards."""
    share = pixels / (height * width)
    return SIZE_NAMES[int(np.searchsorted(SIZE_EDGES, share, side="right"))]


def word_bucket(sentence: str) -> str:
    """Which of WORD_NAMES a sentence's number of words falls into."""
    words = len(sentence.split())
    return WORD_NAMES[int(np.searchsorted(WORD_EDGES, words, side="right"))]


def no_target_accuracy(
    said_none: Answers, is_none: Answers, protocol: Protocol = NATIVE
) -> dict[str, float | int | None]:
    """N-acc = TP/(TP+FN) over no-target expressions, T-acc = TN/(TN+FP) over targeted.

    `said_none` is the model's own decision, not an empty mask. None where nothing was
    asked; ReLA prints 0 for both when every sample has a target. Source: gRefCOCO.
    """
    none, targeted = said_none[is_none], ~said_none[~is_none]
    silent = protocol.no_target and not len(none)
    return {
        "N-acc": float(none.mean()) if len(none) else 0.0 if silent else None,
        "T-acc": 0.0 if silent else float(targeted.mean()) if len(targeted) else None,
        "no_target": len(none),
        "targeted": len(targeted),
    }
