"""Records come back from disk as they were written."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from helpers import small_data
from helpers.programs import run

from unires_jax.data import prepared
from unires_jax.data.records import Record
from unires_jax.data.stored import parse
from unires_jax.errors import DataError


def odd_records() -> list[Record]:
    plain = small_data.scene(0)
    bare = replace(small_data.scene(1), masks=(), expressions=())
    first = plain.expressions[0]
    rich = replace(
        small_data.scene(2),
        coco_id=7,
        filename="ünï.jpg",
        masks=(
            replace(plain.masks[0], iscrowd=True, segmentation="[[1, 2]]"),
            *plain.masks[1:],
        ),
        expressions=(
            replace(first, targets=(3, 1), raw="Grey", sent="gray é"),
            replace(first, targets=(), no_target=True, sent_id=2**40),
        ),
    )
    return [plain, bare, rich]


def test_records_round_trip(tmp_path: Path) -> None:
    written = odd_records()
    folder = small_data.write(tmp_path, train=written)
    split = prepared.open_split(f"{folder}:train")
    read = {split[i].image_id: split[i] for i in range(len(split))}
    assert read == {r.image_id: r for r in written}
    flags = [m.iscrowd for r in read.values() for m in r.masks]
    assert {type(f) for f in flags} == {bool} and any(flags)
    assert type(read[0].masks[0].bbox[0]) is float


def test_equal_to_tfds_decoding(tmp_path: Path) -> None:
    folder = small_data.write(tmp_path, train=odd_records())
    builder = tfds.builder_from_directory(str(folder))
    skip = {"image": tfds.decode.SkipDecoding()}
    theirs = builder.as_data_source("train", decoders=skip)
    ours = prepared.open_split(f"{folder}:train")
    for i in range(len(ours)):
        example, record = theirs[i], ours[i]
        assert example["image"] == record.image
        assert example["image/id"] == record.image_id
        groups = {"masks": record.masks, "expressions": record.expressions}
        for group, rows in groups.items():
            for name, column in example[group].items():
                values = [getattr(row, name) for row in rows]
                values = [v.encode() if isinstance(v, str) else v for v in values]
                assert len(column) == len(values), name
                assert (
                    all(map(np.array_equal, column, np.float32(values)))
                    if (name in ("area", "bbox"))
                    else list(column) == values
                ), name


def test_another_schema_is_told() -> None:
    from tensorflow_datasets.proto import tf_example_pb2

    example = tf_example_pb2.Example()
    example.features.feature["image"].bytes_list.value.append(b"x")
    with pytest.raises(DataError, match="another version wrote it"):
        parse(example.SerializeToString())


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("partworld", "unires build partworld --data_dir {}"),
        ("refcoco/refcoco_unc", "unires build refcoco --config refcoco_unc "),
        ("people/mres32m/1.0.0", "unires build mres32m --data_dir {}/people"),
    ],
)
def test_what_is_not_there_can_be_built_as_the_message_says(
    name: str, remedy: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=re.escape(remedy.format(tmp_path))):
        prepared.open_split(f"{name}:train", str(tmp_path))


def test_reading_a_record_imports_nothing_under_lazy_imports(tmp_path: Path) -> None:
    """Importing TFDS beside a checkpoint's thread ended a training, rarely."""
    folder = small_data.write(tmp_path, train=odd_records())
    read = f"""
import sys
from unires_jax.data.prepared import open_split
split = open_split("{folder}:train")
before = {{*sys.modules}}
split[0]
print(sorted(n for n in {{*sys.modules}} - before if n.startswith(("tensor", "etils"))))
"""
    done = run("-c", read)
    assert done.stdout.splitlines()[-1:] == ["[]"], done.stderr
