"""`unires doctor`: each kind of fault is found, named, counted; good data passes."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import mres_lines, raw_forms, small_data
from helpers.spoilt_forms import spoilt

from unires_jax import cli
from unires_jax.data.catalogue import BENCHMARKS, Counts
from unires_jax.data.records import Record
from unires_jax.errors import DataError
from unires_jax.pixels.masks import RunMask
from unires_jax.prepare.doctor.command import examine
from unires_jax.prepare.doctor.report import Report


def faults(report: Report) -> set[tuple[str, str, str, int]]:
    return {(f.severity, f.kind, f.where, f.count) for f in report.findings}


def examples(report: Report, kind: str) -> str:
    return "\n".join(t for f in report.findings if f.kind == kind for t in f.examples)


def changed(record: Record, part: str, index: int, **values: Any) -> Record:
    """The record with other values in one of its masks or expressions."""
    rows = list(getattr(record, part))
    rows[index] = replace(rows[index], **values)
    return replace(record, **{part: tuple(rows)})


def test_good_prepared_data(tmp_path: Path) -> None:
    scenes = [small_data.scene(i) for i in range(5)]
    small_data.write(tmp_path, train=scenes[:3], val=scenes[3:])
    report = examine(tmp_path)
    assert report.findings == [] and report.errors == 0
    (holding,) = report.holdings
    assert (holding.name, holding.form) == ("tiny", "prepared")
    assert holding.splits["train"] == {
        "images": 3,
        "referents": 24,
        "expressions": 48,
        "part_expressions": 24,
        "masks": 24,
    }


SCENE = small_data.scene(0)
NOTHING = RunMask.empty(SCENE.height, SCENE.width).counts
OTHER_SIZE = RunMask.from_pixels(np.ones((3, 5), bool)).counts
FAULTS = [
    (changed(SCENE, "masks", 0, rle=OTHER_SIZE), "error", "size differs", "ann_id 0"),
    (changed(SCENE, "masks", 0, rle=NOTHING), "error", "mask empty", "ann_id 0"),
    (changed(SCENE, "masks", 1, rle="\n"), "error", "unusable", "invalid character"),
    (
        changed(SCENE, "masks", 2, bbox=(0.0, 0.0, 60.0, 40.0)),
        "warning",
        "box differs",
        "8.0",
    ),
    (changed(SCENE, "expressions", 3, sent=" "), "error", "sentence empty", "[3]"),
    (changed(SCENE, "expressions", 3, raw="caf\ufffd"), "warning", "UTF-8", "lost"),
    (changed(SCENE, "expressions", 3, targets=()), "error", "mask empty", "lost"),
    (changed(SCENE, "expressions", 0, sent_id=1), "error", "id twice", "(0, 1)"),
    (changed(SCENE, "masks", 1, ann_id=0), "error", "id twice", "ann_id occurs"),
    (replace(SCENE, image=SCENE.image[:300]), "error", "image unreadable", "truncated"),
    (
        replace(SCENE, image=small_data.scene(9, height=20).image),
        "error",
        "size differs",
        "20 x 60",
    ),
    (replace(SCENE, image_id=1), "error", "id twice", "image_id 1"),
    (
        changed(SCENE, "expressions", 5, sent=SCENE.expressions[0].sent),
        "warning",
        "sentence ambiguous",
        "means other masks as sentence 0 than as sentence 21",
    ),
]


@pytest.mark.parametrize(("record", "severity", "kind", "words"), FAULTS)
def test_faults_of_prepared_records(
    tmp_path: Path, record: Record, severity: str, kind: str, words: str
) -> None:
    folder = small_data.write(tmp_path, val=[small_data.scene(1)])
    small_data.write(tmp_path / "bad", val=[record, small_data.scene(1)])
    report = examine(tmp_path / "bad")
    assert (severity, kind, "tiny/val", 1) in faults(report)
    assert words in examples(report, kind) and "image" in examples(report, kind)
    assert {f.kind for f in report.findings} == {kind}
    assert report.errors == (severity == "error")
    assert examine(folder).errors == 0


def test_an_image_in_two_splits(tmp_path: Path) -> None:
    scenes = [small_data.scene(i) for i in range(4)]
    small_data.write(tmp_path, train=scenes[:3], val=scenes[2:])
    report = examine(tmp_path)
    shared = {f for f in faults(report) if f[1] == "image shared"}
    assert [f[0] for f in shared] == ["warning"]
    assert "1 image_ids are in" in examples(report, "image shared")


@pytest.mark.parametrize("damage", ["absent", "cut"])
def test_damaged_shards(tmp_path: Path, damage: str) -> None:
    folder = small_data.write(tmp_path, train=[small_data.scene(0)])
    (shard,) = folder.glob("*.array_record*")
    if damage == "absent":
        shard.unlink()
    else:
        shard.write_bytes(shard.read_bytes()[:2000])
    report = examine(tmp_path)
    assert report.errors >= 1
    assert {f.severity for f in report.findings} == {"error"}


def test_a_shard_of_more_records_than_listed(tmp_path: Path) -> None:
    scenes = [small_data.scene(i) for i in range(3)]
    info = small_data.write(tmp_path, train=scenes) / "dataset_info.json"
    content = json.loads(info.read_text())
    content["splits"][0]["shardLengths"] = ["2"]
    info.write_text(json.dumps(content))
    report = examine(tmp_path)
    assert report.errors == 1
    assert "holds 3 records, dataset_info.json lists 2" in str(report.findings)


def test_jsonl(tmp_path: Path) -> None:
    mres_lines.write_files(tmp_path)
    good = mres_lines.good_line()
    absent = mres_lines.good_line() | {"image": "images/b.jpg", "image_id": 1}
    upper = mres_lines.good_line() | {"image": "images/A.jpg", "image_id": 2}
    mres_lines.write_lines(tmp_path / "train.jsonl", [good, absent, upper])
    with (tmp_path / "val.jsonl").open("wb") as file:
        file.write(b'{"image": "\xff"}\n{}\n')
    report = examine(tmp_path)
    assert faults(report) == {
        ("error", "image absent", "mres32m/train", 2),
        ("error", "UTF-8", "mres32m/val", 1),
        ("error", "unusable", "mres32m/val", 1),
    }
    assert f"{tmp_path}/train.jsonl:2: image: " in examples(report, "image absent")
    assert "upper and lower case differ" in examples(report, "image absent")
    assert report.holdings[0].splits["train"]["masks"] == 4


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counts that the small benchmark reaches."""
    few = {"train": Counts(referents=2, expressions=4), "val": Counts(referents=1)}
    few |= {"testA": Counts(referents=1), "testB": Counts(images=1)}
    row = BENCHMARKS["refcoco_unc"]._replace(counts=few)
    monkeypatch.setitem(BENCHMARKS, row.name, row)


@pytest.mark.parametrize("form", ["refer", "cris", "tfds", "jxu124"])
@pytest.mark.usefixtures("published")
def test_good_raw_forms(tmp_path: Path, form: str) -> None:
    if form == "jxu124":
        pytest.importorskip("pyarrow")
    getattr(raw_forms, f"write_{form}")(tmp_path)
    report = examine(tmp_path)
    (holding,) = (h for h in report.holdings if h.name == "refcoco_unc")
    assert holding.splits["train"]["expressions"] == 4
    assert not {f for f in faults(report) if f[2].startswith("refcoco_unc")} - {
        ("warning", "image shared", "refcoco_unc/testA", 1),
        ("warning", "image shared", "refcoco_unc/val", 1),
        ("warning", "sentence ambiguous", "refcoco_unc/train", 2),  # of two referents
    }


def test_published_counts(tmp_path: Path) -> None:
    raw_forms.write_refer(tmp_path)
    report = examine(tmp_path)
    assert ("error", "count differs", "refcoco_unc/val", 2) in faults(report)
    assert "1 referents, expected 3,811" in examples(report, "count differs")
    assert "2 expressions, expected 10,834" in examples(report, "count differs")


def test_a_split_that_is_not_there(tmp_path: Path) -> None:
    raw_forms.write_cris(tmp_path)
    (tmp_path / "anns/refcoco/testB.json").unlink()
    report = examine(tmp_path)
    texts = examples(report, "split missing")
    assert f"{tmp_path}/anns/refcoco/testB.json is not there" in texts
    assert "expected 1,810 referents, 5,095 expressions" in texts


def test_files_that_are_not_there(tmp_path: Path) -> None:
    raw_forms.write_refer(tmp_path)
    (tmp_path / "refcoco/instances.json").unlink()
    report = examine(tmp_path)
    assert ("error", "file missing", "refcoco_unc", 1) in faults(report)
    lost = f"{tmp_path}/refcoco/instances.json is not there"
    assert lost in examples(report, "file missing")


@pytest.mark.usefixtures("published")
def test_pictures_that_are_not_there(tmp_path: Path) -> None:
    raw_forms.write_refer(tmp_path)
    folder = tmp_path / "images/mscoco/images/train2014"
    (folder / raw_forms.name(303)).unlink()
    report = examine(tmp_path)
    assert ("error", "image absent", "refcoco_unc/testB", 1) in faults(report)
    assert raw_forms.name(303) in examples(report, "image absent")
    elsewhere = tmp_path.parent / f"{tmp_path.name}-elsewhere"
    folder.rename(elsewhere)
    shutil.rmtree(tmp_path / "images")
    report = examine(tmp_path)
    assert ("error", "file missing", "refcoco_unc", 1) in faults(report)
    report = examine(tmp_path, elsewhere)
    assert ("error", "image absent", "refcoco_unc/testB", 1) in faults(report)


@pytest.mark.usefixtures("published")
def test_names_in_another_case(tmp_path: Path) -> None:
    raw_forms.write_refer(tmp_path)
    (tmp_path / "refcoco/refs(unc).p").rename(tmp_path / "refcoco/Refs(UNC).p")
    (tmp_path / "images").rename(tmp_path / "Images")
    report = examine(tmp_path)
    assert report.errors == 0
    assert ("warning", "wrong case", "refcoco_unc", 2) in faults(report)
    assert "other projects look for 'refs(unc).p'" in examples(report, "wrong case")
    assert "other projects look for 'images'" in examples(report, "wrong case")


def test_faults_of_raw_entries(tmp_path: Path) -> None:
    def change(refs: Any, instances: Any) -> None:
        refs[0]["sentences"][0]["sent"] = ""
        refs[1]["sentences"][0]["sent_id"] = refs[1]["sentences"][1]["sent_id"]
        instances["annotations"][2]["segmentation"]["size"] = [9, 9]

    report = examine(spoilt(tmp_path, change))
    kinds = {f[1] for f in faults(report) if f[0] == "error"}
    assert {"sentence empty", "id twice", "size differs"} <= kinds
    assert ":  " not in examples(report, "sentence empty")


def test_an_annotation_s_id_for_two(tmp_path: Path) -> None:
    twin = {**raw_forms.annotations()[0], "image_id": 303}
    change = lambda refs, instances: instances["annotations"].append(twin)  # noqa: E731
    report = examine(spoilt(tmp_path, change))
    assert ("error", "id twice", "refcoco_unc", 1) in faults(report)
    assert f"id {twin['id']} occurs twice" in examples(report, "id twice")


def test_refcocom_and_refcoco_m(tmp_path: Path) -> None:
    raw_forms.write_refcocom(tmp_path / "m")
    report = examine(tmp_path / "m")
    assert [h.name for h in report.holdings] == ["refcocom"]
    assert "3 part expressions, expected about 26,600" in examples(
        report, "count differs"
    )
    pytest.importorskip("pyarrow")
    raw_forms.write_moondream(tmp_path / "moondream")
    report = examine(tmp_path / "moondream")
    assert [h.name for h in report.holdings] == ["refcoco_m"]
    assert "1 images, expected 1,190" in examples(report, "count differs")


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small_data.write(tmp_path / "good", val=[small_data.scene(1)])
    out = tmp_path / "report.json"
    assert cli.main(["doctor", str(tmp_path / "good"), "--json", str(out)]) == 0
    assert "Nothing is wrong" in capsys.readouterr().out
    assert json.loads(out.read_text())["findings"] == []

    record = changed(SCENE, "masks", 0, rle=OTHER_SIZE)
    small_data.write(tmp_path / "bad", val=[record])
    assert cli.main(["doctor", str(tmp_path / "bad"), "--json", str(out)]) == 1
    printed = capsys.readouterr().out
    assert "size differs" in printed and "\n1 error " in printed
    report = json.loads(out.read_text())
    (finding,) = report["findings"]
    assert (finding["kind"], finding["count"]) == ("size differs", 1)
    assert report["errors"] == 1
    assert report["holdings"][0]["splits"]["val"]["images"] == 1

    (tmp_path / "empty").mkdir()
    assert cli.main(["doctor", str(tmp_path / "empty")]) == 1
    assert "nothing known" in capsys.readouterr().out
    assert cli.main(["doctor", str(tmp_path / "nowhere")]) == 1
    assert "no such folder" in capsys.readouterr().err


def test_published_numbers_of_the_paper() -> None:
    unc = BENCHMARKS["refcoco_unc"].counts
    assert sum(c.expressions or 0 for c in unc.values()) == 142_210
    google = BENCHMARKS["refcoco_google"].counts.values()  # partitions the objects
    assert sum(c.referents or 0 for c in google) == 50_000
    assert sum(c.referents or 0 for c in unc.values()) == 50_000
    refcocom = BENCHMARKS["refcocom"].counts["val"]
    assert refcocom.describe() == "about 33,000 part expressions"
    with pytest.raises(DataError):
        examine("nowhere at all")
