"""One row per expression: a prediction beside its ground truth."""

import dataclasses
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float64

from unires_jax.evaluation import metrics, protocols
from unires_jax.evaluation.protocols import NATIVE
from unires_jax.pixels.masks import RunMask

# Of a Result: what JSON does not hold as it is.
_MASKS = ("mask", "target", "squashed")
_PAIRS = ("boundary", "ceiling", "ceiling_boundary")


class Prediction(NamedTuple):
    """An answer to one expression."""

    mask: RunMask  # of the picture's size
    score: float | None  # as of `Segment.score`; None: of a mask alone
    no_target: float | None  # probability that nothing is meant; None = not decided
    squashed: RunMask | None = None  # on the protocol's grid; None = resize `mask`
    cut: bool = False  # the end of the sentence was not read: it is too long


@dataclasses.dataclass(frozen=True)
class Result:
    """A prediction beside its ground truth."""

    key: str
    image: int  # index of the record in its split
    expression: int  # index within the record
    sentence: str  # as it was read
    level: int
    mask: RunMask  # predicted, of the picture's size
    target: RunMask  # ground truth, of the picture's size
    intersection: int  # pixels of the protocol's grid
    union: int
    score: float | None
    no_target: float | None
    targeted: bool  # False: the expression denotes nothing
    category: str
    part: str  # "" for an object
    confused: bool | None = None  # a part overlapped its parent more; None = no parent
    boundary: tuple[int, int] | None = None  # (I, U) of the bands; None = not taken
    ceiling: tuple[int, int] | None = None  # (I, U) of the truth after the grid
    ceiling_boundary: tuple[int, int] | None = None  # of its band and the truth's
    protocol: str = NATIVE.name
    squashed: RunMask | None = None  # predicted, as it came on the protocol's grid
    cut: bool = False  # the end of the sentence was not read
    substituted: bool = False  # the protocol wanted polygons that the data lacks

    @property
    def iou(self) -> float:
        """Intersection over union, as the protocol counts it."""
        (value,) = ious([self])
        return float(value)

    @property
    def said_none(self) -> bool:
        """The model's decision that nothing is meant."""
        return (self.no_target or 0.0) > 0.5


def ious(results: Sequence[Result]) -> Float64[np.ndarray, " e"]:
    """Each row's IoU by its protocol."""
    if not results:
        return np.zeros(0)
    rules = protocols.get(results[0].protocol)
    pairs = np.array([(r.intersection, r.union) for r in results], np.int64)
    flags = np.array([(r.targeted, r.said_none) for r in results], bool)
    values = metrics.ious(pairs[:, 0], pairs[:, 1], rules, flags[:, 0], flags[:, 1])
    return values.astype(np.float64)


def gather(results: Sequence[Result]) -> list[Result]:
    """The rows of every process, in the order of images and expressions.

    One collective call, made by all processes alike; with one process, only the order.
    """
    from unires_jax import hosts  # imports jax, which reading a file does not need

    rows = results
    if not hosts.is_alone():
        plain = [
            vars(r) | {n: m and m.rle for n in _MASKS for m in [getattr(r, n)]}
            for r in results
        ]
        messages = hosts.gather_bytes(json.dumps(plain).encode())
        rows = [_from_json(row) for text in messages for row in json.loads(text)]
    return sorted(rows, key=lambda r: (r.image, r.expression))


def _from_json(row: dict[str, Any]) -> Result:
    masks = {name: row[name] and RunMask.of(row[name]) for name in _MASKS}
    pairs = {name: row[name] and tuple(row[name]) for name in _PAIRS}
    return Result(**row | masks | pairs)
