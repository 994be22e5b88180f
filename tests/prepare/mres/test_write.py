"""What is written as MRES JSONL is read back as it was, whatever it holds."""

import dataclasses
import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import mres_lines, raw_forms, small_data
from helpers.conversion import convert
from helpers.mres_lines import HEIGHT, WIDTH
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from unires_jax import partworld
from unires_jax.data.catalogue import BENCHMARKS
from unires_jax.data.records import Record
from unires_jax.errors import DataError, Kind
from unires_jax.pixels.masks import RunMask
from unires_jax.prepare.mres.line import SOURCE, parse
from unires_jax.prepare.mres.plan import cut
from unires_jax.prepare.mres.write import to_line, write


def read(path: Path) -> list[Record]:
    (lines,) = cut(path, "train", 1 << 30)
    items = [item for _, item in lines.read()]
    assert all(isinstance(item, Record) for item in items), items
    return items  # type: ignore[return-value]


def through(record: Record, folder: Path, **options: Any) -> Record:
    """The record written and read."""
    assert write(folder / "train.jsonl", [record], **options) == 1
    (again,) = read(folder / "train.jsonl")
    return again


def test_every_form_of_mask_comes_back(tmp_path: Path) -> None:
    mres_lines.write_files(tmp_path)
    record = parse(json.dumps(mres_lines.good_line()).encode(), tmp_path)
    assert through(record, tmp_path) == record
    line = to_line(record)
    assert [next(f for f in ("rle", "polygons") if f in m) for m in line["masks"]] == [
        "rle",
        "polygons",
        "rle",
        "rle",
    ]
    assert not any("bbox" in m for m in line["masks"])  # each is the mask's extent
    assert [m.get("parent") for m in line["masks"]] == [None, None, "0", "1"]
    (tmp_path / "elsewhere").mkdir()
    assert through(record, tmp_path / "elsewhere") == record  # its picture goes along
    embedded = dataclasses.replace(record, filename="")
    assert through(record, tmp_path, embed=True) == embedded
    assert through(embedded, tmp_path) == embedded


def test_a_crowd_and_its_categorys_number_come_back(tmp_path: Path) -> None:
    (record,) = partworld.draw_records(3, "train", 1)
    first = dataclasses.replace(record.masks[0], iscrowd=True, category_id=-7)
    record = dataclasses.replace(record, masks=(first, *record.masks[1:]))
    mask, plain, *_ = to_line(record)["masks"]
    assert (mask["iscrowd"], mask["category_id"]) == (True, -7)
    assert "iscrowd" not in plain
    again = through(record, tmp_path).masks[0]
    assert (again.iscrowd, again.category_id) == (True, -7)


def is_kept(record: Record) -> Record:
    """What lines keep of a record of another source."""
    masks = [
        dataclasses.replace(m, category=m.category or "(unnamed)") for m in record.masks
    ]
    expressions = [
        dataclasses.replace(x, sent=" ".join(x.raw.lower().split()))
        for x in record.expressions
    ]
    return dataclasses.replace(
        record, source=SOURCE, masks=tuple(masks), expressions=tuple(expressions)
    )


@pytest.mark.parametrize("split", partworld.SPLITS)
def test_partworld_comes_back(tmp_path: Path, split: str) -> None:
    records = list(partworld.draw_records(3, split, 6))
    write(tmp_path / "train.jsonl.gz", records)
    again = read(tmp_path / "train.jsonl.gz")
    assert again == [is_kept(record) for record in records]
    first = (tmp_path / "train.jsonl.gz").read_bytes()
    write(tmp_path / "train.jsonl.gz", again)
    assert (tmp_path / "train.jsonl.gz").read_bytes() == first
    assert {p.suffix for p in tmp_path.iterdir()} == {".gz", ".jpg"}


FORMS = {
    "refer": ("refcoco_unc", raw_forms.write_refer),
    "cris": ("refcoco_unc", raw_forms.write_cris),
    "mdetr": ("refcoco_unc", raw_forms.write_mdetr),
    "grefs": ("grefcoco", raw_forms.write_grefs),
    "refcocom": ("refcocom", raw_forms.write_refcocom),
    "lmms": ("refcoco_unc", raw_forms.write_lmms),
    "moondream": ("refcoco_m", raw_forms.write_moondream),
}


@pytest.mark.parametrize("form", FORMS)
def test_records_of_raw_forms_come_back(tmp_path: Path, form: str) -> None:
    name, write_form = FORMS[form]
    write_form(tmp_path / "raw")
    records = convert(tmp_path / "raw", BENCHMARKS[name])
    assert records
    for number, record in enumerate(records):
        folder = tmp_path / str(number)
        folder.mkdir()
        again = through(record, folder)
        assert again == is_kept(record)
        assert through(again, folder) == again
    small = small_data.scene(3)
    assert through(small, tmp_path) == is_kept(small)


texts = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1).filter(
    lambda text: bool(text.strip())
)
sides = st.integers(1, 20)


@st.composite
def masks(draw: Any, names: list[str]) -> list[dict[str, Any]]:
    """Masks of every form with or without box, part and parent."""
    lines: list[dict[str, Any]] = []
    for i, name in enumerate(names):
        x, y, w, h = draw(st.tuples(sides, sides, sides, sides))
        line: dict[str, Any] = {"id": name, "category": draw(texts)}
        line["level"] = draw(st.sampled_from(["object", "part"]))
        if line["level"] == "part":
            line["part"] = draw(texts)
            if i and draw(st.booleans()):
                line["parent"] = names[draw(st.integers(0, i - 1))]
        form = draw(st.sampled_from(["runs", "rle", "polygons"]))
        pixels = mres_lines.boxed(x, y, w, h)
        pixels[draw(st.integers(0, HEIGHT - 1)), draw(st.integers(0, WIDTH - 1))] ^= 1
        pixels[0, 0] = True
        if form == "polygons":
            shift = draw(st.floats(0, 1))
            line["polygons"] = [raw_forms.box(x + shift, y, w, h), [0, 0, 9, 0, 0.5, 9]]
        elif form == "rle":
            line["rle"] = mres_lines.rle(pixels)
        else:
            line["rle"] = raw_forms.runs(pixels.astype(np.uint8))
        if draw(st.booleans()):
            corner = draw(st.floats(-1, 10)), draw(st.floats(-1, 10))
            line["bbox"] = [*corner, float(w), draw(st.floats(0, 20))]
        lines.append(line)
    return lines


@st.composite
def lines(draw: Any) -> dict[str, Any]:
    """A valid line: what the reader can be given."""
    ids = st.integers(0, 10**18).map(str) if draw(st.booleans()) else texts
    names = draw(st.lists(ids, unique=True, max_size=4))
    line = mres_lines.small_line(draw(st.integers(0, 2**62)))
    line["coco_id"] = draw(st.integers(-1, 2**62))
    line["masks"] = draw(masks(names))
    line["expressions"] = []
    for number in range(draw(st.integers(0, 5))):
        level = draw(st.sampled_from(["object", "part"]))
        among = [m["id"] for m in line["masks"] if m["level"] == level]
        targets = draw(st.permutations(among))[: draw(st.integers(0, 3))]
        expression = {"text": draw(texts), "level": level, "targets": targets}
        if draw(st.booleans()):
            expression["sent_id"] = 100 + number
        line["expressions"].append(expression)
    return line


@given(lines())
@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_what_the_reader_gives_comes_back(tmp_path: Path, line: dict[str, Any]) -> None:
    record = parse(json.dumps(line).encode(), tmp_path)
    assert through(record, tmp_path) == record
    assert parse(json.dumps(to_line(record)).encode(), tmp_path) == record


def test_what_no_line_can_say_is_refused(tmp_path: Path) -> None:
    scene = small_data.scene(1)
    nothing = RunMask.empty(scene.height, scene.width).counts
    empty = dataclasses.replace(scene.masks[2], rle=nothing)
    masks = (*scene.masks[:2], empty, *scene.masks[3:])
    path = tmp_path / "train.jsonl"
    path.write_text("before")
    with pytest.raises(
        DataError, match=r"image 1 \(1.jpg\): masks\[2\].*no pixel"
    ) as e:
        write(path, [scene, dataclasses.replace(scene, masks=masks)])
    assert e.value.kind is Kind.MASK_EMPTY
    for name in ("../a.jpg", "/a.jpg", "a\\b.jpg"):
        with pytest.raises(DataError, match="below the file's own folder"):
            write(path, [dataclasses.replace(scene, filename=name)])
    (tmp_path / "1.jpg").write_bytes(b"another")
    with pytest.raises(DataError, match=r"1\.jpg: is another picture"):
        write(path, [scene])
    assert path.read_text() == "before"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["1.jpg", "train.jsonl"]


def test_ids_that_cannot_be_read_back_become_positions(tmp_path: Path) -> None:
    scene = small_data.scene(1)
    for ids in ((-1, 5), (7, 7), (10**18, 3)):
        masks = tuple(
            dataclasses.replace(mask, ann_id=number)
            for mask, number in zip(scene.masks[:2], ids, strict=True)
        )
        expressions = scene.expressions[:4]
        record = dataclasses.replace(scene, masks=masks, expressions=expressions)
        again = through(record, tmp_path)
        assert [mask.ann_id for mask in again.masks] == [0, 1]
        assert again.masks[1].parent == 0


def test_polygons_that_are_not_the_mask_are_left_out(tmp_path: Path) -> None:
    scene = small_data.scene(1)
    size = scene.height, scene.width
    for polygon in (raw_forms.box(0, 0, 5, 5), raw_forms.box(-9, 0, 200, 5)):
        mask = dataclasses.replace(
            scene.masks[0], segmentation=json.dumps([polygon]), parent=-1
        )
        record = dataclasses.replace(scene, masks=(mask,), expressions=())
        (again,) = through(record, tmp_path).masks
        assert again.rle == mask.rle and again.segmentation == ""
        assert RunMask.from_counts(again.rle, *size).area == 64


def test_gzip_holds_the_same_text(tmp_path: Path) -> None:
    scenes = [small_data.scene(i) for i in range(3)]
    write(tmp_path / "train.jsonl", scenes)
    write(tmp_path / "train.jsonl.gz", scenes)
    packed = gzip.decompress((tmp_path / "train.jsonl.gz").read_bytes())
    assert packed == (tmp_path / "train.jsonl").read_bytes()
