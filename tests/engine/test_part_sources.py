"""Part annotations of every form become MRES JSONL whose texts name one thing."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers import part_forms
from helpers.part_forms import FORMS, PARTS
from helpers.paths import ROOT
from helpers.programs import run

from unires_jax.engine.part_sources import command
from unires_jax.errors import ConfigError, DataError, Kind, UserError
from unires_jax.pixels.masks import RunMask
from unires_jax.prepare.doctor.command import examine


def convert(source: Path, form: str, *options: str) -> list[dict[str, Any]]:
    """The lines that the command makes of a source."""
    photos = source.parent / "photos"
    out = source.parent / "out"
    argv = ["--form", form, str(source), "--out", str(out), *options]
    argv += ["--pictures", str(photos)] if photos.is_dir() else []
    assert command.main(argv) == 0
    (path,) = out.glob("*.jsonl.gz")
    return [json.loads(line) for line in gzip.open(path)]


def texts_of(line: dict[str, Any]) -> dict[str, list[str]]:
    return {x["text"]: x["targets"] for x in line["expressions"]}


def area(line: dict[str, Any], name: str) -> int:
    (mask,) = (m for m in line["masks"] if m["id"] == name)
    return RunMask.of(mask["rle"]).area


# Texts that each form must give, in any of two wordings, and the areas they denote.
SAID = {
    ("car",): 24 * 16,
    ("left dog", "dog on the left"): 20 * 24,
    ("door of the car", "car's door"): 6 * 8,
}
LEGS = ("legs of the left dog", "legs of the dog on the left")
WHEELS = ("wheels of the car", "car's wheels")
EXPECTED: dict[str, dict[tuple[str, ...], int]] = {
    "coco": SAID | {WHEELS: 60, LEGS: 48},
    "paco": SAID | {WHEELS: 60, LEGS: 48},
    "pascal_part (json)": {("door of the car",): 48},
    "pascal_part (mat)": SAID | {WHEELS: 60},
    "partimagenet": {("car",): 60 + 48, WHEELS: 60},
    "ade20k": SAID | {WHEELS: 60, LEGS: 48},
    "ade20k (234)": {("car",): 24 * 16, WHEELS: 60},
}


@pytest.mark.parametrize("name", FORMS)
def test_each_form_becomes_lines_without_a_fault(name: str, tmp_path: Path) -> None:
    form, write = FORMS[name]
    source = write(tmp_path)
    lines = convert(source, form)
    assert len(lines) == 2
    for line in lines:
        said = texts_of(line)
        for wordings, pixels in EXPECTED[name].items():
            (text,) = (w for w in wordings if w in said)
            assert sum(area(line, t) for t in said[text]) == pixels, text
    report = examine(source.parent / "out")
    assert not report.findings, report.findings
    summary = json.loads(
        (source.parent / "out" / "conversion" / "train" / "summary.json").read_text()
    )
    assert summary["forms"]["template"] == summary["texts"] > 0
    assert summary["pictures"] == 2 and not summary["rejected"]


def test_the_parts_of_an_object_are_one_mask_below_it(tmp_path: Path) -> None:
    line, _ = convert(part_forms.write_coco(tmp_path), "coco")
    parts = {(m["parent"], m["part"]) for m in line["masks"] if m["level"] == "part"}
    assert len(parts) == len({(of, part) for part, _, of in PARTS})
    assert {m["id"] for m in line["masks"]} > {parent for parent, _ in parts}


@pytest.mark.parametrize(
    ("name", "asked"),
    [("paco", "ade20k"), ("coco", "paco"), ("pascal_part (mat)", "ade20k")],
)
def test_a_wrong_form_is_told_with_the_right_one(
    name: str, asked: str, tmp_path: Path
) -> None:
    form, write = FORMS[name]
    with pytest.raises(DataError) as error:
        convert(write(tmp_path), asked)
    assert f"--form {form}" in str(error.value) or form == "coco"
    assert not list(tmp_path.glob("out/*.jsonl*"))


def _changed(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        content = part_forms.coco_json()
        change(content)
        return part_forms.write_json(folder, content)

    return write


def _first(key: str, value: Any, where: str = "annotations") -> Any:
    return _changed(lambda c: c[where][0].__setitem__(key, value))


ODD: dict[str, tuple[Callable[[Path], Path], str]] = {
    "category": (_first("category_id", 99), "category_id 99 is not among"),
    "huge id": (_first("id", 10**40), "an integer of"),
    "huge image id": (_first("image_id", 2**70), "an integer of"),
    "no such image": (_first("image_id", 77), "not among the images"),
    "far polygon": (_first("segmentation", [[0, 0, 9999, 0, 5, 9]]), "outside"),
    "bomb": (_first("segmentation", {"size": [9**9, 9**9], "counts": "1"}), "size"),
    "only a box": (_first("segmentation", []), "unires engine plan"),
    "no pixel": (
        _first("segmentation", {"size": [60, 100], "counts": [6000]}),
        "pixel",
    ),
    "id twice": (_first("id", 2), "have the id 2"),
    "out of the folder": (_first("file_name", "../1.jpg", "images"), "within the fold"),
    "absolute": (_first("file_name", "/etc/passwd", "images"), "within the folder"),
    "no picture": (_first("file_name", "99.jpg", "images"), "no such image"),
    "other size": (_first("height", 61, "images"), "61"),
    "control": (
        _changed(lambda c: c["categories"][0].__setitem__("name", "a\x1b[2J")),
        "control characters",
    ),
}


@pytest.mark.parametrize("name", ODD)
def test_what_cannot_be_used_is_listed_and_beyond_a_share_fatal(
    name: str, tmp_path: Path
) -> None:
    write, reason = ODD[name]
    source = write(tmp_path)
    with pytest.raises(UserError):
        convert(source, "coco")
    assert not list(tmp_path.glob("out/*.jsonl.gz*"))
    if name == "control":
        return  # of every picture
    assert convert(source, "coco", "--max_bad_share", "0.9")
    text = (tmp_path / "out" / "conversion" / "train" / "rejected.jsonl").read_text()
    assert reason in text
    assert not examine(tmp_path / "out").findings


@pytest.mark.parametrize("where", ["images", "categories"])
def test_an_id_of_two_different_entries_is_refused(where: str, tmp_path: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        content[where][1]["id"] = content[where][0]["id"]

    with pytest.raises(DataError) as error:
        convert(_changed(change)(tmp_path), "coco", "--max_bad_share", "0.9")
    assert error.value.kind is Kind.ID_TWICE


def test_parents_in_a_circle_are_refused(tmp_path: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        parts = [a for a in content["annotations"] if a["category_id"] > 2][:2]
        for part, other in zip(parts, reversed(parts), strict=True):
            part["parent_id"] = other["id"]

    convert(_changed(change)(tmp_path), "coco", "--max_bad_share", "0.9")
    assert (
        "part of itself"
        in (tmp_path / "out" / "conversion" / "train" / "rejected.jsonl").read_text()
    )


@pytest.mark.parametrize(
    "packed",
    [
        lambda text: b"\xef\xbb\xbf" + text,
        gzip.compress,
        lambda text: text.decode().encode("utf-16"),
    ],
)
def test_encodings_and_packing_change_nothing(
    packed: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    source = part_forms.write_coco(tmp_path)
    plain = convert(source, "coco")
    source.write_bytes(packed(source.read_bytes()))
    assert convert(source, "coco") == plain


def test_the_split_is_a_word_of_the_name(tmp_path: Path) -> None:
    assert command.split_of(Path("a/paco_lvis_v1_val.json")) == "val"
    assert command.split_of(Path("a/instances.json")) == "train"
    assert command.split_of(Path("valid/_annotations.coco.json")) == "val"
    assert command.split_of(Path("valid/train.json")) == "train"
    assert command.split_of(Path("a_test/of_mine.json")) == "train"
    convert(part_forms.write_coco(tmp_path), "coco", "--split", "mine")
    assert (tmp_path / "out" / "mine.jsonl.gz").is_file()


def test_pictures_below_the_output_are_not_copied(tmp_path: Path) -> None:
    source = part_forms.write_coco(tmp_path)
    argv = ["--form", "coco", str(source), "--out", str(tmp_path)]
    command.main([*argv, "--pictures", str(tmp_path / "photos")])
    with gzip.open(tmp_path / "train.jsonl.gz") as lines:
        line = json.loads(lines.readline())
    assert line["image"] == "photos/1.jpg" and not (tmp_path / "images").exists()
    (finding,) = examine(tmp_path).findings  # our own train.json
    assert "train.json: passed over" in finding.examples[0]


def test_a_link_out_of_the_output_is_copied(tmp_path: Path) -> None:
    source = part_forms.write_coco(tmp_path)
    inside = tmp_path / "out" / "photos"
    inside.mkdir(parents=True)
    for path in (tmp_path / "photos").iterdir():
        (inside / path.name).symlink_to(path)
    argv = ["--form", "coco", str(source), "--out", str(inside.parent)]
    argv += ["--pictures", str(inside)]
    with pytest.raises(DataError, match="with --follow_links"):
        command.main(argv)
    assert command.main([*argv, "--follow_links"]) == 0
    assert not examine(inside.parent).findings


def test_a_damaged_picture_is_listed(tmp_path: Path) -> None:
    source = part_forms.write_coco(tmp_path)
    path = tmp_path / "photos" / "1.jpg"
    path.write_bytes(path.read_bytes()[:-500])
    (line,) = convert(source, "coco", "--max_bad_share", "0.1")
    assert line["image_id"] == 2
    text = (tmp_path / "out" / "conversion" / "train" / "rejected.jsonl").read_text()
    assert "truncated" in text and "1.jpg" in text


def test_paco_says_where_a_category_is_not_marked_everywhere(tmp_path: Path) -> None:
    content = part_forms.paco_json()
    car = next(c["id"] for c in content["categories"] if "car_(" in c["name"])
    content["images"][0]["not_exhaustive_category_ids"] = [car]
    first, second = convert(part_forms.write_json(tmp_path, content), "paco")
    assert "car" not in texts_of(first) and "car" in texts_of(second)


def test_lvis_names_a_picture_by_its_address(tmp_path: Path) -> None:
    content = part_forms.paco_json()
    for image in content["images"]:
        name = image.pop("file_name")
        image["coco_url"] = f"http://images.cocodataset.org/train2017/{name}"
        part_forms.write_picture(tmp_path / "photos" / "train2017" / name)
    lines = convert(part_forms.write_json(tmp_path, content), "paco")
    assert [line["image"] for line in lines] == [
        "images/train2017/1.jpg",
        "images/train2017/2.jpg",
    ]


def test_a_source_that_does_not_mark_all_gives_no_bare_name(tmp_path: Path) -> None:
    source = part_forms.write_coco(tmp_path)
    for line in convert(source, "coco", "--no-exhaustive"):
        assert not {"car", "left dog"} & texts_of(line).keys()
        assert "dog on the left" in texts_of(line)


def test_crowds_count_and_have_no_mask(tmp_path: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        for annotation in content["annotations"]:
            if annotation["bbox"] == list(part_forms.OBJECTS[1][1]):
                annotation["iscrowd"] = 1  # a dog of each picture

    for line in convert(_changed(change)(tmp_path), "coco"):
        assert "dog" not in " ".join(texts_of(line))
        assert sum(m["category"] == "dog" for m in line["masks"] if "part" not in m) < 3


def test_cvat_calls_a_mask_a_crowd_that_is_none(tmp_path: Path) -> None:
    source = part_forms.write_coco(tmp_path)
    content = json.loads(source.read_text())
    plain = convert(source, "coco")
    for annotation in content["annotations"]:
        annotation["iscrowd"] = int(isinstance(annotation["segmentation"], dict))
        annotation["attributes"] = {"occluded": False}
    source.write_text(json.dumps(content))
    assert convert(source, "coco") == plain


def test_an_annotator_of_ade20k_wrote_latin_1(tmp_path: Path) -> None:
    root = part_forms.write_ade20k(tmp_path)
    plain = convert(root, "ade20k")
    path = next(root.rglob("*.json"))
    content = json.loads(path.read_text())
    content["annotation"]["object"][0]["attributes"] = "caf\u00e9"
    text = json.dumps(content, ensure_ascii=False)
    path.write_bytes(text.encode("latin-1"))
    assert convert(root, "ade20k") == plain
    path.write_bytes(text.encode("latin-1")[:-3])
    with pytest.raises(UserError, match="is no JSON"):
        convert(root, "ade20k")


def test_ade20k_parts_of_parts_go_by_what_the_json_says(tmp_path: Path) -> None:
    root = part_forms.write_ade20k(tmp_path)
    path = next(root.rglob("*_00000001.json"))
    content = json.loads(path.read_text())
    for thing in content["annotation"]["object"]:
        if thing["name"] == "wheel":
            thing["parts"]["ispartof"] = 1  # the left dog, against the geometry
    path.write_text(json.dumps(content))
    line = convert(root, "ade20k")[0]
    assert any("wheels of the " in t and "dog" in t for t in texts_of(line))


def test_a_mat_that_unpacks_to_too_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from unires_jax.engine.part_sources import pascal_part

    monkeypatch.setattr(pascal_part, "MAT_BYTES", 1000)
    path = next(part_forms.write_pascal_mat(tmp_path).iterdir())
    with pytest.raises(DataError, match="unpacks"):
        pascal_part.read_mat(path.stem, path.read_bytes())


@pytest.mark.slow
def test_from_parts_to_a_score(tmp_path: Path) -> None:
    """The lines are built, and the ground truth of the split scores 100."""
    convert(part_forms.write_paco(tmp_path), "paco", "--split", "val")
    data = tmp_path / "data"
    build = ("build", "mres32m", "--raw", tmp_path / "out", "--data_dir", data)
    done = run("-m", "unires_jax.cli", *build, "--workers", 0)
    assert done.returncode == 0, done.stderr
    done = run(
        ROOT / "evaluate.py",
        f"--data_dir={data}",
        "--splits=mres32m:val",
        "--predict=ground_truth",
        f"--out={tmp_path / 'scores'}",
    )
    assert done.returncode == 0, done.stderr
    metrics = json.loads((tmp_path / "scores" / "metrics.json").read_text())
    assert "100.0" in done.stdout and "mres32m:val" in metrics


def test_lines_of_another_source_are_not_replaced(tmp_path: Path) -> None:
    """The same source may be converted again, to the same bytes."""
    form, write = part_forms.FORMS["coco"]
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    one, two = (write(tmp_path / name) for name in ("one", "two"))
    out = tmp_path / "out"

    def parts(source: Path, *options: str) -> int:
        folder = source.parent / "photos"
        pictures = ["--pictures", str(folder)] if folder.is_dir() else []
        argv = ["--form", form, str(source), *pictures, "--out", str(out), *options]
        return command.main(argv)

    parts(one)
    lines = (out / "train.jsonl.gz").read_bytes()
    parts(one)
    assert (out / "train.jsonl.gz").read_bytes() == lines
    with pytest.raises(ConfigError, match=r"was made of .*one.*--overwrite"):
        parts(two)
    parts(two, "--split", "val")
    told = [out / "conversion" / split / "summary.json" for split in ("train", "val")]
    assert all(path.is_file() for path in told)
    parts(two, "--overwrite")
    with pytest.raises(ConfigError, match=r"was made of .*two"):
        parts(one)
