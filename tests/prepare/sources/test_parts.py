"""RefCOCOm's rules (parent, part name, object half) and moondream's RefCOCO-M."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import raw_forms
from helpers.raw_forms import stored
from helpers.small_data import mask_of
from helpers.spoilt_forms import spoilt

from unires_jax.data.catalogue import BENCHMARKS
from unires_jax.data.records import OBJECT, PART, Mask, runs_of
from unires_jax.errors import DataError
from unires_jax.prepare import build
from unires_jax.prepare.rejects import Rejects
from unires_jax.prepare.sources import refcocom
from unires_jax.prepare.sources.form import Raw
from unires_jax.prepare.sources.part_names import UNNAMED, part_name
from unires_jax.prepare.sources.pictures import Spool


@pytest.mark.parametrize(
    ("sentence", "part"),
    [
        ("wheels of flatbed truck with car loaded", "wheel"),
        ("Tire of black truck on road", "tire"),
        ("Laptop screen left", "screen"),
        ("Wings of bird with a white body", "wing"),
        ("the left dog's head", "head"),
        ("man in blue left arm", "arm"),
        ("feet of the guy", "foot"),
        ("left of the man's head", "head"),
        ("license plates of car", "license plate"),
        ("cup\u2019s handle", "handle"),
        ("Legs of woman", "leg"),
        ("the thing there", UNNAMED),
        ("", UNNAMED),
    ],
)
def test_part_names(sentence: str, part: str) -> None:
    assert part_name(sentence) == part


def mask(ann_id: int, x: int, y: int, w: int, h: int) -> Mask:
    return mask_of(raw_forms.pixels(101, x, y, w, h).astype(bool), ann_id)


def test_the_parent_holds_most_of_the_part_and_at_least_half() -> None:
    part = mask(1, 10, 10, 4, 4)
    half, most = mask(2, 10, 10, 2, 4), mask(3, 10, 10, 3, 4)
    less = mask(4, 10, 10, 1, 4)

    def parent(*objects: Mask) -> Mask | None:
        return refcocom.find_parent(part, objects, *raw_forms.SIZES[101])

    assert parent(half) == half
    assert parent(half, most) == parent(most, half) == most
    assert parent(less) is None and parent() is None
    assert parent(dataclasses.replace(half, rle="")) is None  # of another size


def test_objects_from_the_object_part_files(tmp_path: Path, capsys) -> None:
    raw_forms.write_refcocom(tmp_path / "raw")
    build.build("refcocom", tmp_path, raw=str(tmp_path / "raw"))
    (record,) = stored("refcocom:testA", tmp_path)
    by_ref = {x.ref_id: x for x in record.expressions}
    assert sorted(by_ref) == [1, 2, 3, 11]
    assert [by_ref[i].level for i in (1, 2, 3, 11)] == [PART, PART, PART, OBJECT]
    masks = {i: record.masks[by_ref[i].targets[0]] for i in by_ref}
    assert [masks[i].part for i in (1, 2, 3, 11)] == ["head", "wrist", UNNAMED, ""]
    parents = [masks[i].parent for i in (1, 2, 3, 11)]
    of_head, *others = [p >= 0 and record.masks[p].ann_id for p in parents]
    assert of_head == 11 and not any(others)
    assert all(len(x.targets) == 1 for x in record.expressions)
    printed = capsys.readouterr().out
    assert "1 object and 3 part referents" in printed
    assert "2 named by the lexicon (2 names), 1 with a parent" in printed
    assert "val_part_only.json: not there" in printed


def test_objects_from_refcoco_unc(tmp_path: Path) -> None:
    raw_forms.write_refcocom(tmp_path / "raw", object_part=False)

    def move(refs: Any, instances: Any) -> None:
        for ref in refs:
            ref["split"] = "testA" if ref["image_id"] == 101 else ref["split"]

    spoilt(tmp_path / "unc", move)
    build.build(
        "refcocom", tmp_path, raw=str(tmp_path / "raw"), objects=str(tmp_path / "unc")
    )
    records_ = stored("refcocom:testA", tmp_path)
    record = next(r for r in records_ if r.image_id == 101)
    levels = [x.level for x in record.expressions]
    assert (levels.count(OBJECT), levels.count(PART)) == (4, 3)
    head = next(m for m in record.masks if m.part == "head")
    parent = record.masks[head.parent]
    assert parent.ann_id == 11 and parent.segmentation and parent.level == OBJECT
    assert head.category == "person"  # its own entry has no cat
    assert {r.image_id for r in records_} == {101, 202}


def test_objects_from_rows_that_hold_their_pictures(tmp_path: Path) -> None:
    """Rows hold the pictures of their referents; `images` serves parts of others."""
    raw_forms.write_refcocom(tmp_path / "raw")
    raw_forms.write_lmms(tmp_path / "unc")
    for path in (tmp_path / "unc/data").iterdir():
        if not path.name.startswith("testB"):
            path.unlink()
    build.build(
        "refcocom",
        tmp_path,
        raw=str(tmp_path / "raw"),
        objects=str(tmp_path / "unc"),
        images=str(tmp_path / "raw/images/train2014"),
    )
    (record,) = stored("refcocom:testA", tmp_path)
    assert {x.level for x in record.expressions} == {PART}


def test_parts_alone_and_files_that_are_missing(tmp_path: Path, capsys) -> None:
    raw_forms.write_refcocom(tmp_path, object_part=False)
    row = BENCHMARKS["refcocom"]
    raw = Raw(tmp_path, Spool(tmp_path))
    source = refcocom.read(raw, row, Rejects(share=0.0))
    assert [r.masks[0].parent for r in source.referents] == [-1, -1, -1]
    assert "testA_object_part.json: not there" in capsys.readouterr().out
    with pytest.raises(DataError, match=r"none/annotations/val_part_only\.json"):
        refcocom.read(Raw(tmp_path / "none", raw.spool), row, Rejects())


def test_moondream_is_kept_apart_by_name(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw_forms.write_moondream(raw)
    folder = build.build("refcoco_m", tmp_path, raw=str(raw))
    assert folder == tmp_path / "refcoco_m/1.0.0"
    (record,) = stored("refcoco_m:val", tmp_path)
    assert record.source == "refcoco_m"
    assert [x.ref_id for x in record.expressions] == [11, 11, 12, 12]
    for i, stored_mask in enumerate(record.masks):
        want = raw_forms.pixels(101, 4 * i, 2, 3, 4)
        pixels = runs_of(record, stored_mask).pixels()
        assert np.array_equal(pixels, want)
    for name, config in (("refcoco", "refcoco_unc"), ("refcocom", None)):
        options = {"config": config} if config else {}
        with pytest.raises(DataError, match=r"no known form|no such"):
            build.build(name, tmp_path, raw=str(raw), **options)
    raw_forms.write_jxu124(tmp_path / "other")
    with pytest.raises(DataError, match="of jxu124's schema"):
        build.build("refcoco_m", tmp_path / "d", raw=str(tmp_path / "other"))
