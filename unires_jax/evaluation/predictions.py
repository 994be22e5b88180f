"""predictions.jsonl of any model, checked and turned into answers.

A line per expression: `key` (`<data set>/<split>/<image>/<ref>/<sent>`) and its mask of
the picture's size as `rle` ({"size": [h, w], "counts": ...}) or `png` (base64, or a
path beside the file; non-zero = target). `score` and `no_target` (probability or bool)
are optional; `protocol`, `I` and `U` are those of an evaluation that wrote the file.
"""

import base64
import binascii
import dataclasses
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from unires_jax.config import Config
from unires_jax.data import records
from unires_jax.data.records import Record
from unires_jax.errors import DataError
from unires_jax.evaluation.evaluator import Split, evaluate
from unires_jax.evaluation.protocols import Protocol
from unires_jax.evaluation.results import Prediction, Result
from unires_jax.files import read_inside
from unires_jax.pixels.images import is_whole_png
from unires_jax.pixels.masks import check_rle, encode_mask, union_rle


@dataclasses.dataclass(frozen=True)
class Line:
    """One line of the file."""

    number: int  # from 1
    key: str
    rle: str  # compressed counts
    size: tuple[int, int]  # height, width
    score: float
    no_target: float | None
    protocol: str  # "" where the file does not say
    pair: tuple[int, int] | None  # (I, U) by that protocol


@dataclasses.dataclass(frozen=True)
class Predictions:
    """A file's lines by key."""

    path: Path
    lines: dict[str, Line]

    @property
    def decides(self) -> bool:
        """Whether any line says if nothing is meant."""
        return any(line.no_target is not None for line in self.lines.values())


def read(path: str | Path) -> Predictions:
    """Read a file, or the predictions.jsonl of an evaluation's folder.

    Raises DataError naming file and line: no JSON, a field missing or of another type,
    a mask that cannot be read, a key that occurs twice.
    """
    file = Path(path) / "predictions.jsonl" if Path(path).is_dir() else Path(path)
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        told = error.strerror if isinstance(error, OSError) else error
        raise DataError(
            f"{file}: cannot be read ({told}); expected JSON lines in UTF-8, or the "
            "folder of an evaluation"
        ) from None
    lines: dict[str, Line] = {}
    for number, row in enumerate(text.split("\n"), 1):
        if not row.strip():
            continue
        try:
            line = _line(number, row, file.parent)
            if line.key in lines:
                first = lines[line.key].number
                raise DataError(
                    f"key: {line.key!r} stands in line {first} already; keep one"
                )
        except DataError as error:
            raise DataError(f"{file} line {number}: {error}") from None
        lines[line.key] = line
    if not lines:
        raise DataError(
            f"{file}: holds no predictions; expected a line for each expression, with "
            "key and rle"
        )
    return Predictions(file, lines)


def _line(number: int, text: str, folder: Path) -> Line:
    try:
        row = json.loads(text)
    except ValueError as error:
        raise DataError(
            f"is not JSON ({error}); expected an object with key and rle on one line"
        ) from None
    if not isinstance(row, dict):
        raise DataError(f"is {type(row).__name__}, expected an object with key and rle")
    key = row.get("key")
    if not isinstance(key, str) or not key:
        raise DataError(
            f"key: is {key!r}, expected <data set>/<split>/<image>/<ref>/<sent>"
        )
    rle, size = _mask(row, folder)
    protocol, pair = row.get("protocol"), (row.get("I"), row.get("U"))
    judged = isinstance(protocol, str) and all(_is_count(n) for n in pair)
    return Line(
        number=number,
        key=key,
        rle=rle,
        size=size,
        score=_share(row, "score") or 0.0,
        no_target=_share(row, "no_target"),
        protocol=str(protocol) if judged else "",
        pair=(int(row["I"]), int(row["U"])) if judged else None,
    )


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _share(row: dict[str, Any], field: str) -> float | None:
    value = row.get(field)
    if value is None:
        return None
    if not isinstance(value, (int, float)) or not 0 <= value <= 1 or math.isnan(value):
        raise DataError(f"{field}: is {value!r}, expected a number from 0 to 1")
    return float(value)


def _mask(row: dict[str, Any], folder: Path) -> tuple[str, tuple[int, int]]:
    """Compressed counts and size of `rle` or `png`."""
    if row.get("png") is not None and row.get("rle") is None:
        return _png(row["png"], folder)
    found = row.get("rle")
    rle = found if isinstance(found, dict) else {}
    size = rle.get("size")
    if not isinstance(size, list) or len(size) != 2 or not all(map(_is_count, size)):
        raise DataError(
            'expected "rle": {"size": [height, width], "counts": ...} or "png", found '
            f"{sorted(row)} with rle {str(found)[:60]!r}"
        )
    height, width = size
    counts = rle.get("counts")
    if isinstance(counts, list) and all(map(_is_count, counts)):
        if sum(counts) != height * width:
            raise DataError(
                f"rle: covers {sum(counts)} pixels, its size is {height} x {width}"
            )
        packed = coco_mask.frPyObjects({"size": size, "counts": counts}, *size)
        counts = packed["counts"].decode()
    if not isinstance(counts, str):
        raise DataError("rle: counts are neither a string nor a list of run lengths")
    check_rle(counts, height, width)
    return counts, (height, width)


def _png(value: Any, folder: Path) -> tuple[str, tuple[int, int]]:
    if not isinstance(value, str):
        raise DataError(f"png: is {type(value).__name__}, expected base64 or a path")
    try:
        if value.lower().endswith(".png"):
            data = read_inside(folder, value)
        else:
            data = base64.b64decode(value.rpartition(",")[2], validate=True)
    except DataError as error:
        raise DataError(f"png: {error}") from None
    except (binascii.Error, ValueError):
        raise DataError(f"png: {value[:40]!r} is no base64 and no path") from None
    array = np.frombuffer(data, np.uint8)
    try:
        whole = is_whole_png(data)
        pixels = cv2.imdecode(array, cv2.IMREAD_UNCHANGED) if whole else None
    except cv2.error:  # more pixels than OpenCV takes
        pixels = None
    if pixels is None:
        raise DataError("png: is not a readable picture")
    layers = pixels.reshape(*pixels.shape[:2], -1)[..., :3]
    marked = np.asarray(layers.any(axis=-1))
    return encode_mask(marked), (marked.shape[0], marked.shape[1])


class FilePredict:
    """The `Predict` of a file for one split; a missing expression is empty."""

    def __init__(self, found: Predictions, split: Split):
        """Raises DataError for a line whose key the split does not have or whose mask
        has another size than its picture, and if no line is of the split.
        """
        prefix = f"{split.dataset}/{split.split}/"
        self._split = split
        self.lines = {k: x for k, x in found.lines.items() if k.startswith(prefix)}
        if not self.lines:
            other = next(iter(found.lines))
            raise DataError(
                f"{found.path}: no key begins with {prefix!r}; the first is {other!r}. "
                "Name the splits that it answers with --splits"
            )
        self._check(found.path, dict(_sizes(split)))

    def _check(self, path: Path, sizes: dict[str, tuple[int, int]]) -> None:
        for key, line in self.lines.items():
            where = f"{path} line {line.number}: key {key!r}"
            if key not in sizes:
                foreign = len(self.lines.keys() - sizes.keys())
                raise DataError(
                    f"{where} is no expression of {self._split.dataset}:"
                    f"{self._split.split} ({foreign} such lines); it belongs to "
                    "another version of the data"
                )
            if line.size != sizes[key]:
                raise DataError(
                    f"{where}: the mask is {line.size[0]} x {line.size[1]}, its "
                    f"picture {sizes[key][0]} x {sizes[key][1]} (height x width); "
                    "resize it to the picture's size"
                )

    def __call__(self, found: Sequence[Record]) -> list[list[Prediction]]:
        """The file's answers."""
        return [
            [self._answer(key, record) for key in _keys(self._split, record)]
            for record in found
        ]

    def _answer(self, key: str, record: Record) -> Prediction:
        line = self.lines.get(key)
        if line is None:
            empty = union_rle([], record.height, record.width)
            return Prediction(empty, 0.0, None)
        return Prediction(line.rle, line.score, line.no_target)


def _sizes(split: Split) -> Iterator[tuple[str, tuple[int, int]]]:
    """Every expression's key and its picture's size."""
    for i in range(len(split)):
        record = split[i]
        for key in _keys(split, record):
            yield key, (record.height, record.width)


def _keys(split: Split, record: Record) -> list[str]:
    """The key of each of a record's expressions."""
    return [
        records.expression_key(split.dataset, split.split, record, x)
        for x in record.expressions
    ]


def rows(
    found: Predictions,
    splits: Mapping[str, Split],
    config: Config,
    protocol: Protocol,
    images: int | None = None,
) -> dict[str, list[Result]]:
    """A file's answers to several splits, scored as binary masks.

    Prints how many expressions are missing (they count as empty) and how many lines
    belong to other splits. Raises DataError as `FilePredict` does.
    """
    scored, answered = {}, 0
    for name, split in splits.items():
        predict = FilePredict(found, split)
        answered += len(predict.lines)
        scored[name] = evaluate(
            split, predict, config, protocol=protocol, images=images, ceiling=False
        )
        missing = sum(r.key not in predict.lines for r in scored[name])
        if missing:
            print(
                f"{found.path}: {missing} of {len(scored[name])} expressions of {name} "
                "are missing; they count as empty masks"
            )
    if answered < len(found.lines):
        print(
            f"{found.path}: {len(found.lines) - answered} lines are of splits that are "
            "not scored now"
        )
    return scored
