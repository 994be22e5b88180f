"""MRES JSONL: what a line means, and in which words a wrong one is refused."""

import base64
import gzip
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from helpers import mres_lines
from helpers.mres_lines import HEIGHT, WIDTH, boxed
from helpers.paths import ROOT

from unires_jax import files, limits
from unires_jax.data import records
from unires_jax.data.records import OBJECT, PART, Record
from unires_jax.errors import DataError
from unires_jax.pixels.masks import RunMask
from unires_jax.prepare.mres import jsonl
from unires_jax.prepare.mres import line as line_fields
from unires_jax.prepare.mres.line import parse
from unires_jax.prepare.mres.plan import cut as cut_file
from unires_jax.prepare.notes import Notes

SCHEMA = json.loads((ROOT / "docs" / "mres_jsonl.schema.json").read_text())

Line = dict[str, Any]
Change = Callable[[Line], object]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    mres_lines.write_files(tmp_path)
    return tmp_path


def read_all(path: Path) -> list[Record | DataError]:
    (lines,) = cut_file(path, "train", 1 << 30)
    return [item for _, item in lines.read()]


def refused(line: Line | bytes, folder: Path) -> str:
    """The message that a file with this line alone is refused with."""
    path = folder / "train.jsonl"
    path.write_bytes(line if isinstance(line, bytes) else json.dumps(line).encode())
    (fault,) = read_all(path)
    assert isinstance(fault, DataError), "the line was taken"
    assert str(fault).startswith(f"{path}:1: ")
    return str(fault).removeprefix(f"{path}:1: ")


def is_valid(line: Line) -> bool:
    jsonschema = pytest.importorskip("jsonschema")
    return jsonschema.Draft202012Validator(SCHEMA).is_valid(line)


def test_a_line_becomes_a_record(folder: Path) -> None:
    line = mres_lines.good_line()
    (record,) = read_all(mres_lines.write_lines(folder / "train.jsonl", [line]))
    assert isinstance(record, Record)
    records.validate(record)
    assert record.image == (folder / "images" / "a.jpg").read_bytes()
    assert (record.image_id, record.coco_id) == (7, 12)
    assert (record.filename, record.source) == ("images/a.jpg", "mres_jsonl")
    car, _, wheel, head = record.masks
    decoded = [RunMask.from_counts(m.rle, HEIGHT, WIDTH).pixels() for m in record.masks]
    np.testing.assert_array_equal(decoded[0], boxed(25, 2, 20, 20))
    assert decoded[1][2:14, 2:12].all() and decoded[1][31, 22]  # both polygons
    np.testing.assert_array_equal(decoded[2], boxed(30, 4, 10, 12))
    np.testing.assert_array_equal(decoded[3], boxed(2, 2, 1, 6))
    assert (car.level, car.part, car.parent) == (OBJECT, "", -1)
    assert (wheel.level, wheel.part, wheel.parent) == (PART, "wheel", 0)
    assert (head.parent, head.bbox, head.area) == (1, (2.0, 2.0, 1.0, 6.0), 6.0)
    assert [m.ann_id for m in record.masks] == [0, 1, 2, 3]
    polygons = next(m["polygons"] for m in line["masks"] if "polygons" in m)
    segmentations = [
        m.segmentation for m in record.masks
    ]  # rela, lavt and lisa redraw them
    assert segmentations == ["", json.dumps(polygons), "", ""]


def test_sentences_of_the_same_masks_are_one_referent(folder: Path) -> None:
    record = parse(json.dumps(mres_lines.good_line()).encode(), folder)
    expressions = [
        (x.ref_id, x.sent_index, x.sent_id, x.targets) for x in record.expressions
    ]
    assert expressions == [
        (0, 0, 0, (0,)),
        (0, 1, 2, (0,)),
        (1, 0, 1, (3,)),
        (3, 0, 3, (0, 1)),
        (4, 0, 4, ()),
    ]
    assert [x.no_target for x in record.expressions] == [False] * 4 + [True]
    assert record.expressions[0].raw == "The Red  car"
    assert record.expressions[0].sent == "the red car"


def test_ids_that_are_numbers_are_kept(folder: Path) -> None:
    line = mres_lines.small_line(3)
    line["masks"][0]["id"] = line["expressions"][0]["targets"][0] = "9007199254740993"
    line["expressions"][0] |= {"ref_id": 55, "sent_id": 66}
    record = parse(json.dumps(line).encode(), folder)
    assert record.masks[0].ann_id == 9007199254740993
    assert (record.expressions[0].ref_id, record.expressions[0].sent_id) == (55, 66)


def test_good_lines_fit_the_schema() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert is_valid(mres_lines.good_line())
    assert is_valid(mres_lines.small_line(1))


def test_reader_and_schema_know_the_same_fields() -> None:
    assert tuple(SCHEMA["properties"]) == line_fields.LINE_FIELDS
    assert tuple(SCHEMA["$defs"]["mask"]["properties"]) == line_fields.MASK_FIELDS
    expression = SCHEMA["$defs"]["expression"]["properties"]
    assert tuple(expression) == line_fields.EXPRESSION_FIELDS


def put(*path: Any, value: Any) -> Change:
    """Set a field: put("masks", 0, "id", value="x")."""

    def change(line: Line) -> None:
        at: Any = line
        for step in path[:-1]:
            at = at[step]
        at[path[-1]] = value

    return change


def cut(*path: Any) -> Change:
    def change(line: Line) -> None:
        at: Any = line
        for step in path[:-1]:
            at = at[step]
        del at[path[-1]]

    return change


MASK, EXPRESSION = ("masks", 0), ("expressions", 0)
FULL = HEIGHT * WIDTH

# What is changed in the good line, what is told, and whether a schema can see it.
FAULTS: list[tuple[Change, str, bool]] = [
    (cut("image_id"), "image_id: expected a whole number from 0", True),
    (put("image_id", value=-1), "image_id: expected a whole number", True),
    (put("image_id", value=True), "image_id: expected a whole number", True),
    (put("image_id", value=2**63), "image_id: .*2\\^63 - 1", True),
    (put("image_id", value="7"), "image_id: .*found '7'", True),
    (put("imag", value="x"), "'imag': expected one of.*did you mean image", True),
    (put("height", value=0), "height: expected a whole number from 1", True),
    (put("height", value=WIDTH), f"image: .*{WIDTH} x {WIDTH}.*{HEIGHT} x", False),
    (put("masks", value={}), "masks: expected a list", True),
    (put("masks", value=["m"]), r"masks\[0\]: expected a JSON object", True),
    (put(*MASK, "parnt", value="x"), r"masks\[0\].'parnt'.*did you mean", True),
    (put(*MASK, "id", value="dog"), r"masks\[1\].id: .*no other mask", False),
    (put(*MASK, "id", value=""), r"masks\[0\].id: .*not empty", True),
    (put(*MASK, "level", value="thing"), r"masks\[0\].level: .*object, part", True),
    (put(*MASK, "category", value=" "), r"masks\[0\].category: .*not empty", True),
    (put(*MASK, "part", value="x"), r"masks\[0\].part: .*none on an object", True),
    (cut("masks", 2, "part"), r"masks\[2\].part: expected a text", True),
    (
        put("masks", 2, "parent", value="x"),
        r"masks\[2\].parent: expected the id",
        False,
    ),
    (cut(*MASK, "rle"), r"masks\[0\].rle: expected exactly one of", True),
    (put(*MASK, "png", value="a.png"), "exactly one of rle, polygons, png", True),
    (put(*MASK, "rle", "size", value=[WIDTH, HEIGHT]), "rle.size: .*height", False),
    (put(*MASK, "rle", "counts", value="~"), "rle: invalid character", True),
    (put(*MASK, "rle", "counts", value="04"), r"masks\[0\].rle: rle: covers", False),
    (put(*MASK, "rle", "counts", value="P"), "rle: ends within", False),
    (put(*MASK, "rle", "counts", value=[FULL + 1]), "rle.counts: .*sum", False),
    (put(*MASK, "rle", "counts", value=[-1, FULL + 1]), "rle.counts: .*runs", True),
    (put(*MASK, "rle", "counts", value=[1.0, FULL - 1]), "rle.counts: .*runs", False),
    (put(*MASK, "rle", "counts", value=None), "rle.counts: .*pycocotools", True),
    (put(*MASK, "rle", "counts", value=[FULL]), "rle: expected at least one", False),
    (put("masks", 1, "polygons", value=[]), "polygons: expected a list", True),
    (put("masks", 1, "polygons", value=[[1, 2, 3, 4]]), "three points", True),
    (put("masks", 1, "polygons", 0, value=["1"] * 6), "finite numbers", True),
    (put("masks", 1, "polygons", 0, 0, value=WIDTH + 2), "within the picture", False),
    (put("masks", 1, "polygons", 0, 1, value=-3), r"polygons\[0\]: .*within", False),
    (put("masks", 1, "polygons", value=[[1, 1] * 3]), "at least one pixel", False),
    (put("masks", 2, "png", value="images/b.png"), "png: .*found none", False),
    (put("masks", 2, "png", value="images/a.jpg"), "png: .*PNG of one channel", False),
    (put(*MASK, "bbox", value=[1, 2, 3]), "bbox: expected 4 finite", True),
    (put(*MASK, "bbox", value=[1, 2, -3, 4]), "bbox: .*not two corners", False),
    (put(*MASK, "bbox", value=[50, 2, 20, 4]), "bbox: .*within the picture", False),
    (put(*MASK, "iscrowd", value=1), "iscrowd: expected true or false", True),
    (put(*MASK, "category_id", value=2**31), "category_id: .*2147483647", True),
    (put(*EXPRESSION, "text", value="\t \n"), "text: .*not empty", True),
    (put(*EXPRESSION, "text", value="a\x00b"), "text: expected plain", True),
    (put(*EXPRESSION, "text", value="a\ud800"), "text: .*surrogates", False),
    (put(*EXPRESSION, "level", value=0), r"expressions\[0\].level", True),
    (put(*EXPRESSION, "level", value="part"), "level part, unlike 'car'", False),
    (put(*EXPRESSION, "targets", value=["cat"]), "targets: .*not 'cat'", False),
    (put(*EXPRESSION, "targets", value=[0]), "targets: .*not 0", True),
    (put(*EXPRESSION, "targets", value=["car", "car"]), "each mask once", True),
    (put(*EXPRESSION, "targets", value="car"), "targets: expected a list", True),
    (cut(*EXPRESSION, "targets"), "targets: expected a list, found nothing", True),
    (put(*EXPRESSION, "ref_id", value=1), r"\[1\].targets: .*ref_id 1 has", False),
    (put(*EXPRESSION, "sent_id", value=2), r"\[2\].sent_id: .*ref_id 0 has", False),
    (put(*EXPRESSION, "sent_id", value=1.5), "sent_id: expected a whole", True),
    (put("image", value=None), "image_bytes: expected a text", True),
    (put("image_bytes", value="AAAA"), "image_bytes: .*null beside image", True),
    (put("image", value=""), "image: expected a text", True),
    (put("image", value="images/A.jpg"), "found none .there is 'a.jpg'", False),
    (put("image", value="images"), "image: expected a file at", False),
    (put("image", value="../a.jpg"), "image: expected a path below", False),
    (put("image", value="../../a.jpg"), "image: expected a path below", True),
    (put("image", value="images/../images/a.jpg"), "expected a path below", True),
    (put("image", value="/etc/passwd"), "image: expected a path below", True),
    (put("image", value="images\\a.jpg"), "forward slashes", True),
    (put("image", value="C:/a.jpg"), "image: expected a path below", True),
    (put("image", value="x" * 5000), "image: expected a file at", False),
]


@pytest.mark.parametrize(("change", "message"), [f[:2] for f in FAULTS])
def test_faults_are_named(folder: Path, change: Change, message: str) -> None:
    line = mres_lines.good_line()
    change(line)
    text = refused(line, folder)
    assert re.search(message, text), text


def test_the_schema_sees_the_faults_of_form() -> None:
    for change, message, visible in FAULTS:
        line = mres_lines.good_line()
        change(line)
        assert is_valid(line) != visible, message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"{", "expected one JSON object"),
        (b"[]", "line: expected a JSON object"),
        (b'{"image_id": NaN}', "found NaN"),
        (b'{"image_id": 1e999}', "image_id|height"),
        (b'{"image_id": 1, "image_id": 2}', "'image_id' twice"),
        (b'{"image": "\xff"}', "expected UTF-8, found byte 0xff at column 12"),
        (b"[" * 200_000, "nested too deeply"),
        (b'{"image_id": ' + b"9" * 5000 + b"}", "a fault: "),
    ],
)
def test_lines_that_are_no_object(folder: Path, text: bytes, message: str) -> None:
    assert re.search(message, refused(text, folder))


def test_parents_in_a_circle(folder: Path) -> None:
    line = mres_lines.good_line()
    line["masks"][2]["parent"], line["masks"][3]["parent"] = "head", "wheel"
    assert "no mask below itself" in refused(line, folder)
    line["masks"][3]["parent"] = "head"
    assert "no mask below itself" in refused(line, folder)


def test_links_out_of_the_folder(folder: Path, tmp_path_factory: Any) -> None:
    outside = tmp_path_factory.mktemp("outside")
    mres_lines.write_files(outside)
    line = mres_lines.good_line()
    (folder / "images" / "a.jpg").unlink()
    (folder / "images" / "a.jpg").symlink_to(outside / "images" / "a.jpg")
    assert "a link out of it" in refused(line, folder)
    (folder / "elsewhere").symlink_to(outside / "images")
    line["image"] = "elsewhere/a.jpg"
    assert "a link out of it" in refused(line, folder)
    (folder / "round").symlink_to(folder / "round")
    line["image"] = "round"
    assert "expected a file at 'round'" in refused(line, folder)


def test_a_pipe_is_no_picture(folder: Path) -> None:
    os.mkfifo(folder / "pipe.jpg")  # reading it would wait for ever
    line = mres_lines.good_line() | {"image": "pipe.jpg"}
    assert "expected a file at 'pipe.jpg'" in refused(line, folder)


def bomb(height: int, width: int) -> bytes:
    """A PNG whose header declares a size that it does not hold."""
    png = bytearray(cv2.imencode(".png", np.zeros((4, 4), np.uint8))[1].tobytes())
    png[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    return bytes(png)


def test_bombs_are_refused_by_their_header(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cv2, "imdecode", None)  # nothing may get so far
    line = mres_lines.good_line()
    (folder / "images" / "a.jpg").write_bytes(bomb(30_000, 30_000))
    assert "image: states 30000 x 30000 pixels, refused" in refused(line, folder)
    line["height"] = line["width"] = 8000
    assert "pixels, refused" in refused(line, folder)
    (folder / "images" / "a.jpg").write_bytes(bomb(2**31 - 1, 2**31 - 1))
    assert "image: states 2147483647 x 2147483647" in refused(line, folder)


def test_a_mask_bomb_is_refused_by_its_header(folder: Path) -> None:
    (folder / "images" / "a_wheel.png").write_bytes(bomb(30_000, 30_000))
    assert "png: image: states 30000" in refused(mres_lines.good_line(), folder)


def test_a_file_too_large_is_refused(folder: Path) -> None:
    with (folder / "images" / "a.jpg").open("r+b") as file:
        file.truncate(limits.PICTURE_BYTES + 1)
    text = refused(mres_lines.good_line(), folder)
    assert f"at most {limits.PICTURE_BYTES} bytes" in text


@pytest.mark.parametrize("size", [(HEIGHT, WIDTH + 1), (WIDTH, HEIGHT)])
def test_a_mask_of_another_size(folder: Path, size: tuple[int, int]) -> None:
    cv2.imwrite(str(folder / "images" / "a_wheel.png"), np.ones(size, np.uint8))
    text = refused(mres_lines.good_line(), folder)
    assert f"masks[2].png: expected the stated height x width {HEIGHT} x" in text


def test_a_coloured_mask(folder: Path) -> None:
    colours = np.ones((HEIGHT, WIDTH, 3), np.uint8)
    cv2.imwrite(str(folder / "images" / "a_wheel.png"), colours)
    assert "PNG of one channel, grey or" in refused(mres_lines.good_line(), folder)


def test_damaged_pictures(folder: Path) -> None:
    path = folder / "images" / "a.jpg"
    path.write_bytes(path.read_bytes()[:-400])
    line = mres_lines.good_line()
    assert "is truncated" in refused(line, folder)
    path.write_bytes(b"GIF89a" + bytes(50))
    assert "no whole picture" in refused(line, folder)
    line = mres_lines.small_line(0)
    for wrong in ("####", line["image_bytes"][:-1], "é"):
        line["image_bytes"] = wrong
        assert "image_bytes: expected standard base64" in refused(line, folder)
    line["image_bytes"] = base64.b64encode(b"nothing").decode()
    assert "image_bytes: image: 7 bytes that are no" in refused(line, folder)


def test_lines_go_on_after_faults(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "LINE_BYTES", 8000)
    good = json.dumps(mres_lines.good_line()).encode()
    text = b"\n".join([good, b"x" * 30_000, b"", b"{}", b" " * 8000, good])
    for path in (folder / "train.jsonl", folder / "train.jsonl.gz"):
        packed = path.suffix == ".gz"
        path.write_bytes(gzip.compress(text) if packed else text)
        (lines,) = cut_file(path, "train", 1 << 30)
        assert lines.count == 6
        items = list(lines.read())
        assert [number for number, _ in items] == [1, 2, 4, 6]
        assert [isinstance(x, Record) for _, x in items] == [True, False, False, True]
        assert str(items[1][1]).startswith(f"{path}:2: expected a line of at most 8000")


def test_a_line_of_the_limit(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = json.dumps(mres_lines.good_line()).encode()
    for extra, accepted in ((1, True), (0, True), (-1, False)):
        monkeypatch.setattr(limits, "LINE_BYTES", len(good) + extra)
        path = folder / "train.jsonl"
        path.write_bytes(good + b"\n" + good)
        assert [isinstance(x, Record) for x in read_all(path)] == [accepted] * 2


@pytest.mark.parametrize("run", [1, 100, 5000, 1 << 20])
def test_runs_cover_every_line_once(folder: Path, run: int) -> None:
    lines = [mres_lines.small_line(i) for i in range(9)]
    path = mres_lines.write_lines(folder / "train.jsonl", lines)
    text = path.read_bytes()
    runs = list(cut_file(path, "train", run))
    assert [r.start for r in runs[1:]] == [r.end for r in runs[:-1]]
    assert (runs[0].start, runs[-1].end) == (0, len(text))
    assert sum(r.count for r in runs) == 9
    assert all(r.end - r.start >= run for r in runs[:-1])
    assert [number for r in runs for number, _ in r.read()] == list(range(1, 10))
    if run == 1:
        assert len(runs) == 9


def test_long_lines_and_no_newline_at_the_end(folder: Path) -> None:
    path = folder / "train.jsonl"
    path.write_bytes(b"a" * 3_000_000 + b"\n" + b"b\n" * 600_000 + b"c")
    runs = list(cut_file(path, "train", 1_000_000))
    assert sum(r.count for r in runs) == 600_002
    assert [r.first for r in runs] == [1, 2, 500_002]
    path.write_bytes(b"")
    assert list(cut_file(path, "train", 10)) == []


def test_a_damaged_archive_is_named(folder: Path) -> None:
    good = json.dumps(mres_lines.good_line()).encode()
    whole = gzip.compress(b"\n".join([good] * 50))
    path = folder / "train.jsonl.gz"
    for text in (whole[:-20], whole[:60] + b"\0" * 40 + whole[100:]):
        path.write_bytes(text)
        with pytest.raises(DataError, match=r"train.jsonl.gz: damaged.*again"):
            list(cut_file(path, "train", 10))


def test_files_name_their_splits(tmp_path: Path) -> None:
    names = ["train-00000.jsonl", "train-00001.jsonl.gz", "val.jsonl", "notes.txt"]
    for name in names:
        (tmp_path / name).write_text("{}\n")
    files_of = jsonl.find_files(tmp_path)
    assert {k: [p.name for p in v] for k, v in files_of.items()} == {
        "train": names[:2],
        "val": names[2:3],
    }
    only = jsonl.find_files(f"{tmp_path}/*.jsonl", "all")
    assert [p.name for p in only["all"]] == [names[0], names[2]]
    (tmp_path / "._train.jsonl").write_bytes(b"\0\5\26\7")
    (tmp_path / "more.ndjson").write_text("{}\n")
    notes = Notes()
    assert jsonl.find_files(tmp_path, notes=notes) == files_of
    passed = [str(note) for note in notes]
    assert len(passed) == 2 and all("passed over" in words for words in passed)
    (tmp_path / "2024.jsonl").write_text("{}\n")
    with pytest.raises(DataError, match=r"2024.jsonl: expected a name such as train"):
        jsonl.find_files(tmp_path)
    (tmp_path / "2024.jsonl").unlink()
    (tmp_path / "val.jsonl.gz").write_bytes(b"")
    with pytest.raises(DataError, match=r"val.jsonl.gz: lies beside val.jsonl"):
        jsonl.find_files(tmp_path)
    with pytest.raises(DataError, match="expected a folder or pattern"):
        jsonl.find_files(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"--raw=''"):
        jsonl.find_files("")


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train.jsonl", "train"),
        ("pets-train.jsonl", "train"),
        ("pets_val-00000.jsonl.gz", "val"),
        ("validation-2.jsonl", "val"),
        ("Train.jsonl", "train"),
        ("refs.testA.jsonl", "testA"),
        ("2024_test.jsonl", "test"),
        ("pets.jsonl", "pets"),
        ("pets-00000.jsonl", "pets"),
        ("pretrain.jsonl", "pretrain"),  # a word within a word is none
        ("pets_train_val.jsonl", None),
        ("test-of-train.jsonl", None),
        ("2024.jsonl", None),
    ],
)
def test_a_word_in_a_file_s_name_is_its_split(
    tmp_path: Path, name: str, split: str | None
) -> None:
    (tmp_path / name).write_text("{}\n")
    if split is None:
        with pytest.raises(DataError, match=r"says one split.* or pass --split"):
            jsonl.find_files(tmp_path)
        assert list(jsonl.find_files(tmp_path, "pets")) == ["pets"]
    else:
        assert list(jsonl.find_files(tmp_path)) == [split]


def test_names_of_folders_with_the_characters_of_patterns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "lr[1]*, {a} ~"
    folder.mkdir()
    path = folder / "train[2].jsonl"
    path.write_text("{}\n")
    for raw in (folder, f"{folder}//", path, f"{folder}/*.jsonl"):
        assert jsonl.find_files(raw) == {"train": [path]}
    monkeypatch.setenv("HOME", str(tmp_path))
    assert jsonl.find_files(f"~/{folder.name}") == {"train": [path]}
    monkeypatch.chdir(tmp_path)
    (tmp_path / "~").mkdir()
    assert files.locate("~/x") == Path("~/x")  # a folder of that name goes first


@pytest.mark.parametrize("name", ["datasets--me--mine", "datasets--mine"])
def test_a_cache_of_the_hub_and_a_folder_of_annotations(
    name: str, tmp_path: Path
) -> None:
    snapshot = tmp_path / name / "snapshots/0a1b"
    blobs = snapshot.parents[1] / "blobs"
    blobs.mkdir(parents=True)
    mres_lines.write_files(tmp_path)
    (snapshot / "images").mkdir(parents=True)
    for name in ("a.jpg", "a_wheel.png"):
        (tmp_path / "images" / name).rename(blobs / f"sha-{name}")
        (snapshot / "images" / name).symlink_to(f"../../../blobs/sha-{name}")
    line = json.dumps(mres_lines.good_line()).encode()
    assert parse(line, snapshot).filename == "images/a.jpg"
    for target in ("../../../../secret.jpg", "../../../refs/a.jpg"):
        path = snapshot / "images" / "a.jpg"
        path.unlink()
        path.symlink_to(target)
        place = path.parent / target
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(mres_lines.picture())
        with pytest.raises(DataError, match="a link out of it"):
            parse(line, snapshot)
    other = tmp_path / "mine/snapshots/0a1b"  # looks alike, and is no cache
    (other / "images").mkdir(parents=True)
    (other.parents[1] / "blobs").mkdir()
    (other.parents[1] / "blobs/x").write_bytes(mres_lines.picture())
    (other / "images/a.jpg").symlink_to("../../../blobs/x")
    with pytest.raises(DataError, match="a link out of it"):
        parse(line, other)

    root = tmp_path / "usual"
    mres_lines.write_files(root)
    (root / "annotations").mkdir()
    beside = mres_lines.good_line()
    beside["image"] = "../images/a.jpg"
    beside["masks"][2]["png"] = "../images/a_wheel.png"
    record = parse(json.dumps(beside).encode(), root / "annotations")
    assert record.filename == "images/a.jpg"
    for name in ("../../usual/images/a.jpg", "../../a.jpg"):
        beside["image"] = name
        with pytest.raises(DataError, match="expected a path below"):
            parse(json.dumps(beside).encode(), root / "annotations")


def test_near_names_are_hinted_at_and_not_taken(folder: Path) -> None:
    line = mres_lines.good_line()
    picture = (folder / "images" / "a.jpg").read_bytes()
    (folder / "images" / "cafe\u0301.jpg").write_bytes(picture)
    (folder / "images" / "b.HEIC").write_bytes(picture)
    for name, hint in (
        ("A.jpg", "upper and lower case differ"),
        ("caf\u00e9.jpg", "the forms of its Unicode differ"),
        ("b.jpg", "there is 'b.HEIC'"),
    ):
        line["image"] = f"images/{name}"
        assert hint in refused(line, folder)


def test_stray_pieces_of_polygons_are_dropped_and_noted(folder: Path) -> None:
    line = mres_lines.good_line()
    whole = parse(json.dumps(line).encode(), folder)
    line["masks"][1]["polygons"][1:1] = [[30, 30, 31, 31], [], [5, 5]]
    notes = Notes()
    record = parse(json.dumps(line).encode(), folder, "stored", notes, "train.jsonl:1")
    assert record == whole
    (note,) = notes
    assert "train.jsonl:1: pieces of one or two points" in str(note)
    line["masks"][1]["polygons"] = [[1, 1, 5, 5], [3, 3]]
    assert "at least three points" in refused(line, folder)
    line["masks"][1]["polygons"] = [[1, 1, 5, 5, 1, 5], ["1", 2]]
    assert r"polygons[1]: expected x, y" in refused(line, folder)
