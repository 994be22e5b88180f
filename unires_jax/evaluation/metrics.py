"""Referring segmentation metrics from (intersection, union) pairs, protocol `native`.

One pair of pixel counts per expression is accumulated and divided once. Every sentence
counts for itself; an empty union scores 0; a precision threshold is met by equality.
Functions take plain arrays and COCO RLE. Source: DESIGN, "Evaluation".
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Int64, Shaped
from pycocotools import mask as coco_mask

THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9)
SIZE_EDGES = (0.005, 0.02, 0.1)  # shares of the image's area
SIZE_NAMES = ("below 0.5 %", "0.5 to 2 %", "2 to 10 %", "10 % and more")

RLE = Mapping[str, Any]  # {"size": [height, width], "counts": compressed}
MaskLike = Shaped[np.ndarray, "_ _"] | RLE  # an array is a mask where it is not 0


def as_rle(mask: MaskLike) -> dict[str, Any]:
    """COCO's compressed RLE of a mask: `size` and `counts` (bytes)."""
    if isinstance(mask, np.ndarray):
        return dict(coco_mask.encode(np.asfortranarray(mask != 0, np.uint8)))
    counts = mask["counts"]
    counts = counts.encode() if isinstance(counts, str) else counts
    return {"size": [int(n) for n in mask["size"]], "counts": counts}


def area(mask: MaskLike) -> int:
    """Pixels of a mask."""
    return int(coco_mask.area(as_rle(mask)))


def intersection_union(prediction: MaskLike, target: MaskLike) -> tuple[int, int]:
    """Pixels of the intersection and of the union of two masks of one size.

    RLE counts must be valid (`records.check_rle`). Raises ValueError if sizes differ.
    """
    a, b = as_rle(prediction), as_rle(target)
    if list(a["size"]) != list(b["size"]):
        raise ValueError(
            f"prediction is {tuple(a['size'])}, target is {tuple(b['size'])} (height, "
            "width); both must have the original picture's size"
        )
    intersection = int(coco_mask.area(coco_mask.merge([a, b], intersect=True)))
    total = int(coco_mask.area(a)) + int(coco_mask.area(b))
    return intersection, total - intersection


def iou(
    intersection: Int64[np.ndarray, "e"], union: Int64[np.ndarray, "e"]
) -> Float64[np.ndarray, "e"]:
    """Intersection over union of each expression; 0 where the union is empty."""
    return intersection / np.maximum(union, 1)


@dataclasses.dataclass(frozen=True)
class Summary:
    """The metrics of a set of expressions, as fractions; NaN if there are none."""

    count: int
    mIoU: float  # mean of the expressions' IoU (the field's gIoU)
    oIoU: float  # sum of intersections over sum of unions (the field's cIoU)
    precision: tuple[float, ...]  # share with IoU >= each of THRESHOLDS

    def as_dict(self) -> dict[str, float | int | None]:
        """For metrics.json: None where nothing was scored."""
        if not self.count:
            return dict.fromkeys(columns()) | {"count": 0}
        values = (self.mIoU, self.oIoU, *self.precision)
        return {**dict(zip(columns(), values, strict=True)), "count": self.count}


def columns() -> list[str]:
    """Names of a Summary's numbers: mIoU, oIoU, P@0.5 to P@0.9."""
    return ["mIoU", "oIoU", *(f"P@{t}" for t in THRESHOLDS)]


def summarize(
    intersection: Int64[np.ndarray, "e"], union: Int64[np.ndarray, "e"]
) -> Summary:
    """mIoU, oIoU and P@X over expressions."""
    if not len(union):
        return Summary(0, np.nan, np.nan, (np.nan,) * len(THRESHOLDS))
    score = iou(intersection, union)
    return Summary(
        count=len(union),
        mIoU=float(score.mean()),
        oIoU=float(intersection.sum() / max(union.sum(), 1)),
        precision=tuple(float((score >= t).mean()) for t in THRESHOLDS),
    )


def summarize_by(
    labels: Sequence[str],
    intersection: Int64[np.ndarray, "e"],
    union: Int64[np.ndarray, "e"],
) -> dict[str, Summary]:
    """A Summary for each label, labels in alphabetical order."""
    names, index = np.unique(np.array(labels, str), return_inverse=True)
    return {
        str(name): summarize(intersection[index == i], union[index == i])
        for i, name in enumerate(names)
    }


def size_bucket(pixels: int, height: int, width: int) -> str:
    """Which of SIZE_NAMES a target of that area falls into; an edge belongs upwards."""
    share = pixels / (height * width)
    return SIZE_NAMES[int(np.searchsorted(SIZE_EDGES, share, side="right"))]


def no_target_accuracy(
    said_none: Bool[np.ndarray, "e"], is_none: Bool[np.ndarray, "e"]
) -> dict[str, float | int | None]:
    """N-acc = TP/(TP+FN) over no-target expressions, T-acc = TN/(TN+FP) over targeted.

    `said_none` is the model's own decision, not an empty mask. None where nothing was
    asked. Source: gRefCOCO.
    """
    none, targeted = said_none[is_none], ~said_none[~is_none]
    return {
        "N-acc": float(none.mean()) if len(none) else None,
        "T-acc": float(targeted.mean()) if len(targeted) else None,
        "no_target": len(none),
        "targeted": len(targeted),
    }
