"""Every raw form of one benchmark gives the same masks and sentences."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers import raw_forms
from helpers.conversion import convert
from helpers.spoilt_forms import spoilt
from pycocotools import mask as coco_mask

from unires_jax.data import records
from unires_jax.data.catalogue import BENCHMARKS
from unires_jax.data.records import Record
from unires_jax.errors import DataError
from unires_jax.prepare.rejects import Rejects
from unires_jax.prepare.sources import recognise

UNC = BENCHMARKS["refcoco_unc"]
FORMS: dict[str, Callable[[Path], None]] = {
    "refer": raw_forms.write_refer,
    "cris": raw_forms.write_cris,
    "mdetr": raw_forms.write_mdetr,
    "tfds": raw_forms.write_tfds,
    "parquet": raw_forms.write_jxu124,
}


def sentences(
    converted: list[Record], field: str = "sent"
) -> list[tuple[str, int, str]]:
    """(split, image, sentence) of all expressions."""
    return sorted(
        (r.source, r.image_id, getattr(x, field))
        for r in converted
        for x in r.expressions
    )


def areas_of(converted: list[Record]) -> list[tuple[int, int]]:
    """(image, area of the decoded union) of all expressions."""
    return sorted(
        (
            r.image_id,
            int(records.target_mask(r, x).pixels().sum()),
        )
        for r in converted
        for x in r.expressions
    )


@pytest.mark.parametrize("form", FORMS)
def test_nothing_is_lost_in_any_form(tmp_path: Path, form: str) -> None:
    FORMS[form](tmp_path)
    assert recognise.recognise(tmp_path, UNC).form.name == form
    converted = convert(tmp_path)
    areas = {a["id"]: (a["image_id"], int(a["area"])) for a in raw_forms.annotations()}
    assert areas_of(converted) == sorted(
        areas[r["ann_id"]] for r in raw_forms.refs() * 2
    )
    assert sentences(converted) == sorted(
        (r["split"], r["image_id"], s["sent"])
        for r in raw_forms.refs()
        for s in r["sentences"]
    )
    for record in converted:
        records.validate(record)
        assert record.image == raw_forms.jpeg(record.image_id)
        assert record.coco_id == record.image_id
        assert record.filename == raw_forms.name(record.image_id)
    categories = {m.category for r in converted for m in r.masks}
    assert categories == {"person", "dog"}


@pytest.mark.parametrize("form", ["refer", "tfds", "parquet"])
def test_forms_that_keep_raw_polygons_and_ids_give_equal_records(
    tmp_path: Path, form: str
) -> None:
    raw_forms.write_refer(tmp_path / "refer")
    FORMS[form](tmp_path / "other")
    assert convert(tmp_path / "refer") == convert(tmp_path / "other")
    first = convert(tmp_path / "refer")[0]
    assert [x.ref_id for x in first.expressions] == [699, 699, 700, 700]
    assert [x.sent_index for x in first.expressions] == [0, 1, 0, 1]
    assert first.expressions[0].raw == "2nd Dog"
    pair = next(m for m in first.masks if m.ann_id == 12)
    assert json.loads(pair.segmentation) == raw_forms.annotations()[1]["segmentation"]


@pytest.mark.parametrize("protocol", [0, 1, 2, 4])
def test_refs_pickled_by_either_python(tmp_path: Path, protocol: int) -> None:
    raw_forms.write_refer(tmp_path, protocol)
    assert len(sentences(convert(tmp_path))) == 10


def test_refs_as_json_and_folder_itself(tmp_path: Path) -> None:
    raw_forms.write_refer(tmp_path)
    expected = convert(tmp_path)
    (tmp_path / "refcoco/refs(unc).p").unlink()
    raw_forms.write_json(tmp_path / "REFCOCO/Refs(UNC).json", raw_forms.refs())
    shutil.move(tmp_path / "refcoco/instances.json", tmp_path / "REFCOCO")
    shutil.rmtree(tmp_path / "refcoco")
    assert convert(tmp_path) == expected  # whatever the case of its names
    assert convert(tmp_path / "REFCOCO") == expected  # its images lie beside it


def test_one_referent_of_a_shared_mask_stores_it_once(tmp_path: Path) -> None:
    twin = raw_forms.refs()[0] | {"ref_id": 1}
    train = convert(spoilt(tmp_path, lambda refs, _: refs.append(twin)))[0]
    assert len(train.masks) == 2 and len(train.expressions) == 6
    assert {x.targets for x in train.expressions if x.ref_id in (1, 700)} == {(0,)}


def test_lmms_rows_of_two_benchmarks_are_left_out(tmp_path: Path) -> None:
    raw_forms.write_lmms(tmp_path)
    rejects = Rejects(share=0.0)
    converted = convert(tmp_path, rejects=rejects)
    assert [(r.source, len(r.expressions)) for r in converted] == [
        ("testA", 2),
        ("testB", 2),
    ]
    assert converted[0].image == raw_forms.jpeg(202)
    assert converted[0].filename == raw_forms.name(202)
    (note,) = rejects.notes
    words = "val-00000-of-00001.parquet: passed over: its rows are not refcoco_unc's"
    assert words in str(note)


def test_one_two_and_no_targets(tmp_path: Path) -> None:
    raw_forms.write_grefs(tmp_path)
    (record,) = convert(tmp_path, BENCHMARKS["grefcoco"])
    single, two, none = record.expressions
    assert [record.masks[t].ann_id for t in single.targets] == [11]
    assert [record.masks[t].ann_id for t in two.targets] == [12, 11]
    assert none.targets == () and none.no_target and not single.no_target
    assert len(record.masks) == 2


def test_mdetr_no_target(tmp_path: Path) -> None:
    raw_forms.write_images(tmp_path)
    raw_forms.write_json(tmp_path / "instances.json", raw_forms.instances())
    image = {"id": 5, "original_id": 101, "caption": "nobody"}
    box = {"image_id": 5, "id": 5, "original_id": -1, "empty": True}
    raw_forms.write_json(
        tmp_path / "finetune_grefcoco_val.json",
        {"images": [image], "annotations": [box]},
    )
    (record,) = convert(tmp_path, BENCHMARKS["grefcoco"])
    assert record.expressions[0].no_target and record.masks == ()


@pytest.mark.parametrize(
    ("lost", "message"),
    [
        ("refcoco/instances.json", "lacks: .*/refcoco/instances.json"),
        ("refcoco/refs(unc).p", r"no known form.*/refcoco/refs\(unc\).p"),
        ("images", "images/mscoco/images/train2014: no such folder"),
    ],
)
def test_what_is_missing_is_named_by_full_path(
    tmp_path: Path, lost: str, message: str
) -> None:
    raw_forms.write_refer(tmp_path)
    path = tmp_path / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(DataError, match=message) as caught:
        convert(tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_cris_without_masks_and_mdetr_without_instances(tmp_path: Path) -> None:
    raw_forms.write_cris(tmp_path / "c")
    shutil.rmtree(tmp_path / "c/masks")
    with pytest.raises(DataError, match=r"cris form .* lacks: .*/c/masks/refcoco"):
        convert(tmp_path / "c")
    raw_forms.write_mdetr(tmp_path / "m")
    (tmp_path / "m/annotations/instances_train2014.json").unlink()
    message = r"mdetr .* lacks: .*/m/instances_train2014.json"
    with pytest.raises(DataError, match=message):
        convert(tmp_path / "m")


def test_splits_that_are_not_there_are_told(tmp_path: Path) -> None:
    raw_forms.write_cris(tmp_path)
    (tmp_path / "anns/refcoco/testB.json").unlink()
    rejects = Rejects()
    records = convert(tmp_path, rejects=rejects)
    assert {r.source for r in records} == {"train", "val", "testA"}
    (note,) = rejects.notes
    words = f"{tmp_path}/anns/refcoco/testB.json: is not there; its split is left out"
    assert str(note) == words


def test_a_whole_form_is_preferred_to_one_that_lacks_something(tmp_path: Path) -> None:
    raw_forms.write_cris(tmp_path)
    raw_forms.write_refer(tmp_path)
    assert recognise.recognise(tmp_path, UNC).form.name == "refer"
    (tmp_path / "refcoco/instances.json").unlink()
    assert recognise.recognise(tmp_path, UNC).form.name == "cris"


def test_the_union_of_pieces_is_pycocotools_own(tmp_path: Path) -> None:
    raw_forms.write_refer(tmp_path)
    by_id = {a["id"]: a for a in raw_forms.annotations()}
    for record in convert(tmp_path):
        for mask in record.masks:
            source = by_id[mask.ann_id]
            want = coco_mask.decode(
                raw_forms.rle_of(source["segmentation"], record.image_id)
            )
            runs = records.runs_of(record, mask)
            assert np.array_equal(runs.pixels(), want)
            assert mask.area == want.sum()
            assert mask.bbox == pytest.approx(source["bbox"])
