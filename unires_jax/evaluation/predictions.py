"""predictions.jsonl of any model: written, read and checked.

A line per expression: `key` (`<data set>/<split>/<image>/<ref>/<sent>`) and its mask of
the picture's size as `rle` (COCO's, {"size": [h, w], ...}) or `png` (base64, or a path
beside the file; non-zero = target). `score` and `no_target` (probability or bool) are
optional; `level`, `protocol`, `I` and `U` are those of an evaluation that wrote it, and
so are `cut` (the end of the sentence was not read) and `squashed`, the mask on the grid
of a protocol that has one: resampled from the model's logits, it is not `rle` resized.
A mask may also have the grid's size alone.
"""

import base64
import binascii
import dataclasses
import json
import math
import os
from typing import Any

from unires_jax import documents, limits
from unires_jax.data.records import LEVELS
from unires_jax.errors import DataError, shorten
from unires_jax.evaluation.results import Result
from unires_jax.files import Location, local, locate, read_bytes, read_inside
from unires_jax.pixels.images import decode_png_mask
from unires_jax.pixels.masks import RunMask
from unires_jax.texts import decoded


def to_line(result: Result) -> str:
    """One line of the file; the RLE is as pycocotools reads it."""
    score = {} if result.score is None else {"score": round(result.score, 4)}
    row = {
        "key": result.key,
        "rle": result.mask.rle,
        **score,
        "no_target": result.no_target,  # not rounded: it is decided at one half
        "level": LEVELS[result.level],
        "protocol": result.protocol,
        "I": result.intersection,
        "U": result.union,
    }
    if result.squashed is not None:
        row["squashed"] = result.squashed.rle
    if result.cut:
        row["cut"] = True
    return json.dumps(row)


@dataclasses.dataclass(frozen=True)
class Line:
    """One line of the file."""

    number: int  # from 1
    key: str
    mask: RunMask
    squashed: RunMask | None  # as an evaluation on a grid had it
    score: float | None
    no_target: float | None
    protocol: str  # "" where the file does not say
    pair: tuple[int, int] | None  # (I, U) by that protocol
    cut: bool  # the end of the sentence was not read


@dataclasses.dataclass(frozen=True)
class Predictions:
    """A file's lines by key."""

    path: Location
    lines: dict[str, Line]

    @property
    def decides(self) -> bool:
        """Whether any line says if nothing is meant."""
        return any(line.no_target is not None for line in self.lines.values())


def read(path: str | os.PathLike[str]) -> Predictions:
    """Read a file, or the predictions.jsonl of an evaluation's folder.

    Raises DataError naming file and line: no JSON, a field missing or of another type,
    a mask that cannot be read, a key that occurs twice, or more than the limits.
    """
    file = locate(path)
    if file.is_dir():
        file = file / "predictions.jsonl"
    lines: dict[str, Line] = {}
    memory = 0  # bytes of all masks
    for number, row in enumerate(_text(file).split("\n"), 1):
        if not row.strip():
            continue
        try:
            line = _line(number, row, file.parent)
            if line.key in lines:
                first = lines[line.key].number
                raise DataError(
                    f"{line.key!r} stands in line {first} already; keep one",
                    place="key",
                )
            masks = (line.mask, line.squashed)
            memory += sum(mask.spans.nbytes for mask in masks if mask)
            if memory > limits.PREDICTIONS_MEMORY:
                raise DataError(
                    f"the masks so far take {memory >> 20} MB, the limit is "
                    f"{limits.PREDICTIONS_MEMORY >> 20} MB; cut the file into several"
                )
        except DataError as error:
            raise error.at(f"{file} line {number}") from None
        lines[line.key] = line
    if not lines:
        raise DataError(
            "holds no predictions; expected a line for each expression, with key and "
            "rle",
            place=str(file),
        )
    return Predictions(file, lines)


def _text(file: Location) -> str:
    try:
        return decoded(read_bytes(file, limits.PREDICTIONS_BYTES))
    except DataError as error:
        raise error.at(str(file)) from None
    except OSError as error:
        raise DataError(
            f"cannot be read ({error.strerror or error}); expected JSON lines, or the "
            "folder of an evaluation",
            place=str(file),
        ) from None


def _line(number: int, text: str, folder: Location) -> Line:
    try:
        row = documents.load(text, limits.LINE_MEMORY)
    except DataError:
        raise
    except ValueError as error:
        raise DataError(
            f"is not JSON ({error}); expected an object with key and rle on one line"
        ) from None
    if not isinstance(row, dict):
        raise DataError(f"is {type(row).__name__}, expected an object with key and rle")
    key = row.get("key")
    if not isinstance(key, str) or not key:
        raise DataError(
            f"is {shorten(repr(key), 60)}, expected "
            "<data set>/<split>/<image>/<ref>/<sent>",
            place="key",
        )
    protocol, pair = row.get("protocol"), (row.get("I"), row.get("U"))
    judged = isinstance(protocol, str) and all(_is_count(n) for n in pair)
    return Line(
        number=number,
        key=key,
        mask=_mask(row, folder),
        squashed=None if row.get("squashed") is None else _rle(row, "squashed"),
        score=_share(row, "score"),
        no_target=_share(row, "no_target"),
        protocol=str(protocol) if judged else "",
        pair=(int(row["I"]), int(row["U"])) if judged else None,
        cut=row.get("cut") is True,
    )


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < limits.INTEGER


def _share(row: dict[str, Any], field: str) -> float | None:
    value = row.get(field)
    if value is None:
        return None
    if not isinstance(value, (int, float)) or not 0 <= value <= 1 or math.isnan(value):
        raise DataError(
            f"is {shorten(repr(value), 60)}, expected a number from 0 to 1; leave out "
            "what is none",
            place=field,
        )
    return float(value)


def _mask(row: dict[str, Any], folder: Location) -> RunMask:
    """The mask of `rle` or `png`."""
    png = row.get("png")
    if png is not None and row.get("rle") is None:
        try:
            return _png(png, folder)
        except DataError as error:
            raise error.at("png") from None
    return _rle(row, "rle")


def _rle(row: dict[str, Any], field: str) -> RunMask:
    rle = row.get(field)
    fields = rle if isinstance(rle, dict) else {}
    size, counts = fields.get("size"), fields.get("counts")
    if not isinstance(size, list) or len(size) != 2 or not all(map(_is_count, size)):
        raise DataError(
            f'expected "{field}": {{"size": [height, width], "counts" ...}} or "png", '
            f"found {shorten(str(sorted(row)))} with {field} {str(rle)[:60]!r}; the "
            "counts of an empty mask are [height * width]"
        )
    runs = isinstance(counts, list) and all(map(_is_count, counts))
    if not (runs or isinstance(counts, str)):
        raise DataError(
            f"{field}: counts are neither a string nor a list of run lengths"
        )
    return RunMask.of(fields)


def _png(value: Any, folder: Location) -> RunMask:
    if not isinstance(value, str):
        raise DataError(f"is {type(value).__name__}, expected base64 or a path")
    if value.lower().endswith((".jpg", ".jpeg")):
        raise DataError(
            f"{shorten(value, 60)!r} is a JPEG, which keeps no exact values; save the "
            "mask as PNG"
        )
    if value.lower().endswith(".png"):
        data = read_inside(local(folder), value)
    else:
        try:
            # Mail's base64, which Python's encodebytes writes, is cut into lines.
            text = "".join(value.rpartition(",")[2].split())
            data = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            raise DataError(f"{value[:40]!r} is no base64 and no path") from None
    try:
        return RunMask.from_pixels(decode_png_mask(data))
    except DataError as error:
        raise DataError(f"is not a readable picture ({error})") from None
