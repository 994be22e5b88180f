"""What a folder holds of which data set: read once, not mixed, or told."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from helpers import raw_forms
from helpers.conversion import convert

from unires_jax.data.catalogue import BENCHMARKS, Counts
from unires_jax.data.prepared import open_split
from unires_jax.errors import DataError
from unires_jax.prepare import build, build_summary
from unires_jax.prepare.doctor.command import examine
from unires_jax.prepare.rejects import Rejects
from unires_jax.prepare.sources import identity

pytest.importorskip("pyarrow")
UNC = BENCHMARKS["refcoco_unc"]
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 146946961\n"


def notes(rejects: Rejects) -> str:
    return "\n".join(map(str, rejects.notes))


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("data/val-00000-of-00001.parquet", ""),
        ("RefCOCO/data/val.parquet", ""),
        ("RefCOCOplus/data/val.parquet", "refcoco+"),
        ("jxu124--refcocog/val.parquet", "refcocog"),
        ("refcoco/RefCOCO+/val.parquet", "refcoco+"),
        ("refcocog/refcoco/val.parquet", ""),  # the nearest to the file
        ("refcoco_google/val.parquet", "refcoco google"),
        ("refcoco_unc/val.parquet", ""),
        ("refcocog/refcoco+refcocog/val.parquet", ""),  # a collection
        ("grefcoco/val.parquet", "grefcoco"),
        ("refcoco-m/val.parquet", "refcocom"),
        ("refcoco_mscoco/val.parquet", ""),
        ("xrefcocog/val.parquet", ""),
        ("refcoco_unc_testA-00000-of-00001.parquet", ""),
        ("refcocog_umd_test-00000-of-00001.parquet", "refcocog umd"),
    ],
)
def test_the_nearest_name_in_a_path_decides(path: str, name: str) -> None:
    assert identity.other(Path("raw", path), Path("raw"), UNC) == name


@pytest.mark.parametrize(
    ("root", "name"),
    [
        ("/data/refcocog/raw", ""),  # a folder above is the user's own
        ("/data/refcocog", "refcocog"),
        ("/c/hub/datasets--lmms-lab--RefCOCOplus/snapshots/0a1b", "refcoco+"),
        ("/c/hub/datasets--lmms-lab--RefCOCO/snapshots/0a1b", ""),
    ],
)
def test_the_folder_itself_and_the_hub_s_cache_say_what_they_are(
    root: str, name: str
) -> None:
    assert identity.other(Path(root, "data/a.parquet"), Path(root), UNC) == name


@pytest.mark.parametrize("form", ["jxu124", "lmms"])
def test_three_repositories_in_one_folder_are_not_mixed(
    tmp_path: Path, form: str
) -> None:
    write = getattr(raw_forms, f"write_{form}")
    write(tmp_path / "RefCOCO")
    expected = len(convert(tmp_path / "RefCOCO"))
    for name in ("RefCOCOplus", "RefCOCOg"):
        write(tmp_path / name)
    if form == "jxu124":
        shutil.copytree(tmp_path / "RefCOCO/train2014", tmp_path / "train2014")
    rejects = Rejects()
    assert len(convert(tmp_path, rejects=rejects)) == expected
    assert "its path names refcoco+, refcoco_unc is asked for" in notes(rejects)
    shutil.rmtree(tmp_path / "RefCOCO")
    with pytest.raises(DataError, match=r"no known form.*its path names refcoco\+"):
        convert(tmp_path)


@pytest.mark.parametrize("form", ["jxu124", "lmms"])
def test_the_same_rows_twice_are_taken_once(tmp_path: Path, form: str) -> None:
    getattr(raw_forms, f"write_{form}")(tmp_path)
    once = convert(tmp_path)
    (tmp_path / "default/testA").mkdir(parents=True)
    split = "testA" if form == "lmms" else "test"
    path = tmp_path / f"data/{split}-00000-of-00001.parquet"
    shutil.copy(path, tmp_path / "default/testA/0000.parquet")
    shutil.copytree(tmp_path / "data", tmp_path / "older/data")
    rejects = Rejects()
    assert convert(tmp_path, rejects=rejects) == once
    assert "rows that lie there already are taken once" in notes(rejects)


def test_two_versions_of_one_split_are_refused(tmp_path: Path) -> None:
    raw_forms.write_lmms(tmp_path / "a")
    raw_forms.write_lmms(tmp_path / "b")
    path = tmp_path / "b/data/testA-00000-of-00001.parquet"
    import pyarrow.parquet as pq

    rows = pq.read_table(path).to_pylist()
    raw_forms.write_rows(path, [r | {"answer": ["another"]} for r in rows])
    message = r"b/data/testA.* same part of testA as .*a/data/testA.*--raw"
    with pytest.raises(DataError, match=message):
        convert(tmp_path)


def test_a_split_with_the_counts_of_another_benchmark_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw_forms.write_lmms(tmp_path)
    few = {"test": Counts(referents=1)}
    plus = BENCHMARKS["refcocoplus_unc"]._replace(counts=few)
    monkeypatch.setitem(BENCHMARKS, plus.name, plus)
    with pytest.raises(
        DataError, match=r"1 referents of testA, as many as test of refcocoplus"
    ):
        convert(tmp_path)


def test_refer_s_files_in_the_folder_itself_are_of_its_name(tmp_path: Path) -> None:
    raw_forms.write_refer(tmp_path, dataset="refcoco+")
    with pytest.raises(DataError, match=r"its folder is called refcoco\+, not refcoco"):
        convert(tmp_path / "refcoco+")
    assert convert(tmp_path / "refcoco+", BENCHMARKS["refcocoplus_unc"])


def test_files_that_are_none_stop_no_build_that_does_not_need_them(
    tmp_path: Path,
) -> None:
    raw_forms.write_refer(tmp_path)
    expected = convert(tmp_path)
    (tmp_path / "._x.parquet").write_bytes(b"\0\5\26\7")
    (tmp_path / "y.parquet").write_bytes(b"no parquet")
    (tmp_path / "z.parquet").write_bytes(POINTER)
    raw_forms.write_rows(tmp_path / "v.parquet", [{"problem": "a", "solution": "b"}])
    rejects = Rejects()
    assert convert(tmp_path, rejects=rejects) == expected
    said = notes(rejects)
    for words in (
        "_x.parquet: passed over: its name begins with a dot",
        "y.parquet: passed over: is no parquet",
        "z.parquet: passed over: is a pointer of git-lfs",
        "v.parquet: passed over: its columns problem, solution are of no known",
    ):
        assert words in said
    shutil.rmtree(tmp_path / "refcoco")
    (tmp_path / "refcoco.zip").write_bytes(b"PK")
    with pytest.raises(DataError, match=r"no known form.*problem, solution.*unpack"):
        convert(tmp_path)
    report = examine(tmp_path)
    told = [t for f in report.findings if f.kind == "to know" for t in f.examples]
    assert report.errors and len(told) >= 3


@pytest.mark.parametrize("damage", ["pointer", "lost", "damaged"])
def test_a_part_of_a_split_that_is_not_there_is_no_split(
    tmp_path: Path, damage: str
) -> None:
    raw_forms.write_lmms(tmp_path)
    whole = tmp_path / "data/testA-00000-of-00001.parquet"
    whole.rename(tmp_path / "data/testA-00000-of-00002.parquet")
    other = tmp_path / "data/testA-00001-of-00002.parquet"
    if damage != "lost":
        other.write_bytes(POINTER if damage == "pointer" else b"PAR1")
    with pytest.raises(DataError, match=r"lacks: .*testA-00001-of-00002\.parquet"):
        convert(tmp_path)
    (tmp_path / "data/testA-00000-of-00002.parquet").unlink()
    if damage != "lost":  # nothing is left of the split: it is no less wanted
        with pytest.raises(DataError, match=r"lacks: .*testA-00001-of-00002"):
            convert(tmp_path)
        other.rename(tmp_path / "data/notes.parquet")  # of no split
    assert {r.source for r in convert(tmp_path)} == {"testB"}


def test_rows_with_ids_are_preferred_to_the_same_without(tmp_path: Path) -> None:
    raw_forms.write_jxu124(tmp_path)
    expected = convert(tmp_path)
    raw_forms.write_lmms(tmp_path / "lmms")
    rejects = Rejects()
    assert convert(tmp_path, rejects=rejects) == expected
    assert "its rows have no ids, and lie beside jxu124's" in notes(rejects)
    (tmp_path / "data").rename(tmp_path / "refcocog")  # another's rows have no say
    assert {r.source for r in convert(tmp_path)} == {"testA", "testB"}


@pytest.mark.parametrize("file", ["instances.json", "refs(unc).p"])
def test_pointers_are_named_as_such(tmp_path: Path, file: str) -> None:
    raw_forms.write_refer(tmp_path)
    (tmp_path / "refcoco" / file).write_bytes(POINTER)
    with pytest.raises(DataError, match=r"pointer of git-lfs.*git lfs pull") as caught:
        convert(tmp_path)
    assert file in str(caught.value)


def test_what_is_told_is_printed_and_beside_the_data(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """gRefCOCO's referents without a sentence, and stray pieces of a polygon."""
    raw = tmp_path / "raw"
    raw_forms.write_grefs(raw)
    path = raw / "grefcoco/grefs(unc).json"
    entries = json.loads(path.read_text())
    silent: dict[str, Any] = entries[0] | {"ref_id": 5, "sentences": []}
    raw_forms.write_json(path, [*entries, silent])
    content = raw_forms.instances()
    pieces = content["annotations"][0]["segmentation"]
    pieces[:0] = [[1, 1, 3, 3], [2, 2]]
    raw_forms.write_json(raw / "grefcoco/instances.json", content)
    report = examine(raw)
    assert not report.errors
    folder = build.build("grefcoco", tmp_path, raw=str(raw))
    printed = capsys.readouterr().out
    assert "a referent without a sentence is left out" in printed
    assert "pieces of one or two points" in printed
    told = json.loads((folder / build_summary.FILE).read_text())
    assert told["form"] == "refer" and told["rejected"] == 0
    assert told["splits"] == {"val": {"images": 1, "referents": 3, "expressions": 3}}
    assert [Path(f["path"]).name for f in told["files"]] == [
        "grefs(unc).json",
        "instances.json",
    ]
    assert {n["text"].split()[0]: n["count"] for n in told["notes"]} == {
        "pieces": 1,
        "a": 1,
    }
    (record,) = (open_split("grefcoco:val", tmp_path)[i] for i in range(1))
    mask = next(m for m in record.masks if m.ann_id == 11)
    assert json.loads(mask.segmentation) == pieces[2:]
    assert mask.rle == convert(raw, BENCHMARKS["grefcoco"])[0].masks[0].rle
