"""Answers scored by the rules of each project of the field.

Here belongs what compares answers with ground truths: protocols and metrics, the rows
of a split, predictions files, comparisons and reports. Models answer in `inference`.
The metric functions, which take plain arrays and COCO RLE, can be imported from here.
"""

from unires_jax.evaluation.metrics import (
    Summary,
    area,
    as_rle,
    intersection_union,
    iou,
    no_target_accuracy,
    pairs,
    score,
    summarize,
)

__all__ = [
    "Summary",
    "area",
    "as_rle",
    "intersection_union",
    "iou",
    "no_target_accuracy",
    "pairs",
    "score",
    "summarize",
]
