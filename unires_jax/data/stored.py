"""A record as TFDS stores it: its features, the example written, the bytes read.

The stored `tf.train.Example` is read directly: TFDS's own decoding of the same bytes
takes several times as long, about a fifth of what decoding the JPEG does.
"""

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from unires_jax import limits
from unires_jax.data.records import Expression, Mask, Record
from unires_jax.errors import DataError, Kind, shorten
from unires_jax.pixels import orientation

Columns = dict[str, Sequence[Any]]

_MASK = [f.name for f in dataclasses.fields(Mask)]
_EXPRESSION = [f.name for f in dataclasses.fields(Expression) if f.name != "targets"]
_FLAGS = {"masks/iscrowd", "expressions/no_target"}
_IMAGE = ("id", "coco_id", "filename", "height", "width", "source")
_COLUMNS = {
    "image",
    *(f"image/{name}" for name in _IMAGE),
    *(f"masks/{name}" for name in _MASK),
    *(f"expressions/{name}" for name in _EXPRESSION),
    "targets/expression",
    "targets/mask",
}
_FLOATS = {"masks/bbox", "masks/area"}
_BYTES = {"image", "image/filename", "image/source", "expressions/raw"}
_BYTES |= {"expressions/sent", *(f"masks/{n}" for n in ("category", "part"))}
_BYTES |= {"masks/rle", "masks/segmentation"}


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


def dataset_info(builder: Any, description: str | None) -> Any:
    """The `tfds.core.DatasetInfo` of records that are stored in the order they come.

    The pipeline shuffles; a builder yields them by image id, index or line.
    """
    import tensorflow_datasets as tfds

    class Info(tfds.core.DatasetInfo):
        def initialize_from_bucket(self) -> None:
            """Nothing: TFDS would ask its own bucket, and leave a temporary folder."""

    return Info(
        builder=builder,
        description=description,
        features=features(),
        disable_shuffling=True,
    )


def to_example(record: Record) -> dict[str, Any]:
    """The record as a TFDS example; its picture keeps no EXIF orientation."""
    targets = [(e, m) for e, x in enumerate(record.expressions) for m in x.targets]
    return {
        "image": orientation.removed(record.image),
        "image/id": record.image_id,
        "image/coco_id": record.coco_id,
        "image/filename": record.filename,
        "image/height": record.height,
        "image/width": record.width,
        "image/source": record.source,
        "masks": [{n: getattr(m, n) for n in _MASK} for m in record.masks],
        "expressions": [
            {n: getattr(x, n) for n in _EXPRESSION} for x in record.expressions
        ],
        "targets": [{"expression": e, "mask": m} for e, m in targets],
    }


def parse(data: bytes) -> Record:
    """The record whose example was written with `features`.

    Raises DataError if the bytes hold another schema, or more than limits.MASKS and
    limits.EXPRESSIONS.
    """
    stored = _features(data)
    try:
        return _record({name: _values(name, x) for name, x in stored.items()})
    except (KeyError, ValueError, IndexError) as error:
        coded = isinstance(error, UnicodeError)
        raise DataError(
            f"{type(error).__name__} {shorten(str(error))} among its fields "
            f"{shorten(str(sorted(stored)), 1000)}; another version wrote it, build "
            "the data again",
            place="stored record",
            kind=Kind.ENCODING if coded else Kind.UNUSABLE,
        ) from None


def coco_id(data: bytes) -> int:
    """The image/coco_id of stored bytes; -1 if there is none. Raises DataError."""
    values = _features(data)["image/coco_id"].int64_list.value
    return int(values[0]) if values else -1


def _features(data: bytes) -> Any:
    """The fields of a stored example by name."""
    try:
        return example_message().FromString(data).features.feature
    except DecodeError:
        raise DataError(
            f"{len(data)} bytes that are no tf.train.Example; build the data again",
            place="stored record",
        ) from None


@functools.cache
def example_message() -> Any:
    """The message `tf.train.Example`; TFDS, which has it, imports much.

    While TFDS is imported, `import` is another for all threads (etils' lazy imports):
    what a checkpoint's thread then imports is no module. So a split that is opened
    calls this, before any such thread runs.
    """
    from tensorflow_datasets.proto import tf_example_pb2

    return tf_example_pb2.Example


def _kind(name: str) -> str:
    """Which of the lists of a tf.train.Feature a field is stored in."""
    if name in _BYTES:
        return "bytes_list"
    return "float_list" if name in _FLOATS else "int64_list"


def _values(name: str, feature: Any) -> Sequence[Any]:
    kind = feature.WhichOneof("kind") or _kind(name)
    values = getattr(feature, kind).value
    if kind != _kind(name) and values and name in _COLUMNS:
        raise ValueError(f"{name} is a {kind}, expected a {_kind(name)}")
    if name == "image":
        return values
    if feature.HasField("bytes_list"):
        return [v.decode() for v in values]
    return [bool(v) for v in values] if name in _FLAGS else values


def _record(columns: Columns) -> Record:
    height, width = columns["image/height"][0], columns["image/width"][0]
    if not limits.plausible(height, width):
        raise ValueError(f"{height} x {width}: no image's size")
    for name, most in (
        ("masks/rle", limits.MASKS),
        ("expressions/sent", limits.EXPRESSIONS),
    ):
        if len(columns[name]) > most:
            raise ValueError(f"{len(columns[name])} {name}, the limit is {most}")
    targets: dict[int, list[int]] = {}
    pairs = zip(columns["targets/expression"], columns["targets/mask"], strict=True)
    for expression, mask in pairs:
        targets.setdefault(expression, []).append(mask)
    boxes = iter(columns["masks/bbox"])
    columns["masks/bbox"] = list(zip(boxes, boxes, boxes, boxes, strict=True))
    rows = enumerate(_rows(columns, "expressions", _EXPRESSION))
    return Record(
        image=columns["image"][0],
        image_id=columns["image/id"][0],
        coco_id=columns["image/coco_id"][0],
        filename=columns["image/filename"][0],
        height=height,
        width=width,
        source=columns["image/source"][0],
        masks=tuple(Mask(**row) for row in _rows(columns, "masks", _MASK)),
        expressions=tuple(
            Expression(**row, targets=tuple(targets.get(i, ()))) for i, row in rows
        ),
    )


def _rows(columns: Columns, group: str, names: list[str]) -> Iterator[dict[str, Any]]:
    values = zip(*(columns[f"{group}/{name}"] for name in names), strict=True)
    return (dict(zip(names, row, strict=True)) for row in values)
