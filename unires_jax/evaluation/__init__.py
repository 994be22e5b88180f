"""Answers scored by the rules of each project of the field.

Here belongs what compares answers with ground truths: protocols and metrics, the rows
of a split, predictions files, comparisons and reports. Models answer in `inference`.
The metric functions, which take plain arrays and COCO RLE, can be imported from here.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unires_jax.evaluation.metrics import (
        Summary,
        area,
        as_rle,
        boundary_pairs,
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
    "boundary_pairs",
    "intersection_union",
    "iou",
    "no_target_accuracy",
    "pairs",
    "score",
    "summarize",
]


def __getattr__(name: str) -> Any:
    """The public functions, imported when first used: the protocols alone are light."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from unires_jax.evaluation import metrics

    return getattr(metrics, name)
