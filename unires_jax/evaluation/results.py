"""One row per expression: a prediction beside its ground truth."""

import dataclasses
import json
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from unires_jax.data.records import (
    LEVELS,
    PART,
    Expression,
    Record,
    target_rle,
    union_rle,
)
from unires_jax.evaluation import metrics

PROTOCOL = "native"


class Prediction(NamedTuple):
    """An answer to one expression."""

    rle: str  # compressed counts over the original picture
    score: float  # mean probability of the mask's cells, 0 without any
    no_target: float | None  # probability that nothing is meant; None = not decided


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
    intersection: int  # pixels
    union: int
    score: float
    no_target: float | None
    targeted: bool  # False: the expression denotes nothing
    area: int  # pixels of the ground truth
    category: str
    part: str  # "" for an object
    confused: bool | None = None  # a part overlapped its parent more; None = no parent
    ceiling: tuple[int, int] = (0, 0)  # (I, U) of the ground truth after the grid

    @property
    def iou(self) -> float:
        """Intersection over union, 0 where the union is empty."""
        return self.intersection / max(self.union, 1)


def judge(
    record: Record,
    expression: Expression,
    prediction: Prediction,
    *,
    key: str,
    image: int,
    index: int,
    ceiling: tuple[int, int],
) -> Result:
    """Score one prediction against the union of the expression's targets."""
    target, answer = target_rle(record, expression), prediction.rle
    size = [record.height, record.width]
    predicted = {"size": size, "counts": answer}
    truth = {"size": size, "counts": target}
    intersection, union = metrics.intersection_union(predicted, truth)
    masks = [record.masks[i] for i in expression.targets]
    return Result(
        key=key,
        image=image,
        expression=index,
        sentence=expression.sent,
        level=expression.level,
        height=record.height,
        width=record.width,
        rle=answer,
        target=target,
        intersection=intersection,
        union=union,
        score=prediction.score,
        no_target=prediction.no_target,
        targeted=bool(expression.targets),
        area=metrics.area(truth),
        category=_common(m.category for m in masks),
        part=_common(m.part for m in masks),
        confused=_confused(record, expression, predicted, intersection, union),
        ceiling=ceiling,
    )


def _common(names: Iterable[str]) -> str:
    """The one name of an expression's targets."""
    distinct = sorted(set(names))
    return distinct[0] if len(distinct) == 1 else "several" if distinct else ""


def _confused(
    record: Record,
    expression: Expression,
    predicted: dict[str, Any],
    intersection: int,
    union: int,
) -> bool | None:
    """Whether IoU with the parents exceeds IoU with the parts; None without parents."""
    parents = {record.masks[i].parent for i in expression.targets}
    if expression.level != PART or not parents or -1 in parents:
        return None
    whole = union_rle(
        [record.masks[i].rle for i in sorted(parents)], record.height, record.width
    )
    parent = {"size": predicted["size"], "counts": whole}
    inside, around = metrics.intersection_union(predicted, parent)
    return inside * max(union, 1) > intersection * max(around, 1)


def to_line(result: Result, protocol: str = PROTOCOL) -> str:
    """One line of predictions.jsonl; the RLE is as pycocotools reads it."""
    row = {
        "key": result.key,
        "rle": {"size": [result.height, result.width], "counts": result.rle},
        "score": round(result.score, 4),
        "no_target": result.no_target and round(result.no_target, 4),
        "level": LEVELS[result.level],
        "protocol": protocol,
        "I": result.intersection,
        "U": result.union,
    }
    return json.dumps(row)


def gather(results: Sequence[Result]) -> list[Result]:
    """The rows of every process, in the order of images and expressions.

    One collective call, made by all processes alike; with one process, only the order.
    """
    import jax

    rows = [results]
    if jax.process_count() > 1:
        rows = [_unpack(b) for b in _gather_bytes(_pack(results))]
    return sorted(
        (r for part in rows for r in part), key=lambda r: (r.image, r.expression)
    )


def _pack(results: Sequence[Result]) -> bytes:
    return json.dumps([dataclasses.asdict(r) for r in results]).encode()


def _unpack(data: bytes) -> list[Result]:
    rows = json.loads(data)
    return [Result(**{**row, "ceiling": tuple(row["ceiling"])}) for row in rows]


def _gather_bytes(data: bytes) -> list[bytes]:
    from jax.experimental import multihost_utils

    lengths = multihost_utils.process_allgather(np.array(len(data), np.int32))
    padded = np.zeros(int(lengths.max()), np.uint8)
    padded[: len(data)] = np.frombuffer(data, np.uint8)
    every = multihost_utils.process_allgather(padded)
    return [row[:n].tobytes() for row, n in zip(every, lengths.tolist(), strict=True)]
