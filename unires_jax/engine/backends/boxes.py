"""Boxes of a picture: within it, and those of a name that are worth a mask. Ours."""

import numpy as np
from jaxtyping import Float32, Shaped

from unires_jax.engine.roles import Boxes, FoundPart

FLOOR = 0.05  # of a score: below what any threshold asks of a part, or of a negative
TWIN = 0.7  # IoU above which the lower of two boxes of one name adds nothing
PIECES = 12  # of one name in the crop of an object
INSTANCES = 100  # of one name in a whole picture


def clipped(boxes: Shaped[np.ndarray, "n 4"], height: int, width: int) -> Boxes:
    """Boxes within a picture, in float32; what is not finite is 0."""
    limits = np.array([width, height, width, height], np.float32)
    return np.clip(np.nan_to_num(boxes, posinf=1e9, neginf=-1e9), 0, limits).astype(
        np.float32
    )


def best(boxes: Boxes, scores: Float32[np.ndarray, " n"], most: int) -> list[int]:
    """Places of the best boxes of one name, best first, at most `most`.

    None is below FLOOR, empty, or the twin of a better one. A score that is no number
    is below.
    """
    sides = boxes[:, 2:] - boxes[:, :2]
    candidates = np.flatnonzero((scores >= FLOOR) & (sides > 0).all(axis=1))
    candidates = candidates[np.argsort(-scores[candidates], kind="stable")]
    places: list[int] = []
    while len(candidates) and len(places) < most:
        places.append(int(candidates[0]))
        overlaps = _ious(boxes[candidates[0]], boxes[candidates])
        candidates = candidates[1:][overlaps[1:] <= TWIN]
    return places


def _ious(box: Float32[np.ndarray, " 4"], boxes: Boxes) -> Float32[np.ndarray, " n"]:
    corners = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
    shared = corners.clip(0).prod(axis=1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    return shared / (areas + (box[2:] - box[:2]).prod() - shared)


def box_candidates(
    name: str, boxes: Boxes, scores: Float32[np.ndarray, " n"], most: int
) -> list[FoundPart]:
    """The best boxes of a name as candidates without masks; `boxes` are clipped."""
    return [
        FoundPart(name, as_tuple(boxes[i]), float(scores[i]), None)
        for i in best(boxes, scores, most)
    ]


def as_tuple(box: Float32[np.ndarray, " 4"]) -> tuple[float, float, float, float]:
    """A box as Python's floats."""
    x0, y0, x1, y1 = map(float, box)
    return x0, y0, x1, y1


def corners(
    centred: Float32[np.ndarray, "n 4"], height: int, width: int
) -> Float32[np.ndarray, "n 4"]:
    """Centres and sizes, as shares of a frame, as x0, y0, x1, y1 in its pixels."""
    centre, half = centred[:, :2], centred[:, 2:] / 2
    ends = np.concatenate([centre - half, centre + half], axis=1)
    return ends * np.array([width, height, width, height], np.float32)
