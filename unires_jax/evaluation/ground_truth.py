"""An expression's ground truth as a protocol rasterises it, and the prediction beside.

Polygons come from `Mask.segmentation`. Without them the stored mask stands in: resized
NEAREST where polygons should have been scaled, taken whole where overlaps count.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from unires_jax import documents, limits
from unires_jax.data.records import Expression, Mask, Record, runs_of
from unires_jax.errors import DataError
from unires_jax.evaluation.protocols import Protocol
from unires_jax.pixels.masks import RunMask

Polygons = Sequence[Sequence[float]]  # of one annotation: x, y, x, y, ... each


class Truth(NamedTuple):
    """A ground truth on the protocol's grid."""

    mask: RunMask
    substituted: bool  # polygons were wanted and not there


def truth_of(protocol: Protocol, record: Record, expression: Expression) -> Truth:
    """The union of the expression's targets, each as the protocol draws it.

    Raises DataError naming the annotation whose polygons cannot be read.
    """
    truths = [
        _annotation(protocol, record, record.masks[i]) for i in expression.targets
    ]
    grid = protocol.grid
    height, width = (grid, grid) if grid else (record.height, record.width)
    union = RunMask.union([t.mask for t in truths], height, width)
    return Truth(union, any(t.substituted for t in truths))


def _annotation(protocol: Protocol, record: Record, mask: Mask) -> Truth:
    needs_polygons = protocol.polygons or protocol.overlap == "background"
    polygons = _polygons(mask) if needs_polygons else None
    drawn_mask = draw(protocol, runs_of(record, mask), polygons)
    return Truth(drawn_mask, needs_polygons and polygons is None)


def _polygons(mask: Mask) -> Polygons | None:
    """The raw polygons; None where the source had none (RLE, PNG)."""
    if not mask.segmentation:
        return None
    try:
        outline = documents.load(mask.segmentation, limits.LINE_MEMORY)
        if isinstance(outline, dict):
            return None
        return [[float(v) for v in polygon] for polygon in outline]
    except (ValueError, TypeError, OverflowError):
        raise DataError(
            f"segmentation is {mask.segmentation[:40]!r}, expected JSON polygons "
            "[[x, y, ...], ...]; build the data again",
            place=f"ann_id {mask.ann_id}",
        ) from None


def draw(protocol: Protocol, stored: RunMask, polygons: Polygons | None) -> RunMask:
    """One annotation on the protocol's grid: `stored` is its mask at original size."""
    valid = [p for p in polygons or () if len(p) >= 6 and len(p) % 2 == 0]
    if protocol.polygons and valid and protocol.grid:
        grid = protocol.grid
        scale = np.array([grid / stored.width, grid / stored.height])
        scaled = [(np.reshape(p, (-1, 2)) * scale).ravel().tolist() for p in valid]
        return RunMask.union(_filled(scaled, grid, grid), grid, grid)
    if protocol.overlap == "background" and len(valid) > 1:
        size = (stored.height, stored.width)
        stored = RunMask.once(_filled(valid, *size), *size)
    return squash(protocol, stored)


def _filled(polygons: Polygons, height: int, width: int) -> list[RunMask]:
    return RunMask.from_polygons(polygons, height, width)


def squash(protocol: Protocol, mask: RunMask) -> RunMask:
    """A binary mask of the picture's size on the protocol's grid, NEAREST."""
    return mask.squash(protocol.grid) if protocol.grid else mask
