"""PartWorld's records: masks, sizes, determinism, and sheets for people."""

import os
import subprocess
import sys

import cv2
import numpy as np
from helpers.listener import box
from helpers.paths import ROOT

from unires_jax import partworld
from unires_jax.data import records
from unires_jax.partworld import kinds, sheet
from unires_jax.partworld.render import MIN_ACROSS


def test_records_are_valid_and_parts_lie_inside_their_object():
    for index in range(30):
        record = partworld.draw_record(3, "train", index)
        records.validate(record)
        shape = cv2.imdecode(np.frombuffer(record.image, np.uint8), 1).shape
        assert shape == (record.height, record.width, 3)
        assert max(shape) == 160
        masks = [records.runs_of(record, m).pixels() for m in record.masks]
        objects = [
            m for m, row in zip(masks, record.masks, strict=True) if not row.part
        ]
        assert 2 <= len(objects) <= 6
        assert sum(m.astype(int) for m in objects).max() == 1
        for mask, row in zip(masks, record.masks, strict=True):
            assert row.area == mask.sum() > 0
            left, top, right, bottom = box(mask)
            assert row.bbox == (left, top, right - left, bottom - top)
            if row.part:
                parent = record.masks[row.parent]
                assert (parent.category, parent.part) == (row.category, "")
                assert not (mask & ~masks[row.parent]).any()


def test_referred_parts_are_ten_pixels_across_at_128_pixels():
    assert MIN_ACROSS * 128 / 160 == 10
    for index in range(30):
        record = partworld.draw_record(3, "val", index)
        scale = 128 / max(record.height, record.width)
        for expression in record.expressions:
            for target in expression.targets:
                if expression.level == records.PART:
                    assert min(record.masks[target].bbox[2:]) * scale >= 10


def test_train_masks_do_not_show_held_out_parts():
    parts = [
        (m.category, m.part)
        for i in range(60)
        for m in partworld.draw_record(0, "train", i).masks
    ]
    assert ("truck", "wheel") in parts
    assert not set(parts) & kinds.NOVEL_PARTS


def test_a_scene_depends_on_seed_split_and_index_alone():
    first = partworld.draw_record(1, "train", 7)
    partworld.draw_record(2, "val", 3)
    assert partworld.draw_record(1, "train", 7) == first
    others = [(2, "train", 7), (1, "val", 7), (1, "train", 8)]
    assert all(partworld.draw_record(*key).image != first.image for key in others)


def test_records_do_not_depend_on_the_number_of_processes():
    alone = list(partworld.draw_records(0, "val", 70, workers=1))
    assert list(partworld.draw_records(0, "val", 70, workers=2)) == alone
    assert [r.filename for r in alone[:2]] == ["val_000000.jpg", "val_000001.jpg"]
    assert len({r.image_id for r in alone}) == 70


def test_a_sheet_lights_up_the_targets():
    scenes = [partworld.draw_scene(0, "val", i) for i in range(4)]
    picture = sheet.sheet(scenes, columns=2)
    side, height = sheet.TILE, sheet.TILE + sheet.CAPTION
    assert picture.shape == (2 * height, 2 * side, 3)
    chart = sheet.kinds_chart()
    assert chart.std() > 30 and chart[0, 0].tolist() == [255, 255, 255]


def test_processes_draw_for_a_program_from_standard_input() -> None:
    """Which cannot be run again in them, and has no guard of `__name__`."""
    code = "from unires_jax import partworld\nprint(len(list("
    code += "partworld.draw_records(0, 'val', 70, workers=2))))\n"
    done = subprocess.run(
        [sys.executable, "-"],
        input=code,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.stdout.split() == ["70"], done.stderr
