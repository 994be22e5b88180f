"""The record: one image of one split, its masks (RLE), expressions and their targets.

Flat on disk (nested sequences need TensorFlow), nested tuples in memory. Source: ours.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool
from pycocotools import mask as coco_mask

OBJECT, PART = 0, 1
LEVELS = ("object", "part")


class DataError(ValueError):
    """Data that cannot be used. The message names file or record, field and remedy."""


@dataclasses.dataclass(frozen=True)
class Mask:
    """A region of the image; `rle` holds COCO's compressed counts over its size."""

    ann_id: int
    category: str
    rle: str
    bbox: tuple[float, float, float, float]  # x, y, width, height in pixels
    area: float  # pixels
    category_id: int = 0  # the source's own
    part: str = ""  # "" for an object
    level: int = OBJECT
    parent: int = -1  # index into the record's masks, -1 = none
    iscrowd: bool = False
    segmentation: str = ""  # raw polygons as JSON where a protocol needs them


@dataclasses.dataclass(frozen=True)
class Expression:
    """One sentence and the masks it denotes: none, one or many."""

    ref_id: int
    sent_id: int
    raw: str  # as written by the annotator
    sent: str  # as the source cleaned it; what the model reads
    level: int
    targets: tuple[int, ...]  # indices into the record's masks
    sent_index: int = 0  # position within its referent
    no_target: bool = False  # denotes nothing by intent


@dataclasses.dataclass(frozen=True)
class Record:
    """One image of one split."""

    image: bytes  # encoded JPEG or PNG, passed through untouched
    image_id: int
    height: int
    width: int
    masks: tuple[Mask, ...]
    expressions: tuple[Expression, ...]
    coco_id: int = -1
    filename: str = ""
    source: str = ""


def features() -> Any:
    """The TFDS features of a record (`tfds.features.FeaturesDict`)."""
    import tensorflow_datasets as tfds

    text, number = tfds.features.Text(), np.int64
    sequence = tfds.features.Sequence
    return tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(shape=(None, None, 3)),
            "image/id": np.int64,
            "image/coco_id": np.int64,
            "image/filename": text,
            "image/height": np.int32,
            "image/width": np.int32,
            "image/source": text,
            "masks": sequence(
                {
                    "ann_id": number,
                    "category": text,
                    "category_id": np.int32,
                    "part": text,
                    "level": np.int32,
                    "parent": np.int32,
                    "bbox": tfds.features.Tensor(shape=(4,), dtype=np.float32),
                    "area": np.float32,
                    "iscrowd": np.bool_,
                    "rle": text,
                    "segmentation": text,
                }
            ),
            "expressions": sequence(
                {
                    "ref_id": number,
                    "sent_id": number,
                    "sent_index": np.int32,
                    "raw": text,
                    "sent": text,
                    "level": np.int32,
                    "no_target": np.bool_,
                }
            ),
            "targets": sequence({"expression": np.int32, "mask": np.int32}),
        }
    )


_MASK_FIELDS = tuple(f.name for f in dataclasses.fields(Mask))
_EXPRESSION_FIELDS = tuple(
    f.name for f in dataclasses.fields(Expression) if f.name != "targets"
)


def to_example(record: Record) -> dict[str, Any]:
    """The record as a TFDS example."""
    targets = [(e, m) for e, x in enumerate(record.expressions) for m in x.targets]
    return {
        "image": record.image,
        "image/id": record.image_id,
        "image/coco_id": record.coco_id,
        "image/filename": record.filename,
        "image/height": record.height,
        "image/width": record.width,
        "image/source": record.source,
        "masks": [{n: getattr(m, n) for n in _MASK_FIELDS} for m in record.masks],
        "expressions": [
            {n: getattr(x, n) for n in _EXPRESSION_FIELDS} for x in record.expressions
        ],
        "targets": [{"expression": e, "mask": m} for e, m in targets],
    }


def encode_mask(mask: Bool[np.ndarray, "H W"]) -> str:
    """COCO's compressed RLE counts of a mask."""
    return coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))["counts"].decode()


def decode_mask(rle: str, height: int, width: int) -> Bool[np.ndarray, "H W"]:
    """The mask of compressed RLE counts. Raises DataError unless they fill the size."""
    check_rle(rle, height, width)
    return coco_mask.decode({"size": [height, width], "counts": rle.encode()}).view(
        bool
    )


def union_rle(rles: Sequence[str], height: int, width: int) -> str:
    """The compressed RLE counts of the union of masks of one size."""
    if len(rles) == 1:
        return rles[0]
    items = [{"size": [height, width], "counts": r.encode()} for r in rles]
    return coco_mask.merge(items)["counts"].decode() if rles else _empty(height, width)


def _empty(height: int, width: int) -> str:
    return encode_mask(np.zeros((height, width), bool))


def run_lengths(rle: str) -> list[int]:
    """The run lengths of compressed RLE counts, zeros first (column-major).

    Raises DataError on characters outside the alphabet, a cut number or a negative run.
    pycocotools itself writes past its buffer on such input, so this check goes first.
    """
    runs: list[int] = []
    value = shift = 0
    for char in rle.encode():
        digit = char - 48
        if not 0 <= digit < 64 or shift > 60:
            raise DataError(
                f"rle: invalid character {chr(char)!r}; expected the counts of "
                "pycocotools, as text"
            )
        value |= (digit & 31) << shift
        shift += 5
        if digit & 32:
            continue
        if digit & 16:
            value -= 1 << shift
        if len(runs) > 2:
            value += runs[-2]
        if value < 0:
            raise DataError(f"rle: run {len(runs)} is negative")
        runs.append(value)
        value = shift = 0
    if shift:
        raise DataError("rle: ends within a number")
    return runs


def check_rle(rle: str, height: int, width: int) -> None:
    """Raise DataError unless the counts are valid and fill height x width."""
    total = sum(run_lengths(rle))
    if total != height * width:
        raise DataError(
            f"rle: covers {total} pixels, the image has {height} x {width} = "
            f"{height * width}; the mask belongs to another size"
        )


def target_rle(record: Record, expression: Expression) -> str:
    """The compressed RLE of an expression's mask: the union of its targets."""
    rles = [record.masks[i].rle for i in expression.targets]
    return union_rle(rles, record.height, record.width)


def expression_key(
    dataset: str, split: str, record: Record, expression: Expression
) -> str:
    """The unique name of an expression: dataset/split/image_id/ref_id/sent_id."""
    return (
        f"{dataset}/{split}/{record.image_id}/{expression.ref_id}/{expression.sent_id}"
    )


def validate(record: Record, where: str = "") -> None:
    """Raise DataError naming record and field unless the record keeps its contract."""
    name = f"image {record.image_id} ({record.filename})"
    name = f"{where or record.source} {name}".lstrip()
    if record.height < 1 or record.width < 1:
        raise DataError(f"{name}: image/height, image/width must be positive")
    if not record.image:
        raise DataError(f"{name}: image holds no bytes")
    for i, mask in enumerate(record.masks):
        field = f"{name}: masks[{i}] (ann_id {mask.ann_id})"
        if mask.level not in (OBJECT, PART) or (mask.level == PART) != bool(mask.part):
            raise DataError(f"{field}: level {mask.level} with part {mask.part!r}")
        if not -1 <= mask.parent < len(record.masks) or mask.parent == i:
            raise DataError(f"{field}: parent {mask.parent} is no other mask")
        try:
            check_rle(mask.rle, record.height, record.width)
        except DataError as error:
            raise DataError(f"{field}: {error}") from None
    keys = set()
    for i, expression in enumerate(record.expressions):
        field = f"{name}: expressions[{i}] (sent_id {expression.sent_id})"
        _validate_expression(expression, len(record.masks), field)
        key = (expression.ref_id, expression.sent_id)
        if key in keys:
            raise DataError(f"{field}: ref_id and sent_id {key} occur twice")
        keys.add(key)


def _validate_expression(expression: Expression, masks: int, field: str) -> None:
    if not expression.sent.strip():
        raise DataError(f"{field}: sent is empty; drop the expression at the source")
    if expression.level not in (OBJECT, PART):
        raise DataError(f"{field}: level {expression.level}, expected 0 or 1")
    if any(not 0 <= t < masks for t in expression.targets):
        raise DataError(f"{field}: targets {expression.targets} of {masks} masks")
    if expression.no_target and expression.targets:
        raise DataError(f"{field}: no_target with targets {expression.targets}")
    if not expression.no_target and not expression.targets:
        raise DataError(
            f"{field}: has no target but is not marked no_target; its masks were lost"
        )
