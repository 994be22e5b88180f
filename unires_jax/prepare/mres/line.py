"""A line of MRES JSONL, checked field by field, as the record of its picture."""

import base64
import binascii
import dataclasses
import json
import re
from functools import partial
from pathlib import Path
from typing import Any

from unires_jax import limits
from unires_jax.data.records import (
    LEVELS,
    OBJECT,
    PART,
    Expression,
    Mask,
    Record,
    decode_record_image,
)
from unires_jax.errors import DataError, Kind
from unires_jax.files import read_inside
from unires_jax.pixels import orientation
from unires_jax.prepare.mres.fields import Fields, fault, load_json, short
from unires_jax.prepare.mres.masks import FORMS, Read, read_box, read_mask
from unires_jax.prepare.notes import Notes
from unires_jax.prepare.pieces import STRAY, whole_pieces

SOURCE = "mres_jsonl"
LINE_FIELDS = (
    "image",
    "image_bytes",
    "image_id",
    "coco_id",
    "height",
    "width",
    "masks",
    "expressions",
)
MASK_FIELDS = (
    *("id", "level", "category", "part", "parent", *FORMS, "bbox"),
    *("category_id", "iscrowd"),
)
INT32 = 2**31
EXPRESSION_FIELDS = ("ref_id", "sent_id", "text", "level", "targets")


def parse(
    text: bytes,
    folder: Path,
    belong: orientation.Masks = "stored",
    notes: Notes | None = None,
    place: str = "",
    *,
    images: Path | None = None,
    follow_links: bool | None = None,
) -> Record:
    """The record of one line, its picture read from below `images` and decoded once.

    `folder` is that of the line, where its masks are, and its pictures unless `images`
    is given; links may lead out of both where `follow_links` permits it
    (`files.require_inside`). `belong` says to which of its pixels masks do
    (`pixels.orientation`); `notes` takes, with its `place`, what is passed over in it.

    Raises DataError naming the field, what was expected and what to do.
    """
    fields = Fields(load_json(text), "", LINE_FIELDS)
    height = fields.integer("height", 1, limits.PIXELS)
    width = fields.integer("width", 1, limits.PIXELS)
    of_pictures = partial(read_inside, images or folder, follow_links=follow_links)
    name, image = _read_image(fields, of_pictures, height, width, belong)
    items = fields.items("masks")
    of_masks = partial(read_inside, folder, follow_links=follow_links)
    masks, indices = _read_masks(items, of_masks, height, width)
    polygons = [p for m in items if (p := m.get("polygons")) is not None]
    if notes and any(len(whole_pieces(p)) < len(p) for p in polygons):
        notes.add(STRAY, place)
    record = Record(
        image=image,
        image_id=fields.integer("image_id", 0),
        coco_id=fields.integer("coco_id", -1, default=-1),
        height=height,
        width=width,
        masks=masks,
        expressions=_read_expressions(fields.items("expressions"), masks, indices),
        filename=name,
        source=SOURCE,
    )
    decode_record_image(record)
    return record


def _read_image(
    fields: Fields, read: Read, height: int, width: int, belong: orientation.Masks
) -> tuple[str, bytes]:
    """The file name ("" for bytes in the line) and the encoded picture."""
    inline = fields.get("image") is None
    field = "image_bytes" if inline else "image"
    if not inline and fields.get("image_bytes") is not None:
        raise fields.fault("image_bytes", "null beside image", "give the picture once")
    value = fields.text(field)
    try:
        data = _from_base64(value) if inline else read(value)
        data = orientation.for_masks(data, height, width, belong, field="")
    except DataError as error:
        raise error.at(field) from None
    return "" if inline else value.removeprefix("../"), data


def _from_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise DataError(
            f"expected standard base64, found a fault: {error}; encode the file's bytes"
        ) from None


def _read_masks(
    items: list[Any], read: Read, height: int, width: int
) -> tuple[tuple[Mask, ...], dict[str, int]]:
    """The masks, and the position of each by its id."""
    _require_few(items, limits.MASKS, "masks")
    all_fields = [Fields(m, f"masks[{i}]", MASK_FIELDS) for i, m in enumerate(items)]
    indices: dict[str, int] = {}
    for i, fields in enumerate(all_fields):
        name = fields.text("id")
        if indices.setdefault(name, i) != i:
            raise fields.fault(
                "id", "an id that no other mask has", "number the masks", Kind.ID_TWICE
            )
    numbers = _numbers(list(indices))
    masks = tuple(
        _read_mask(fields, number, indices, read, height, width)
        for fields, number in zip(all_fields, numbers, strict=True)
    )
    _check_cycles(masks, all_fields)
    return masks, indices


def _require_few(items: list[Any], limit: int, name: str) -> None:
    if len(items) > limit:
        raise fault(
            name, f"at most {limit} of one picture", items, "drop those that are noise"
        )


def _numbers(names: list[str]) -> list[int]:
    """Ids that are all plain numbers are kept; otherwise positions stand for them."""
    plain = all(re.fullmatch(r"0|[1-9][0-9]{0,17}", name) for name in names)
    return [int(name) for name in names] if plain else list(range(len(names)))


def _read_mask(
    fields: Fields,
    number: int,
    indices: dict[str, int],
    read: Read,
    height: int,
    width: int,
) -> Mask:
    level = fields.choice("level", LEVELS)
    if level == OBJECT:
        for name in ("part", "parent"):
            if fields.get(name) is not None:
                raise fields.fault(name, "none on an object", "is it a part?")
    runs = read_mask(fields, read, height, width)
    # As they are, but for stray pieces: some protocols redraw them.
    polygons = fields.get("polygons")
    if polygons is not None:
        polygons = list(whole_pieces(polygons).values())
    return Mask(
        ann_id=number,
        category=fields.text("category"),
        rle=runs.counts,
        bbox=read_box(fields, runs),
        area=float(runs.area),
        part=fields.text("part") if level == PART else "",
        level=level,
        parent=_read_parent(fields, indices),
        segmentation="" if polygons is None else json.dumps(polygons),
        category_id=fields.integer("category_id", -INT32, INT32 - 1, default=0),
        iscrowd=fields.flag("iscrowd"),
    )


def _read_parent(fields: Fields, indices: dict[str, int]) -> int:
    name = fields.get("parent")
    if name is None:
        return -1
    if not isinstance(name, str) or name not in indices:
        raise fields.fault("parent", "the id of a mask of this line", "correct the id")
    return indices[name]


def _check_cycles(masks: tuple[Mask, ...], fields: list[Fields]) -> None:
    safe: set[int] = {-1}
    for i in range(len(masks)):
        path: set[int] = set()
        while i not in safe:
            path.add(i)
            i = masks[i].parent
            if i in path:
                raise fields[i].fault("parent", "no mask below itself", "cut the cycle")
        safe |= path


def _read_expressions(
    items: list[Any], masks: tuple[Mask, ...], indices: dict[str, int]
) -> tuple[Expression, ...]:
    """Expressions by ref_id; sentences of one referent in the order of the line."""
    _require_few(items, limits.EXPRESSIONS, "expressions")
    referents: dict[tuple[int, tuple[int, ...]], int] = {}
    groups: dict[int, dict[int, Expression]] = {}  # by ref_id and sent_id
    for i, item in enumerate(items):
        fields = Fields(item, f"expressions[{i}]", EXPRESSION_FIELDS)
        expression = _read_expression(fields, i, masks, indices, referents)
        group = groups.setdefault(expression.ref_id, {})
        _check_referent(fields, expression, group)
        expression = dataclasses.replace(expression, sent_index=len(group))
        group[expression.sent_id] = expression
    return tuple(x for ref_id in sorted(groups) for x in groups[ref_id].values())


def _read_expression(
    fields: Fields,
    position: int,
    masks: tuple[Mask, ...],
    indices: dict[str, int],
    referents: dict[tuple[int, tuple[int, ...]], int],
) -> Expression:
    text = fields.text("text", empty=Kind.SENTENCE_EMPTY)
    level = fields.choice("level", LEVELS)
    targets = _read_targets(fields, level, masks, indices)
    # Sentences about the same masks are one referent; of what is not there, none.
    same = (level, tuple(sorted(targets)))
    ref_id = referents.setdefault(same, position) if targets else position
    return Expression(
        ref_id=fields.integer("ref_id", 0, default=ref_id),
        sent_id=fields.integer("sent_id", 0, default=position),
        raw=text,
        sent=" ".join(text.lower().split()),
        level=level,
        targets=targets,
        no_target=not targets,
    )


def _check_referent(
    fields: Fields, expression: Expression, group: dict[int, Expression]
) -> None:
    """Raise DataError unless a sentence fits those of its referent before it."""
    first = next(iter(group.values()), expression)
    same = set(first.targets) == set(expression.targets)
    if not same or first.level != expression.level:
        raise fields.fault(
            "targets",
            f"the level and targets that ref_id {first.ref_id} has above",
            "give each referent a ref_id of its own, or leave ref_id out",
        )
    if expression.sent_id in group:
        raise fields.fault(
            "sent_id",
            f"a number that ref_id {first.ref_id} has not used",
            "number its sentences, or leave ref_id and sent_id out everywhere",
            Kind.ID_TWICE,
        )


def _read_targets(
    fields: Fields, level: int, masks: tuple[Mask, ...], indices: dict[str, int]
) -> tuple[int, ...]:
    names = fields.items("targets")
    for name in names:
        if not isinstance(name, str) or name not in indices:
            raise fields.fault(
                "targets", f"ids of masks of this line, not {short(name)}", "correct it"
            )
        if masks[indices[name]].level != level:
            raise fields.fault(
                "targets",
                f"masks of the level {LEVELS[level]}, unlike {short(name)}",
                "correct the level or the target",
            )
    if len(set(names)) < len(names):
        raise fields.fault("targets", "each mask once", "remove the second")
    return tuple(indices[name] for name in names)
