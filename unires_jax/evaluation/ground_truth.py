"""An expression's ground truth as a protocol rasterises it, and the prediction beside.

Polygons come from `Mask.segmentation`. Without them the stored mask stands in: resized
NEAREST where polygons should have been scaled, taken whole where overlaps count.
"""

import json
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from pycocotools import mask as coco_mask

from unires_jax.data.records import Expression, Mask, Record
from unires_jax.errors import DataError
from unires_jax.evaluation.protocols import Protocol
from unires_jax.pixels import masks as runs
from unires_jax.pixels.masks import Runs

Polygons = Sequence[Sequence[float]]  # of one annotation: x, y, x, y, ... each


class Truth(NamedTuple):
    """A ground truth on the protocol's grid."""

    runs: Runs
    substituted: bool  # polygons were wanted and not there


def of_expression(protocol: Protocol, record: Record, x: Expression) -> Truth:
    """The union of the expression's targets, each as the protocol draws it.

    Raises DataError naming the annotation whose polygons cannot be read.
    """
    masks = [record.masks[i] for i in x.targets]
    drawn = [_of_mask(protocol, m, record.height, record.width) for m in masks]
    side = protocol.grid
    height, width = (side, side) if side else (record.height, record.width)
    together = runs.union([t.runs for t in drawn], height, width)
    return Truth(together, any(t.substituted for t in drawn))


def _of_mask(protocol: Protocol, mask: Mask, height: int, width: int) -> Truth:
    wanted = protocol.polygons or protocol.overlap == "background"
    stored = runs.from_rle(mask.rle, height, width)
    polygons = _polygons(mask) if wanted else None
    return Truth(draw(protocol, stored, polygons), wanted and polygons is None)


def _polygons(mask: Mask) -> Polygons | None:
    """The raw polygons; None where the source had none (RLE, PNG)."""
    if not mask.segmentation:
        return None
    try:
        found = json.loads(mask.segmentation)
        if isinstance(found, dict):
            return None
        return [[float(v) for v in polygon] for polygon in found]
    except (ValueError, TypeError):
        raise DataError(
            f"ann_id {mask.ann_id}: segmentation is {mask.segmentation[:40]!r}, "
            "expected JSON polygons [[x, y, ...], ...]; build the data again"
        ) from None


def draw(protocol: Protocol, stored: Runs, polygons: Polygons | None) -> Runs:
    """One annotation on the protocol's grid: `stored` is its mask at original size."""
    valid = [p for p in polygons or () if len(p) >= 6 and len(p) % 2 == 0]
    if protocol.polygons and valid and protocol.grid:
        scale = np.array([protocol.grid / stored.width, protocol.grid / stored.height])
        scaled = [(np.reshape(p, (-1, 2)) * scale).ravel() for p in valid]
        side = protocol.grid
        return runs.union(_fill(scaled, side, side), side, side)
    if protocol.overlap == "background" and len(valid) > 1:
        size = (stored.height, stored.width)
        stored = runs.once(_fill(valid, *size), *size)
    return runs.squash(stored, protocol.grid) if protocol.grid else stored


def _fill(polygons: Sequence, height: int, width: int) -> list[Runs]:
    """Each polygon's pixels, as pycocotools rasterises it."""
    flat = [np.asarray(p, np.float64).tolist() for p in polygons]
    return [runs.parse(rle) for rle in coco_mask.frPyObjects(flat, height, width)]


def of_prediction(protocol: Protocol, prediction: Runs) -> Runs:
    """A binary prediction of the picture's size on the protocol's grid, NEAREST."""
    return runs.squash(prediction, protocol.grid) if protocol.grid else prediction
