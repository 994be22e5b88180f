"""MRES JSONL: a line for each image with its masks and expressions, as records.

The format is ours (docs/mres_jsonl.md): MRES-32M, which it is shaped after, was never
released. Nothing in a line is trusted; a fault names file, line and field.
"""

import base64
import binascii
import dataclasses
import gzip
import io
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from unires_jax import files
from unires_jax.data.records import (
    LEVELS,
    OBJECT,
    PART,
    Expression,
    Mask,
    Record,
    decode_record_image,
)
from unires_jax.errors import DataError
from unires_jax.pixels.images import MAX_PIXELS, check_size
from unires_jax.prepare.mres import masks as mres_masks
from unires_jax.prepare.mres.fields import Fields, load_json, short

SOURCE = "mres_jsonl"
SUFFIXES = (".jsonl", ".jsonl.gz")
MAX_LINE = 32 << 20  # bytes of one line; ours

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
MASK_FIELDS = ("id", "level", "category", "part", "parent", *mres_masks.FORMS, "bbox")
EXPRESSION_FIELDS = ("ref_id", "sent_id", "text", "level", "targets")

_SPLIT = re.compile(r"([A-Za-z][A-Za-z0-9_]*)(?:-[^/]*)?\.jsonl(?:\.gz)?")


@dataclasses.dataclass(frozen=True)
class Lines:
    """A run of whole lines of one file: `[start, end)` in bytes of its plain text."""

    file: str
    split: str
    start: int
    end: int
    first: int  # number of its first line, from 1
    count: int  # how many lines
    stamp: tuple[int, int]  # size and time of change of the file when it was planned


def find_files(raw: str | Path, split: str = "") -> dict[str, list[Path]]:
    """The files of each split: of a folder, or of a pattern such as `raw/*.jsonl.gz`.

    The split is the file name up to the first `-` or `.` (`train-00000.jsonl.gz`), or
    `split` for all. Raises DataError if there are no files or a name has no split.
    """
    pattern = Path(raw)
    if pattern.is_dir():
        found = [p for p in pattern.iterdir() if p.name.endswith(SUFFIXES)]
    else:
        base = Path(pattern.anchor or ".")
        relative = str(pattern.relative_to(base) if pattern.anchor else pattern)
        found = [p for p in base.glob(relative) if p.is_file()]
    if not found or not str(raw):
        raise DataError(
            f"--raw={str(raw)!r}: expected a folder or pattern of .jsonl or .jsonl.gz "
            "files, found none; see docs/mres_jsonl.md"
        )
    files: dict[str, list[Path]] = {}
    for path in sorted(found):
        files.setdefault(split or _split_of(path), []).append(path)
    return files


def _split_of(path: Path) -> str:
    match = _SPLIT.fullmatch(path.name)
    if not match:
        raise DataError(
            f"{path}: expected a name such as train.jsonl or val-00000.jsonl.gz, whose "
            "beginning names the split; rename it or pass --split"
        )
    return match[1]


def open_lines(path: Path) -> io.BufferedIOBase:
    """The plain text of a file. Raises DataError if it cannot be opened."""
    try:
        return gzip.open(path) if path.suffix == ".gz" else path.open("rb")
    except OSError as error:
        raise DataError(f"{path}: cannot be opened: {error.strerror}") from None


def read(lines: Lines) -> Iterator[tuple[str, Record | DataError]]:
    """`file:line` of each line and its record, or the fault that makes it unusable.

    Empty lines are passed over. Raises DataError where the file itself is damaged.
    """
    path = Path(lines.file)
    for number, text in _split_lines(path, lines):
        place = f"{path}:{number}"
        try:
            if text is None:
                raise DataError(
                    f"expected a line of at most {MAX_LINE} bytes, found a longer one; "
                    "store pictures as files beside it"
                )
            if text.strip():
                yield place, parse(text, path.parent)
        except DataError as error:
            yield place, DataError(f"{place}: {error}")


def _split_lines(path: Path, lines: Lines) -> Iterator[tuple[int, bytes | None]]:
    """Numbers and texts of the lines; None for one beyond the limit."""
    with open_lines(path) as file:
        number, at = lines.first, lines.start
        try:
            file.seek(at)
            while at < lines.end and (text := file.readline(MAX_LINE + 1)):
                at += len(text)
                whole = text.endswith(b"\n") or len(text) <= MAX_LINE
                rest = text
                while not rest.endswith(b"\n") and (rest := file.readline(MAX_LINE)):
                    at += len(rest)
                yield number, text if whole else None
                number += 1
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(
                f"{path}: damaged after line {number - 1}: {error}; fetch or pack the "
                "file again"
            ) from None


def parse(text: bytes, folder: Path) -> Record:
    """The record of one line, its picture read from below `folder` and decoded once.

    Raises DataError naming the field, what was expected and what to do.
    """
    fields = Fields(load_json(text), "", LINE_FIELDS)
    height = fields.integer("height", 1, MAX_PIXELS)
    width = fields.integer("width", 1, MAX_PIXELS)
    name, image = _read_image(fields, folder, height, width)
    masks, indices = _read_masks(fields.items("masks"), folder, height, width)
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
    fields: Fields, folder: Path, height: int, width: int
) -> tuple[str, bytes]:
    """The file name ("" for bytes in the line) and the encoded picture."""
    inline = fields.get("image") is None
    field = "image_bytes" if inline else "image"
    if not inline and fields.get("image_bytes") is not None:
        raise fields.fault("image_bytes", "null beside image", "give the picture once")
    value = fields.text(field)
    try:
        data = _from_base64(value) if inline else files.read_inside(folder, value)
        check_size(data, height, width, field="")
    except DataError as error:
        raise error.at(field) from None
    return "" if inline else value, data


def _from_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise DataError(
            f"expected standard base64, found a fault: {error}; encode the file's bytes"
        ) from None


def _read_masks(
    items: list[Any], folder: Path, height: int, width: int
) -> tuple[tuple[Mask, ...], dict[str, int]]:
    """The masks, and the position of each by its id."""
    all_fields = [Fields(m, f"masks[{i}]", MASK_FIELDS) for i, m in enumerate(items)]
    indices: dict[str, int] = {}
    for i, fields in enumerate(all_fields):
        name = fields.text("id")
        if indices.setdefault(name, i) != i:
            raise fields.fault("id", "an id that no other mask has", "number the masks")
    numbers = _numbers(list(indices))
    masks = tuple(
        _read_mask(fields, number, indices, folder, height, width)
        for fields, number in zip(all_fields, numbers, strict=True)
    )
    _check_cycles(masks, all_fields)
    return masks, indices


def _numbers(names: list[str]) -> list[int]:
    """Ids that are all plain numbers are kept; otherwise positions stand for them."""
    plain = all(re.fullmatch(r"0|[1-9][0-9]{0,17}", name) for name in names)
    return [int(name) for name in names] if plain else list(range(len(names)))


def _read_mask(
    fields: Fields,
    number: int,
    indices: dict[str, int],
    folder: Path,
    height: int,
    width: int,
) -> Mask:
    level = fields.choice("level", LEVELS)
    if level == OBJECT:
        for name in ("part", "parent"):
            if fields.get(name) is not None:
                raise fields.fault(name, "none on an object", "is it a part?")
    mask = mres_masks.read_mask(fields, folder, height, width)
    return Mask(
        ann_id=number,
        category=fields.text("category"),
        rle=mask.counts,
        bbox=mres_masks.read_box(fields, mask),
        area=float(mask.area),
        part=fields.text("part") if level == PART else "",
        level=level,
        parent=_read_parent(fields, indices),
        segmentation=mres_masks.read_polygons(fields),
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
        path: list[int] = []
        while i not in safe:
            path.append(i)
            i = masks[i].parent
            if i in path:
                raise fields[i].fault("parent", "no mask below itself", "cut the cycle")
        safe.update(path)


def _read_expressions(
    items: list[Any], masks: tuple[Mask, ...], indices: dict[str, int]
) -> tuple[Expression, ...]:
    """Expressions by ref_id; sentences of one referent in the order of the line."""
    referents: dict[tuple[int, tuple[int, ...]], int] = {}
    firsts: dict[int, Expression] = {}
    used: dict[int, set[int]] = {}
    found = []
    for i, item in enumerate(items):
        fields = Fields(item, f"expressions[{i}]", EXPRESSION_FIELDS)
        expression = _read_expression(fields, i, masks, indices, referents)
        first = firsts.setdefault(expression.ref_id, expression)
        sentences = used.setdefault(expression.ref_id, set())
        _check_referent(fields, expression, first, sentences)
        found.append(dataclasses.replace(expression, sent_index=len(sentences)))
        sentences.add(expression.sent_id)
    return tuple(sorted(found, key=lambda x: x.ref_id))


def _read_expression(
    fields: Fields,
    position: int,
    masks: tuple[Mask, ...],
    indices: dict[str, int],
    referents: dict[tuple[int, tuple[int, ...]], int],
) -> Expression:
    text = fields.text("text")
    level = fields.choice("level", LEVELS)
    targets = _read_targets(fields, level, masks, indices)
    # Sentences about the same masks are one referent; of what is not there, none.
    same = (level, tuple(sorted(targets)))
    own = referents.setdefault(same, position) if targets else position
    return Expression(
        ref_id=fields.integer("ref_id", 0, default=own),
        sent_id=fields.integer("sent_id", 0, default=position),
        raw=text,
        sent=" ".join(text.lower().split()),
        level=level,
        targets=targets,
        no_target=not targets,
    )


def _check_referent(
    fields: Fields, expression: Expression, first: Expression, sentences: set[int]
) -> None:
    same = set(first.targets) == set(expression.targets)
    if not same or first.level != expression.level:
        raise fields.fault(
            "targets",
            f"the level and targets that ref_id {first.ref_id} has above",
            "give each referent a ref_id of its own, or leave ref_id out",
        )
    if expression.sent_id in sentences:
        raise fields.fault(
            "sent_id",
            f"a number that ref_id {first.ref_id} has not used",
            "number its sentences, or leave ref_id and sent_id out everywhere",
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
