"""One row per expression: a prediction beside its ground truth."""

import dataclasses
import json
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from unires_jax.data.records import LEVELS, PART, Expression, Record, target_rle
from unires_jax.evaluation import ground_truth as truth
from unires_jax.evaluation import metrics, protocols
from unires_jax.evaluation.ground_truth import Truth
from unires_jax.evaluation.protocols import NATIVE, Protocol
from unires_jax.pixels import masks as runs
from unires_jax.pixels.masks import Runs, union_rle


class Prediction(NamedTuple):
    """An answer to one expression."""

    rle: str  # compressed counts over the original picture
    score: float  # mean probability of the mask's cells, 0 without any
    no_target: float | None  # probability that nothing is meant; None = not decided
    squashed: str = ""  # counts on the protocol's own grid; "" = resize `rle` there


@dataclasses.dataclass(frozen=True)
class Result:
    """A prediction beside its ground truth."""

    key: str
    image: int  # index of the record in its split
    expression: int  # index within the record
    sentence: str
    level: int
    height: int  # of the picture, pixels
    width: int
    rle: str
    target: str  # RLE of the ground truth
    intersection: int  # pixels of the protocol's grid
    union: int
    score: float
    no_target: float | None
    targeted: bool  # False: the expression denotes nothing
    area: int  # pixels of the ground truth
    category: str
    part: str  # "" for an object
    confused: bool | None = None  # a part overlapped its parent more; None = no parent
    ceiling: tuple[int, int] | None = None  # (I, U) of the truth after the grid
    protocol: str = NATIVE.name
    substituted: bool = False  # the protocol wanted polygons that the data lacks

    @property
    def iou(self) -> float:
        """Intersection over union, as the protocol counts it."""
        (value,) = values([self])
        return float(value)

    @property
    def said_none(self) -> bool:
        """The model's decision that nothing is meant."""
        return (self.no_target or 0.0) > 0.5


def values(results: Sequence[Result]) -> Float64[np.ndarray, "e"]:
    """Each row's IoU by its protocol."""
    if not results:
        return np.zeros(0)
    rules = protocols.get(results[0].protocol)
    pairs = np.array([(r.intersection, r.union) for r in results], np.int64)
    flags = np.array([(r.targeted, r.said_none) for r in results], bool)
    found = metrics.ious(pairs[:, 0], pairs[:, 1], rules, flags[:, 0], flags[:, 1])
    return found.astype(np.float64)


def judge(
    record: Record,
    expression: Expression,
    prediction: Prediction,
    *,
    key: str,
    image: int,
    index: int,
    ceiling: tuple[int, int] | None = None,
    protocol: Protocol = NATIVE,
    target: Truth | None = None,
) -> Result:
    """Score one prediction against the union of the expression's targets.

    `target` is `truth.of_expression`, where the caller has it. Raises DataError if the
    prediction does not have the picture's size.
    """
    drawn = target or truth.of_expression(protocol, record, expression)
    size = (record.height, record.width)
    predicted = runs.from_rle(prediction.rle, *size)
    answer = _answer(prediction, predicted, protocol)
    intersection, union = runs.intersection_union(answer, drawn.runs)
    whole = target_rle(record, expression)
    masks = [record.masks[i] for i in expression.targets]
    return Result(
        key=key,
        image=image,
        expression=index,
        sentence=expression.sent,
        level=expression.level,
        height=record.height,
        width=record.width,
        rle=prediction.rle,
        target=whole,
        intersection=intersection,
        union=union,
        score=prediction.score,
        no_target=prediction.no_target,
        targeted=bool(expression.targets),
        area=runs.from_rle(whole, *size).area,
        category=_common(m.category for m in masks),
        part=_common(m.part for m in masks),
        confused=_confused(record, expression, predicted, whole),
        ceiling=ceiling,
        protocol=protocol.name,
        substituted=drawn.substituted,
    )


def _answer(prediction: Prediction, predicted: Runs, protocol: Protocol) -> Runs:
    """The prediction on the protocol's grid."""
    if protocol.grid and prediction.squashed:
        return runs.from_rle(prediction.squashed, protocol.grid, protocol.grid)
    return truth.of_prediction(protocol, predicted)


def _common(names: Iterable[str]) -> str:
    """The one name of an expression's targets."""
    distinct = sorted(set(names))
    return distinct[0] if len(distinct) == 1 else "several" if distinct else ""


def _confused(
    record: Record, expression: Expression, predicted: Runs, target: str
) -> bool | None:
    """Whether IoU with the parents exceeds IoU with the parts; None without parents.

    At original size whatever the protocol: it is our question.
    """
    parents = {record.masks[i].parent for i in expression.targets}
    if expression.level != PART or not parents or -1 in parents:
        return None
    size = (record.height, record.width)
    whole = union_rle([record.masks[i].rle for i in sorted(parents)], *size)
    parent, part = (
        runs.intersection_union(predicted, runs.from_rle(rle, *size))
        for rle in (whole, target)
    )
    return parent[0] * max(part[1], 1) > part[0] * max(parent[1], 1)


def to_line(result: Result) -> str:
    """One line of predictions.jsonl; the RLE is as pycocotools reads it."""
    row = {
        "key": result.key,
        "rle": {"size": [result.height, result.width], "counts": result.rle},
        "score": round(result.score, 4),
        "no_target": result.no_target and round(result.no_target, 6),
        "level": LEVELS[result.level],
        "protocol": result.protocol,
        "I": result.intersection,
        "U": result.union,
    }
    return json.dumps(row)


def gather(results: Sequence[Result]) -> list[Result]:
    """The rows of every process, in the order of images and expressions.

    One collective call, made by all processes alike; with one process, only the order.
    """
    from unires_jax import hosts  # imports jax, which reading a file does not need

    rows = results
    if not hosts.is_alone():
        messages = hosts.gather_bytes(_pack(results))
        rows = [row for message in messages for row in _unpack(message)]
    return sorted(rows, key=lambda r: (r.image, r.expression))


def _pack(results: Sequence[Result]) -> bytes:
    return json.dumps([dataclasses.asdict(r) for r in results]).encode()


def _unpack(data: bytes) -> list[Result]:
    rows = json.loads(data)
    return [
        Result(**{**row, "ceiling": row["ceiling"] and tuple(row["ceiling"])})
        for row in rows
    ]
