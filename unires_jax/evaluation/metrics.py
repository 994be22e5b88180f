"""Referring segmentation metrics from (intersection, union) pairs, by any protocol.

Each expression adds to the numerator and the denominator of each number (`Columns`);
they are summed, then divided once. Under `native` every sentence counts for itself, an
empty union scores 0, and a precision threshold is met by equality; Boundary IoU is the
same of the masks' bands (`pixels.band`), without epsilon. Functions take plain
arrays and COCO RLE and can be called from outside (docs/results.md, "From Python").
Source: each project's evaluation code; `native` is ours.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64, Integer, Shaped

from unires_jax.evaluation import protocols
from unires_jax.evaluation.ground_truth import Polygons, draw, squash
from unires_jax.evaluation.protocols import BOUNDARY, NATIVE, Protocol
from unires_jax.pixels.band import band_pair
from unires_jax.pixels.masks import RLE, MaskLike, RunMask, as_rle

__all__ = ["RLE", "MaskLike", "as_rle"]  # and what is defined below

Answers = Bool[np.ndarray, "e"]
Counts = Integer[np.ndarray, "e"] | Sequence[int]  # pixels
Flags = Answers | Sequence[bool]


def area(mask: MaskLike) -> int:
    """Pixels of a mask."""
    return RunMask.of(mask).area


def intersection_union(prediction: MaskLike, target: MaskLike) -> tuple[int, int]:
    """Pixels of the intersection and of the union of two masks of one size.

    Raises DataError for invalid RLE, ValueError if sizes differ.
    """
    return RunMask.of(prediction).intersection_union(RunMask.of(target))


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
    counts = np.empty((len(targets), 2), np.int64)
    rows = zip(predictions, targets, outlines, strict=True)
    for i, (prediction, target, outline) in enumerate(rows):
        counts[i] = _pair(rules, RunMask.of(prediction), RunMask.of(target), outline)
    return counts[:, 0], counts[:, 1]


def _pair(
    rules: Protocol, prediction: RunMask, target: RunMask, outline: Polygons | None
) -> tuple[int, int]:
    square = (rules.grid, rules.grid)
    sizes = [(mask.height, mask.width) for mask in (prediction, target)]
    if sizes[0] != sizes[1]:
        if square not in sizes:
            prediction.intersection_union(target)  # raises, with both sizes
        if sizes[1] == square:
            outline = None  # drawn on the grid already; the picture has another size
    drawn_target = draw(rules, target, outline)
    return squash(rules, prediction).intersection_union(drawn_target)


def boundary_pairs(
    predictions: Sequence[MaskLike], targets: Sequence[MaskLike]
) -> tuple[Int64[np.ndarray, "e"], Int64[np.ndarray, "e"]]:
    """(I, U) of the bands along both masks' edges, at their own size.

    `iou` of them is the Boundary IoU: 0 where both masks are empty. A band is .02 of
    the picture's diagonal deep (Cheng et al. 2021). Raises as `intersection_union`.
    """
    masks = zip(predictions, targets, strict=True)
    counts = [band_pair(RunMask.of(p), RunMask.of(t)) for p, t in masks]
    columns = np.array(counts, np.int64).reshape(-1, 2)
    return columns[:, 0], columns[:, 1]


def score(
    protocol: str | Protocol,
    predictions: Sequence[MaskLike],
    targets: Sequence[MaskLike],
    *,
    polygons: Sequence[Polygons | None] | None = None,
    targeted: Flags | None = None,
    said_none: Flags | None = None,
) -> "Summary":
    """Score binary masks by a protocol: `pairs` (and bands), then `summarize`.

    `targeted` is False for expressions that denote nothing, `said_none` is the model's
    own decision that nothing is meant; by default all are targeted and none is said.
    """
    counts = pairs(protocol, predictions, targets, polygons)
    told = protocols.get(protocol).boundary
    return summarize(
        *counts,
        protocol,
        targeted=targeted,
        said_none=said_none,
        boundary=boundary_pairs(predictions, targets) if told else None,
    )


def iou(
    intersection: Integer[np.ndarray, "e"],
    union: Integer[np.ndarray, "e"],
    protocol: str | Protocol = NATIVE,
) -> Float[np.ndarray, "e"]:
    """Intersection over union of each expression, by the protocol's division."""
    rules = protocols.get(protocol)
    kind: Any = np.float32 if rules.single else np.float64
    under = union.astype(kind) + kind(rules.epsilon)
    out = np.zeros(len(union), kind)
    value = np.divide(intersection.astype(kind), under, out=out, where=union > 0)
    value[union == 0] = rules.empty
    return value


@dataclasses.dataclass(frozen=True)
class Summary:
    """The metrics of a set of expressions, as fractions; NaN if there are none."""

    count: int
    mIoU: float  # mean of the expressions' IoU (the field's gIoU)
    oIoU: float  # sum of intersections over sum of unions (the field's cIoU)
    precision: tuple[float, ...]  # share above each of the protocol's thresholds
    protocol: Protocol = NATIVE
    no_target: Mapping[str, Any] | None = None  # `no_target_accuracy`, where it counts
    boundary_mIoU: float = math.nan  # mean Boundary IoU; NaN where not taken

    def as_dict(self) -> dict[str, float | int | None]:
        """For metrics.json: None where nothing was scored.

        ReLA's precision is None, its means are numbers, where nothing has a target.
        """
        boundary = {BOUNDARY: self.boundary_mIoU} if self.protocol.boundary else {}
        numbers = (self.mIoU, *boundary.values(), self.oIoU, *self.precision)
        values = [None if np.isnan(n) else n for n in numbers]
        names = self.protocol.columns()
        return {**dict(zip(names, values, strict=True)), "count": self.count}

    def named(self) -> dict[str, float | int | None]:
        """The same under the project's own names, with N-acc and T-acc if it has them.

        CRIS and the projects without precision print fewer: what they do not print is
        marked as ours or absent.
        """
        values = self.as_dict()
        named = {name: values[ours] for ours, name in self.protocol.columns().items()}
        if self.no_target is not None:
            named |= {k: self.no_target[k] for k in ("N-acc", "T-acc")}
        return named | {"count": self.count}


@dataclasses.dataclass(frozen=True)
class Columns:
    """What each scored expression adds to every number's numerator and denominator.

    A column for each of `Protocol.columns`, in its order: the mean of IoUs, that of
    Boundary IoUs where the protocol has it, the ratio of sums, precision at each
    threshold.
    """

    protocol: Protocol
    scored: Answers  # of all expressions, those that the protocol scores
    numerators: list[Shaped[np.ndarray, "s"]]
    denominators: list[Shaped[np.ndarray, "s"]]
    no_target: Mapping[str, Any] | None  # `no_target_accuracy`, where it counts

    @classmethod
    def of(
        cls,
        intersection: Counts,
        union: Counts,
        protocol: str | Protocol = NATIVE,
        *,
        targeted: Flags | None = None,
        said_none: Flags | None = None,
        boundary: tuple[Counts, Counts] | None = None,
    ) -> "Columns":
        """The columns of pixel counts on the protocol's grid; flags as in `score`.

        `boundary` are (I, U) of the bands; without them that column is not a number.

        What becomes of expressions without a target is the protocol's rule
        (`Protocol.no_target`). By the model's decision: IoU is 1 where it said "none"
        (nothing is added to the sums) and 0 elsewhere (the prediction's area is added
        to the unions); a target that it denied has I = 0; precision covers targeted
        expressions alone.
        """
        rules = protocols.get(protocol)
        inside, around = np.asarray(intersection, np.int64), np.asarray(union, np.int64)
        real = _flags(targeted, len(around), True)
        none = _flags(said_none, len(around), False)
        scored = real if rules.no_target == "apart" else np.ones(len(around), bool)
        inside, around, real, none = (x[scored] for x in (inside, around, real, none))
        value = ious(inside, around, rules, real, none)
        accuracy, precise = None, np.ones(len(value), bool)
        if rules.no_target == "decision":
            precise = real
            accuracy = no_target_accuracy(none, ~real, rules)
            inside = np.where(none | ~real, 0, inside)
            around = np.where(none & ~real, 0, around)
        above = [_reaches(value, t, rules) & precise for t in rules.precision]
        numerators = [value, inside, *above]
        denominators = [np.ones(len(value)), around, *[precise] * len(above)]
        if rules.boundary:
            edges = _edges(boundary, scored)
            numerators.insert(1, edges[0])
            denominators.insert(1, edges[1])
        return cls(rules, scored, numerators, denominators, accuracy)

    def summary(self) -> Summary:
        """The numbers over all expressions."""
        numerators, denominators = (
            np.array([column.sum(dtype=np.float64) for column in columns])
            for columns in (self.numerators, self.denominators)
        )
        quotients = ratios(numerators, denominators, self.protocol)
        numbers = dict(zip(self.protocol.columns(), quotients, strict=True))
        mean, ratio = numbers.pop("mIoU"), numbers.pop("oIoU")
        boundary = numbers.pop(BOUNDARY, math.nan)
        count = int(denominators[0])
        return Summary(
            count=count,
            mIoU=float(mean),
            oIoU=0.0 if count and np.isnan(ratio) else float(ratio),  # unions all empty
            precision=tuple(map(float, numbers.values())),
            protocol=self.protocol,
            no_target=self.no_target,
            boundary_mIoU=float(boundary),
        )

    def by_picture(
        self, pictures: Integer[np.ndarray, "e"]
    ) -> tuple[Float64[np.ndarray, "i c"], Float64[np.ndarray, "i c"]]:
        """Numerators and denominators summed over each picture.

        `pictures` are those of all expressions, from 0 without gaps.
        """
        count = int(pictures.max(initial=-1)) + 1
        at = pictures[self.scored]
        numerators, denominators = (
            np.stack([np.bincount(at, c, count) for c in columns], 1, dtype=float)
            for columns in (self.numerators, self.denominators)
        )
        return numerators, denominators


def _edges(
    boundary: tuple[Counts, Counts] | None, scored: Answers
) -> tuple[Float64[np.ndarray, "s"], Float64[np.ndarray, "s"]]:
    """The column of Boundary IoUs; of zeros, which divide to NaN, without bands."""
    if boundary is None:
        nothing = np.zeros(int(scored.sum()))
        return nothing, nothing
    inside, around = (np.asarray(x, np.int64)[scored] for x in boundary)
    return iou(inside, around).astype(np.float64), np.ones(len(inside))


def ratios(
    numerators: Float64[np.ndarray, "*n c"],
    denominators: Float64[np.ndarray, "*n c"],
    protocol: Protocol,
) -> Float64[np.ndarray, "*n c"]:
    """The numbers of summed columns; NaN where nothing was summed."""
    epsilon = np.zeros(numerators.shape[-1])
    epsilon[0] = protocol.mean_epsilon
    with np.errstate(divide="ignore", invalid="ignore"):
        quotients = numerators / (denominators + epsilon)
    return np.where(denominators > 0, quotients, np.nan)


def ious(
    intersection: Integer[np.ndarray, "e"],
    union: Integer[np.ndarray, "e"],
    protocol: Protocol,
    targeted: Answers,
    said_none: Answers,
) -> Float[np.ndarray, "e"]:
    """`iou` with the protocol's rule for expressions that denote nothing."""
    if protocol.no_target != "decision":
        return iou(intersection, union, protocol)
    granted = np.where(said_none, 0, intersection)
    return np.where(targeted, iou(granted, union, protocol), said_none)


def summarize(
    intersection: Counts,
    union: Counts,
    protocol: str | Protocol = NATIVE,
    *,
    targeted: Flags | None = None,
    said_none: Flags | None = None,
    boundary: tuple[Counts, Counts] | None = None,
) -> Summary:
    """mIoU, oIoU and precision over expressions, from pixel counts on the right grid.

    With `boundary` (`boundary_pairs`) the mean Boundary IoU too, where the protocol has
    it. Expressions without a target count as in `Columns.of`.
    """
    columns = Columns.of(
        intersection,
        union,
        protocol,
        targeted=targeted,
        said_none=said_none,
        boundary=boundary,
    )
    return columns.summary()


def _flags(flags: Flags | None, count: int, default: bool) -> Answers:
    return np.full(count, default) if flags is None else np.asarray(flags, bool)


def _reaches(
    value: Float[np.ndarray, "e"], threshold: float, rules: Protocol
) -> Answers:
    """Which IoUs count for a precision threshold."""
    rounded = rules.single or rules.single_thresholds
    edge = np.float32(threshold) if rounded else threshold
    return value >= edge if rules.ties else value > edge


def no_target_accuracy(
    said_none: Answers, is_none: Answers, protocol: Protocol = NATIVE
) -> dict[str, float | int | None]:
    """N-acc = TP/(TP+FN) over no-target expressions, T-acc = TN/(TN+FP) over targeted.

    `said_none` is the model's own decision, not an empty mask. None where nothing was
    asked; ReLA prints 0 for both when every sample has a target. Source: gRefCOCO.
    """
    none, targeted = said_none[is_none], ~said_none[~is_none]
    silent = protocol.no_target == "decision" and not len(none)
    return {
        "N-acc": float(none.mean()) if len(none) else 0.0 if silent else None,
        "T-acc": 0.0 if silent else float(targeted.mean()) if len(targeted) else None,
        "no_target": len(none),
        "targeted": len(targeted),
    }
