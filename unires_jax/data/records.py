"""The record: one image of one split, its masks (RLE), expressions and their targets.

Flat on disk (nested sequences need TensorFlow), nested tuples in memory. Source: ours.
"""

import dataclasses

import numpy as np
from jaxtyping import UInt8

from unires_jax.errors import DataError
from unires_jax.pixels.images import decode_image
from unires_jax.pixels.masks import check_rle, union_rle

OBJECT, PART = 0, 1
LEVELS = ("object", "part")


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


def decode_record_image(record: Record) -> UInt8[np.ndarray, "h w 3"]:
    """The RGB pixels of a record. Raises DataError also if its size is another."""
    pixels = decode_image(record.image)
    if pixels.shape[:2] != (record.height, record.width):
        raise DataError(
            f"image: is {pixels.shape[0]} x {pixels.shape[1]} pixels, expected "
            f"image/height x image/width = {record.height} x {record.width}; picture "
            "and masks belong to different copies"
        )
    return pixels
