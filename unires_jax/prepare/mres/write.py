"""Records as lines of MRES JSONL, which `line.parse` reads back as they were.

What the format has no field for is left out: a cleaned sentence beside what was said.
"""

import base64
import gzip
import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from unires_jax import documents, limits
from unires_jax.data.records import LEVELS, PART, Expression, Mask, Record
from unires_jax.errors import DataError, Kind
from unires_jax.files import stays_inside, whole, write_whole
from unires_jax.pixels.masks import RunMask
from unires_jax.prepare.mres.fields import is_plain
from unires_jax.prepare.mres.masks import from_polygons, is_within
from unires_jax.prepare.sources.part_names import UNNAMED

_MAX_ID = 10**18  # ids below it are read as the numbers they are


def write(path: str | Path, records: Iterable[Record], *, embed: bool = False) -> int:
    """Write a file of lines, and beside it the pictures they name; how many lines.

    The file is gzip if its name ends in .gz, equal for equal records, and there whole
    or not at all. `embed` puts every picture into its line, as those without a name
    always are. Raises DataError for a record that is no valid line, and for a picture
    whose name leaves the folder or is another picture's there.
    """
    path, count = Path(path), 0
    with whole(path) as temporary, temporary.open("wb") as file:
        packed = path.suffix == ".gz"
        # A name or a time in the archive would make equal records differ.
        out = gzip.GzipFile("", "wb", fileobj=file, mtime=0) if packed else file
        with io.TextIOWrapper(out, encoding="utf-8", newline="\n") as text:
            for record in records:
                if record.filename and not embed:
                    _write_picture(path.parent, record)
                print(json.dumps(to_line(record, embed=embed)), file=text)
                count += 1
    return count


def to_line(record: Record, *, embed: bool = False) -> dict[str, Any]:
    """The line of a record, as JSON. Raises DataError naming what it cannot say.

    The picture is named, below the folder of the file, or `embed`ded in the line.
    """
    place = f"image {record.image_id} ({record.filename})"
    ids = _ids([mask.ann_id for mask in record.masks])
    embed = embed or not record.filename
    line: dict[str, Any] = {"image": None if embed else record.filename}
    if embed:
        line["image_bytes"] = base64.b64encode(record.image).decode()
    line["image_id"] = record.image_id
    if record.coco_id >= 0:
        line["coco_id"] = record.coco_id
    line |= {"height": record.height, "width": record.width}
    try:
        line["masks"] = [_mask(m, ids, i, record) for i, m in enumerate(record.masks)]
    except DataError as error:
        raise error.at(place) from None
    line["expressions"] = [_expression(x, ids) for x in record.expressions]
    return line


def _ids(numbers: list[int]) -> list[str]:
    """Their numbers, if these are ids that can be read back; else their positions."""
    unique = len(set(numbers)) == len(numbers)
    readable = unique and all(0 <= number < _MAX_ID for number in numbers)
    return [str(n) for n in (numbers if readable else range(len(numbers)))]


def _mask(mask: Mask, ids: list[str], index: int, record: Record) -> dict[str, Any]:
    place = f"masks[{index}] (ann_id {mask.ann_id})"
    try:
        runs = RunMask.from_counts(mask.rle, record.height, record.width)
    except DataError as error:
        raise error.at(place) from None
    if not runs.area:
        raise DataError("holds no pixel", place=place, kind=Kind.MASK_EMPTY)
    line: dict[str, Any] = {"id": ids[index], "level": LEVELS[mask.level]}
    line["category"] = mask.category or UNNAMED  # it must have a name
    if mask.level == PART:
        line["part"] = mask.part
        if mask.parent >= 0:
            line["parent"] = ids[mask.parent]
    line |= _pixels(mask, runs)
    if mask.category_id:
        line["category_id"] = mask.category_id
    if mask.iscrowd:
        line["iscrowd"] = True
    if mask.bbox != runs.box and is_within(mask.bbox, record.height, record.width):
        line["bbox"] = list(mask.bbox)
    return line


def _pixels(mask: Mask, runs: RunMask) -> dict[str, Any]:
    """The polygons of a mask, where they are all of it and can be read back."""
    if mask.segmentation:
        polygons = documents.load(mask.segmentation, limits.LINE_MEMORY)
        try:
            redrawn = from_polygons(polygons, "", runs.height, runs.width)
        except DataError:  # they leave the picture further than a line's may
            return {"rle": runs.rle}
        if redrawn.counts == runs.counts:
            return {"polygons": polygons}
    return {"rle": runs.rle}


def _expression(expression: Expression, ids: list[str]) -> dict[str, Any]:
    raw = expression.raw
    return {
        "ref_id": expression.ref_id,
        "sent_id": expression.sent_id,
        "text": raw if raw.strip() and is_plain(raw) else expression.sent,
        "level": LEVELS[expression.level],
        "targets": [ids[target] for target in expression.targets],
    }


def _write_picture(folder: Path, record: Record) -> None:
    name = record.filename
    if "\\" in name or not stays_inside(name):
        raise DataError(
            f"expected the name of a picture below the file's own folder, found "
            f"{name!r}",
            place=f"image {record.image_id}",
        )
    path = folder / name
    if path.exists():
        if path.read_bytes() != record.image:
            raise DataError(
                "is another picture than the record's; write to another folder",
                place=str(path),
            )
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, record.image)
