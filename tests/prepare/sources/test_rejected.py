"""Bad entries are named, counted and skipped up to a share; then nothing is written."""

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from helpers import raw_forms
from helpers.conversion import convert
from helpers.raw_forms import stored
from helpers.spoilt_forms import BAD, picture, spoilt

from unires_jax import limits
from unires_jax.data import prepared
from unires_jax.data.catalogue import BENCHMARKS
from unires_jax.errors import DataError
from unires_jax.prepare import build
from unires_jax.prepare.builders import builder_options, load_builder
from unires_jax.prepare.notes import Notes
from unires_jax.prepare.rejects import REJECTED, Rejects
from unires_jax.prepare.sources import coco
from unires_jax.prepare.sources.pictures import ImageFolder


@pytest.mark.parametrize("name", BAD)
def test_a_bad_entry_is_named_and_the_others_stay(tmp_path: Path, name: str) -> None:
    change, message = BAD[name]
    root = spoilt(tmp_path / "raw", change)
    rejects = Rejects(tmp_path / REJECTED, share=0.5)
    converted = convert(root, rejects=rejects)
    (line,) = (tmp_path / REJECTED).read_text().splitlines()
    assert set(json.loads(line)) == {"record", "reason"}
    with pytest.raises(DataError, match=message):
        raise DataError(json.loads(line)["reason"])
    assert (rejects.count, rejects.total) == (1, 5)
    ref_ids = {x.ref_id for r in converted for x in r.expressions}
    assert ref_ids == {r["ref_id"] for r in raw_forms.refs()[1:]}
    with pytest.raises(DataError, match=r"1 of 5 entries .* max_bad_share=0\.001"):
        convert(root, rejects=Rejects())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"file_name": "/etc/passwd"}, "expected a name within the folder"),
        ({"file_name": "../../../etc/passwd"}, "expected a name within the folder"),
        ({"file_name": "..\\secret"}, "expected a name within the folder"),
        ({"file_name": "C:\\secret"}, "expected a name within the folder"),
        ({"file_name": "a\x00b"}, "expected a name within the folder"),
        ({"file_name": ""}, "expected a name within the folder"),
        ({"file_name": "absent.jpg"}, r"train2014/absent\.jpg: no such image"),
        ({"height": 41}, "stated height x width 41 x 60, is 40 x 60 pixels"),
        ({"width": 10**9}, "no image's size"),
        ({"height": 2**14, "width": 2**14}, "no image's size"),
    ],
)
def test_an_image_s_referents_go_with_it(
    tmp_path: Path, values: dict[str, Any], message: str
) -> None:
    root = spoilt(tmp_path / "raw", picture(**values))
    rejects = Rejects(tmp_path / REJECTED, share=0.5)
    converted = convert(root, rejects=rejects)
    reasons = [json.loads(x) for x in (tmp_path / REJECTED).read_text().splitlines()]
    assert len(reasons) == rejects.count == 2
    for entry in reasons:
        with pytest.raises(DataError, match=message):
            raise DataError(entry["reason"])
    assert {r.image_id for r in converted} == {202, 303}


def test_an_image_that_is_none(tmp_path: Path) -> None:
    raw_forms.write_refer(tmp_path)
    path = tmp_path / "images/mscoco/images/train2014" / raw_forms.name(101)
    path.write_bytes(b"<html>not found</html>")
    with pytest.raises(DataError, match="no whole picture"):
        convert(tmp_path)


def test_a_picture_that_states_a_giant_s_size_is_not_decoded(tmp_path: Path) -> None:
    raw_forms.write_cris(tmp_path)
    path = next((tmp_path / "masks/refcoco").glob("*.png"))
    data = bytearray(path.read_bytes())
    data[16:24] = b"\x00\x00\x70\x00" * 2  # width and height 28,672
    path.write_bytes(data)
    with pytest.raises(DataError, match="states 28672 x 28672 pixels, refused"):
        convert(tmp_path)


@pytest.mark.parametrize("damage", [slice(60, 61), slice(20, 21), slice(90, None)])
def test_a_damaged_mask_is_not_decoded(tmp_path: Path, damage: slice) -> None:
    raw_forms.write_cris(tmp_path)
    path = next((tmp_path / "masks/refcoco").glob("*.png"))
    data = bytearray(path.read_bytes())
    data[damage] = b"\x01" * (damage.stop is not None)
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"refcoco/\d+.png: image: .*(no whole|states)"):
        convert(tmp_path)


def test_the_share_is_of_all_files_together(tmp_path: Path) -> None:
    raw_forms.write_cris(tmp_path)
    next((tmp_path / "masks/refcoco").glob("700.png")).unlink()  # one of two of train
    rejects = Rejects(share=0.2)
    assert sum(len(r.expressions) for r in convert(tmp_path, rejects=rejects)) == 8
    assert (rejects.count, rejects.total) == (1, 5)


def test_images_are_found_in_any_case_and_by_coco_2017_s_names(tmp_path: Path) -> None:
    (tmp_path / "Sub").mkdir()
    (tmp_path / "Sub/A.JPG").write_bytes(b"a")
    (tmp_path / "000000000101.jpg").write_bytes(b"b")
    folder = ImageFolder(tmp_path)
    assert folder("sub/a.jpg") == b"a"
    assert folder(raw_forms.name(101)) == b"b"
    assert folder("train2014/" + raw_forms.name(101)) == b"b"
    with pytest.raises(DataError, match="no such folder of images"):
        ImageFolder(tmp_path / "none")


def test_no_picture_is_taken_for_another(tmp_path: Path) -> None:
    """By case, Unicode form, suffix, or what is left of a path."""
    for name in ("a.JPG", "a.jpg", "0001.jpg", "b.HEIC", "d.JPG", "D.jpg"):
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "cafe\u0301.jpg").write_bytes(b"cafe")
    (tmp_path / "000000000101.jpg").write_bytes(b"coco")
    (tmp_path / "lfs.jpg").write_bytes(b"version https://git-lfs.github.com/spec/v1")
    (tmp_path / "a").mkdir()
    (tmp_path / "a/a.jpg").write_bytes(b"within")
    notes = Notes()
    folder = ImageFolder(tmp_path, notes)
    assert (folder("a.JPG"), folder("./a.jpg")) == (b"a.JPG", b"a.jpg")
    assert not list(notes)
    for _ in range(2):  # a file is noted once
        assert folder("caf\u00e9.jpg") == b"cafe"
    assert folder("CAFE\u0301.JPG") == b"cafe"
    (note,) = notes
    assert note.count == 1 and "differ in case or Unicode form" in note.text
    assert folder("train2014/000000000101.jpg") == b"coco"  # COCO's own folder
    for name, message in {
        "A.JpG": "is called a.JPG and a.jpg",
        "d.jpg": "is called D.jpg and d.JPG",
        "b.jpg": "no such image .there is 'b.HEIC'",
        "cam2/0001.jpg": "'0001.jpg' lies in .* which may be another one",
        "cam2/000000000101.jpg": "which may be another one",
        "http://host/train2014/x.jpg": "no such image",
        "lfs.jpg": "pointer of git-lfs",
    }.items():
        with pytest.raises(DataError, match=message):
            folder(name)
    for name in ("A//a.jpg", "a\\a.jpg", "a/a.jpg/"):
        assert folder(name) == b"within"


def test_folders_that_differ_in_case_are_not_chosen_from(tmp_path: Path) -> None:
    raw_forms.write_refer(tmp_path)
    (tmp_path / "refcoco").rename(tmp_path / "RefCOCO")
    (tmp_path / "REFCOCO").mkdir()
    with pytest.raises(DataError, match="holds REFCOCO and RefCOCO, refcoco is looked"):
        convert(tmp_path)


def test_one_id_for_two_annotations(tmp_path: Path) -> None:
    def twice(refs: Any, instances: Any) -> None:
        instances["annotations"].append(instances["annotations"][0] | {"area": 1})

    with pytest.raises(DataError, match="annotations: id 11 occurs twice"):
        convert(spoilt(tmp_path, twice))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[", "is no JSON"),
        ("[" * 100_000, "nested too deeply"),
        ("9" * 10_000, "is no JSON"),
        ("{}", "is a dict of 0, expected a list"),
        ('"\\ud800"', "expected a list"),
    ],
)
def test_a_file_broken_as_a_whole(tmp_path: Path, content: str, message: str) -> None:
    raw_forms.write_refer(tmp_path)
    (tmp_path / "refcoco/refs(unc).p").unlink()
    (tmp_path / "refcoco/refs(unc).json").write_text(content)
    with pytest.raises(DataError, match=message) as caught:
        convert(tmp_path)
    assert "refs(unc).json" in str(caught.value)


def test_a_build_tells_what_it_skipped_and_leaves_nothing_when_it_stops(
    tmp_path: Path, capsys
) -> None:
    raw = str(spoilt(tmp_path / "raw", BAD["lost annotation"][0]))
    data = tmp_path / "data"
    with pytest.raises(DataError, match="1 of 5 entries"):
        build.build("refcoco", data, config="refcoco_unc", raw=raw)
    remains = [p for p in data.rglob("*") if p.is_file() and p.name != "metadata.json"]
    assert [p.name for p in remains] == [REJECTED]
    args = ["refcoco", "--data_dir", str(data), "--config", "refcoco_unc", "--raw", raw]
    assert build.main([*args, "--max_bad_share=0.5"]) == 0
    assert "skipped 1 of 5 entries" in capsys.readouterr().out
    split = prepared.open_split("refcoco/refcoco_unc:train", data)
    assert split.dataset == "refcoco_unc" and len(split) == 1
    assert (data / "refcoco/refcoco_unc" / REJECTED).exists()


def test_a_picture_cut_short_is_not_built_in(tmp_path: Path) -> None:
    raw_forms.write_refer(tmp_path / "raw")
    folder = tmp_path / "raw/images/mscoco/images/train2014"
    path = folder / raw_forms.name(101)
    path.write_bytes(path.read_bytes()[:-40])
    ask = {"config": "refcoco_unc", "raw": str(tmp_path / "raw")}
    with pytest.raises(DataError, match=rf"{path.name}\): image: is truncated"):
        build.build("refcoco", tmp_path, **ask)
    with pytest.raises(DataError, match=r"train: none of its 1 images .*skipped 2 of"):
        build.build("refcoco", tmp_path, **ask, max_bad_share=0.9)


def test_builders_say_what_they_need(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"refcoco: name the folder .* --raw"):
        build.build("refcoco", tmp_path)
    with pytest.raises(DataError, match="no config 'refcoco_uc', did you mean"):
        build.build("refcoco", tmp_path, config="refcoco_uc")
    options = builder_options(load_builder("refcocom"))
    added = {"max_bad_share", "objects", "orientation"}
    assert set(options) == {"raw", "images", "follow_links"} | added
    assert builder_options(load_builder("refcoco"))["config"]


def test_grefcoco_builds_and_reads_back(tmp_path: Path) -> None:
    raw_forms.write_grefs(tmp_path / "raw")
    build.build("grefcoco", tmp_path, raw=str(tmp_path / "raw"))
    (record,) = stored("grefcoco:val", tmp_path)
    assert (record,) == tuple(
        r.__class__(**{**r.__dict__, "source": "grefcoco"})
        for r in convert(tmp_path / "raw", BENCHMARKS["grefcoco"])
    )


def test_categories_of_the_file_are_used(tmp_path: Path) -> None:
    content = raw_forms.instances() | {"categories": [{"id": 1, "name": "robot"}]}
    index = coco.Instances(content, "x")
    assert index.mask(11, 101).category == "robot" and index.category(7) == ""


@pytest.mark.parametrize("share", [float("nan"), -0.1, 2.0])
@pytest.mark.parametrize(
    ("name", "options"), [("refcoco", {"config": "refcoco_unc"}), ("mres32m", {})]
)
def test_a_share_that_is_none_is_refused(
    tmp_path: Path, name: str, options: dict[str, str], share: float
) -> None:
    with pytest.raises(DataError, match=f"--max_bad_share {share}: expected"):
        build.build(name, tmp_path, raw="x", max_bad_share=share, **options)
    assert not list(tmp_path.rglob("*.array_record*"))


def test_a_mask_that_many_referents_name_is_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = raw_forms.refs()
    shared = [
        {**e, "ann_id": entries[0]["ann_id"], "image_id": entries[0]["image_id"]}
        for e in entries
    ]
    root = tmp_path / "raw"
    raw_forms.write_refer(root)
    (root / "refcoco/refs(unc).p").write_bytes(pickle.dumps(shared))
    taken = len({m for r in convert(root) for m in r.masks})
    assert taken == 1
    size = 100 + sum(len(s["raw"] + s["sent"]) for e in shared for s in e["sentences"])
    size += sum(len(m.rle + m.segmentation) for r in convert(root)[:1] for m in r.masks)
    monkeypatch.setattr(limits, "REFERENTS_MEMORY", size)
    convert(root)  # counted once
    monkeypatch.setattr(limits, "REFERENTS_MEMORY", size // 2)
    with pytest.raises(
        DataError, match=r"refs\(unc\)\.p: its masks and sentences take"
    ):
        convert(root)


def test_captions_that_share_an_id_are_refused(tmp_path: Path) -> None:
    raw_forms.write_mdetr(tmp_path)
    file = tmp_path / "finetune_refcoco_val.json"
    content = json.loads(file.read_text())
    # Each caption would take all boxes: quadratic.
    content["images"] *= 2
    file.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"val\.json: images: id \d+ names 2 captions"):
        convert(tmp_path)
