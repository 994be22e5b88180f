"""The record: one image of one split, its masks (RLE), expressions and their targets.

Flat on disk (nested sequences need TensorFlow), nested tuples in memory. Source: ours.
"""

import dataclasses

import numpy as np
from jaxtyping import UInt8

from unires_jax import limits
from unires_jax.errors import DataError, Kind
from unires_jax.pixels.images import decode_image
from unires_jax.pixels.masks import RunMask

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

    image: bytes  # encoded, as it came; its stored pixels are those of the masks
    image_id: int
    height: int
    width: int
    masks: tuple[Mask, ...]
    expressions: tuple[Expression, ...]
    coco_id: int = -1
    filename: str = ""
    source: str = ""


def runs_of(record: Record, mask: Mask) -> RunMask:
    """The pixels of one of a record's masks. Raises DataError unless they fit it."""
    return RunMask.from_counts(mask.rle, record.height, record.width)


def target_mask(record: Record, expression: Expression) -> RunMask:
    """The pixels an expression denotes: the union of its targets."""
    targets = [runs_of(record, record.masks[i]) for i in expression.targets]
    return RunMask.union(targets, record.height, record.width)


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
    try:
        _validate(record)
    except DataError as error:
        raise error.at(name) from None


def _validate(record: Record) -> None:
    if not limits.plausible(record.height, record.width):
        raise DataError(
            f"image/height, image/width {record.height}, {record.width}: no image's "
            "size"
        )
    if not record.image:
        raise DataError("image holds no bytes", kind=Kind.IMAGE_ABSENT)
    for i, mask in enumerate(record.masks):
        try:
            _validate_mask(record, i, mask)
        except DataError as error:
            raise error.at(f"masks[{i}] (ann_id {mask.ann_id})") from None
    keys = set()
    for i, expression in enumerate(record.expressions):
        field = f"expressions[{i}] (sent_id {expression.sent_id})"
        _validate_expression(expression, len(record.masks), field)
        key = (expression.ref_id, expression.sent_id)
        if key in keys:
            raise DataError(
                f"ref_id and sent_id {key} occur twice", place=field, kind=Kind.ID_TWICE
            )
        keys.add(key)


def _validate_mask(record: Record, index: int, mask: Mask) -> None:
    if mask.level not in (OBJECT, PART) or (mask.level == PART) != bool(mask.part):
        raise DataError(f"level {mask.level} with part {mask.part!r}")
    if not -1 <= mask.parent < len(record.masks) or mask.parent == index:
        raise DataError(f"parent {mask.parent} is no other mask", kind=Kind.ID_TWICE)
    runs_of(record, mask)


def _validate_expression(expression: Expression, masks: int, field: str) -> None:
    text, kind = "", Kind.UNUSABLE
    if not expression.sent.strip():
        text = "sent is empty; drop the expression at the source"
        kind = Kind.SENTENCE_EMPTY
    elif len(expression.sent) > limits.SENTENCE:
        text = f"sent has {len(expression.sent)} characters, at most {limits.SENTENCE}"
    elif expression.level not in (OBJECT, PART):
        text = f"level {expression.level}, expected 0 or 1"
    elif any(not 0 <= t < masks for t in expression.targets):
        text = f"targets {expression.targets} of {masks} masks"
    elif expression.no_target and expression.targets:
        text = f"no_target with targets {expression.targets}"
    elif not expression.no_target and not expression.targets:
        text = "has no target but is not marked no_target; its masks were lost"
        kind = Kind.MASK_EMPTY
    if text:
        raise DataError(text, place=field, kind=kind)


def decode_record_image(record: Record) -> UInt8[np.ndarray, "h w 3"]:
    """The RGB pixels of a record. Raises DataError also if its size is another."""
    pixels = decode_image(record.image)
    if pixels.shape[:2] != (record.height, record.width):
        raise DataError(
            f"is {pixels.shape[0]} x {pixels.shape[1]} pixels, expected "
            f"image/height x image/width = {record.height} x {record.width}; picture "
            "and masks belong to different copies",
            place="image",
            kind=Kind.SIZE_DIFFERS,
        )
    return pixels
