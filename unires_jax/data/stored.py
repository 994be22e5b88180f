"""A record as TFDS stores it: its features, the example written, the bytes read.

The stored `tf.train.Example` is read directly: TFDS's own decoding of the same bytes
takes several times as long, about a fifth of what decoding the JPEG does.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from tensorflow_datasets.proto import tf_example_pb2

from unires_jax.data.records import Expression, Mask, Record
from unires_jax.errors import DataError
from unires_jax.pixels import orientation

Columns = dict[str, Sequence[Any]]

_MASK = [f.name for f in dataclasses.fields(Mask)]
_EXPRESSION = [f.name for f in dataclasses.fields(Expression) if f.name != "targets"]
_FLAGS = {"masks/iscrowd", "expressions/no_target"}


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

    return tfds.core.DatasetInfo(
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

    Raises DataError if the bytes hold another schema.
    """
    stored = tf_example_pb2.Example.FromString(data).features.feature
    columns = {name: _values(name, feature) for name, feature in stored.items()}
    try:
        return _record(columns)
    except (KeyError, ValueError, IndexError) as error:
        raise DataError(
            f"{type(error).__name__} {error} among its fields {sorted(columns)}; "
            "another version wrote it, build the data again",
            place="stored record",
        ) from None


def coco_id(data: bytes) -> int:
    """The image/coco_id of stored bytes; -1 if there is none."""
    features = tf_example_pb2.Example.FromString(data).features.feature
    values = features["image/coco_id"].int64_list.value
    return int(values[0]) if values else -1


def _values(name: str, feature: Any) -> Sequence[Any]:
    values = getattr(feature, feature.WhichOneof("kind")).value
    if name == "image":
        return values
    if feature.HasField("bytes_list"):
        return [v.decode() for v in values]
    return [bool(v) for v in values] if name in _FLAGS else values


def _record(columns: Columns) -> Record:
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
        height=columns["image/height"][0],
        width=columns["image/width"][0],
        source=columns["image/source"][0],
        masks=tuple(Mask(**row) for row in _rows(columns, "masks", _MASK)),
        expressions=tuple(
            Expression(**row, targets=tuple(targets.get(i, ()))) for i, row in rows
        ),
    )


def _rows(columns: Columns, group: str, names: list[str]) -> Iterator[dict[str, Any]]:
    values = zip(*(columns[f"{group}/{name}"] for name in names), strict=True)
    return (dict(zip(names, row, strict=True)) for row in values)
