"""Each door to the end: an export, `unires import`, doctor, the builder, records."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers import part_forms, tool_exports
from helpers.part_forms import HEIGHT, OBJECTS, PARTS, WIDTH, Box
from helpers.tool_exports import CAPTION

from unires_jax.data.prepared import PreparedSplit
from unires_jax.data.records import Record, runs_of
from unires_jax.engine import convertible
from unires_jax.engine.importers import cells, command
from unires_jax.errors import UserError
from unires_jax.pixels.masks import RunMask
from unires_jax.prepare import build
from unires_jax.prepare.doctor.command import examine
from unires_jax.prepare.notes import Notes

CAR, LEFT, RIGHT = (box for _, box in OBJECTS)
Writer = Callable[[Path], Path]
SOURCES: dict[str, tuple[str, Writer]] = {
    name: (name.split()[0], write) for name, write in tool_exports.WRITERS.items()
}
SOURCES |= {f"coco {x}": ("coco", write) for x, write in tool_exports.COCO.items()}
WITH_PARTS = ("labelme", "label_studio")
NAMELESS = ("masks", "lisa")  # no class names in it
CLASSES = ("coco roboflow",)  # no captions in it
BOTH_DOGS = {"the left dog": LEFT, "the right dog": RIGHT}
SAID: dict[str, dict[str, Box]] = {
    "masks": BOTH_DOGS,
    "masks table": BOTH_DOGS,
    "parquet": BOTH_DOGS | {"a dog on the right": RIGHT},
}


def imported(source: Path, form: str, out: Path, *options: str) -> Path:
    argv = ["--form", form, str(source), "--out", str(out), "--split", "train"]
    photos = out.parent / "photos"
    if photos.is_dir() and form != "lisa":
        argv += ["--pictures", str(photos)]
    assert command.main([*argv, *options]) == 0
    return out


def built(folder: Path, **options: Any) -> list[Record]:
    data = folder.parent / "data"
    place = build.build("mres32m", data, raw=str(folder), workers=0, **options)
    split = PreparedSplit(str(place), "train")
    return [split[i] for i in range(len(split))]


def mask_of(*boxes: Box) -> RunMask:
    masks = [RunMask.from_pixels(part_forms.pixels(box)) for box in boxes]
    return RunMask.union(masks, HEIGHT, WIDTH)


def said_of(record: Record) -> dict[str, RunMask]:
    """The mask that each sentence means."""
    return {
        x.raw: RunMask.union(
            [runs_of(record, record.masks[t]) for t in x.targets], HEIGHT, WIDTH
        )
        for x in record.expressions
    }


def named(record: Record) -> set[tuple[str, str, str]]:
    return {(m.category, m.part, m.rle) for m in record.masks}


def truth(name: str) -> set[tuple[str, str, str]]:
    """Category, part and mask of all that a source marks."""
    if name == "lisa":
        return {("(unnamed)", "", mask_of(LEFT, RIGHT).counts)}
    unnamed = name in NAMELESS
    masks = {
        ("(unnamed)" if unnamed else thing, "", mask_of(box).counts)
        for thing, box in OBJECTS
    }
    pieces: dict[tuple[int, str], list[Box]] = {}
    for part, box, of in PARTS if name in WITH_PARTS else ():
        pieces.setdefault((of, part), []).append(box)
    return masks | {
        (OBJECTS[of][0], part, mask_of(*boxes).counts)
        for (of, part), boxes in pieces.items()
    }


@pytest.mark.parametrize("name", SOURCES)
def test_from_an_export_to_records_that_are_the_truth(
    name: str, tmp_path: Path
) -> None:
    if name == "parquet":
        pytest.importorskip("pyarrow")
    form, write = SOURCES[name]
    folder = imported(write(tmp_path / "raw"), form, tmp_path / "raw" / "out")
    assert not examine(folder).findings
    records = built(folder)
    assert len(records) == (1 if name == "lisa" else 2)
    for record in records:
        assert named(record) == truth(name)
        said = said_of(record)
        if name == "lisa":
            assert said == {CAPTION: mask_of(LEFT, RIGHT)}
            continue
        expected = {"car": CAR} if name in CLASSES else {CAPTION: CAR}
        expected |= SAID.get(name, {})
        assert {text: said[text] for text in expected} == {
            text: mask_of(box) for text, box in expected.items()
        }


@pytest.mark.parametrize(
    ("option", "texts"),
    [("captions", {CAPTION, "a dog, asleep"}), ("names", {"car"})],
)
def test_sentences_are_captions_or_names_as_asked(
    option: str, texts: set[str], tmp_path: Path
) -> None:
    source = tool_exports.write_coco(tmp_path)
    imported(source, "coco", tmp_path / "out", "--sentences", option)
    for record in built(tmp_path / "out"):
        said = {x.raw for x in record.expressions}
        assert texts <= said and (option == "names" or said == texts)
        assert CAPTION not in said or option == "captions"


def test_parts_of_a_coco_file_by_its_categories(tmp_path: Path) -> None:
    """ "object:part" and a supercategory that things are marked with."""
    content = part_forms.coco_json(lambda thing, part: f"{thing} {part}")
    for category in content["categories"]:
        whole, _, part = category["name"].partition(" ")
        if part:
            category["supercategory"] = whole
    source = part_forms.write_json(tmp_path, content)
    imported(source, "coco", tmp_path / "out")
    (first, _) = built(tmp_path / "out")
    assert named(first) == truth("label_studio")


def table(folder: Path, change: Callable[[list[dict[str, Any]]], object]) -> Path:
    """The table of masks, changed."""
    root = tool_exports.write_mask_table(folder)
    path = root / "metadata.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    change(rows)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return root


# Faults of one row: the others are taken.
ROWS: dict[str, tuple[Callable[[list[dict[str, Any]]], object], str]] = {
    "climbs": (lambda r: r[0].update(mask="../m/1-0.png"), "within the folder"),
    "absolute": (lambda r: r[0].update(mask="/etc/passwd"), "within the folder"),
    "no mask": (lambda r: r[0].update(mask="m/none.png"), "no such image"),
    "no picture": (lambda r: r[0].update(file_name="none.jpg"), "no such image"),
    "another size": (
        lambda r: r[1].update(mask={"size": [5, 5], "counts": [5, 20]}),
        "5 x 5 pixels",
    ),
    "far": (lambda r: r[0].update(mask=[[0, 0, 1e9, 0, 0, 9]]), "outside the image"),
    "nothing said": (lambda r: r[0].update(text=" ", category=None), "nothing is said"),
    "number": (lambda r: r[0].update(mask=7), "expected a PNG"),
    "picture for mask": (lambda r: r[0].update(mask="1.jpg"), "is a JPEG"),
    "link": (lambda r: r[0].update(mask="m/link.png"), "a link out of it"),
}


@pytest.mark.parametrize("name", ROWS)
def test_a_row_that_cannot_be_used_is_listed(name: str, tmp_path: Path) -> None:
    change, reason = ROWS[name]
    source = table(tmp_path, change)
    (tmp_path / "secret.png").write_bytes((source / "m" / "1-0.png").read_bytes())
    (source / "m" / "link.png").symlink_to(tmp_path / "secret.png")
    out = imported(source, "masks", tmp_path / "out", "--max_bad_share", "0.9")
    text = (out / "conversion" / "train" / "rejected.jsonl").read_text()
    assert reason in text and text.count("\n") <= 3
    if name == "link":
        imported(source, "masks", out, "--follow_links", "--max_bad_share", "0")


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda f: (f / "a.jpg").write_bytes(b""), "expected a table of pictures"),
        (
            lambda f: (f / "metadata.csv").write_text("a,b\n1,2\n"),
            "hold image and mask; it has a, b",
        ),
        (lambda f: (f / "metadata.jsonl").write_text("{}\n["), "jsonl:2: is no JSON"),
        (lambda f: (f / "captions.csv").write_bytes(b"mask\n\xff"), "is no UTF-8"),
        (lambda f: (f / "train" / "images").mkdir(parents=True), "expected a table"),
    ],
)
def test_what_a_folder_lacks_is_told(
    make: Callable[[Path], object], reason: str, tmp_path: Path
) -> None:
    folder = tmp_path / "raw"
    folder.mkdir()
    make(folder)
    with pytest.raises(UserError, match=reason):
        imported(folder, "masks", tmp_path / "out")


def test_a_table_of_other_columns_is_told_with_them(tmp_path: Path) -> None:
    source = table(tmp_path, lambda rows: [r.update(note=r.pop("text")) for r in rows])
    path = source / "metadata.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for row in rows:
        row["cut"] = row.pop("mask")
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(
        UserError, match=r"hold mask; it has file_name, .*--column mask"
    ):
        imported(path, "masks", tmp_path / "out")
    asked = ("--column", "mask=cut", "--column", "text=note")
    imported(path, "masks", tmp_path / "out", *asked)
    (first, _) = built(tmp_path / "out")
    assert said_of(first)[CAPTION] == mask_of(CAR)


def test_masks_beside_their_pictures_and_in_splits(tmp_path: Path) -> None:
    source = tool_exports.write_masks(tmp_path)
    flat = tmp_path / "flat"
    flat.mkdir()
    shutil.copy(source / "images" / "1.jpg", flat / "dog.jpg")
    shutil.copy(source / "masks" / "1_0.png", flat / "dog_mask.png")
    (flat / "dog.txt").write_text(f"{CAPTION}\nthe car\n")
    (record,) = built(imported(flat, "masks", tmp_path / "out"))
    assert said_of(record) == dict.fromkeys((CAPTION, "the car"), mask_of(CAR))
    for split in ("train", "val"):
        for kind in ("images", "masks"):
            (flat / kind / split).mkdir(parents=True)
        shutil.copy(flat / "dog.jpg", flat / "images" / split / f"{split}.jpg")
        name = flat / "masks" / split / f"{split}_the_car.png"
        shutil.copy(flat / "dog_mask.png", name)
    with pytest.raises(UserError, match="splits train, val; name one with --split"):
        command.main(["--form", "masks", str(flat), "--out", str(tmp_path / "two")])
    imported(flat, "masks", tmp_path / "two")
    assert not examine(tmp_path / "two").findings
    caption = source / "captions" / "1_0.txt"
    caption.rename(tmp_path / "secret.txt")
    caption.symlink_to(tmp_path / "secret.txt")
    with pytest.raises(UserError, match="a link out of it"):
        imported(source, "masks", tmp_path / "three")


def test_folders_and_pictures_that_are_links_out_are_refused(tmp_path: Path) -> None:
    source = tool_exports.write_masks(tmp_path / "masks")
    (source / "captions").rename(tmp_path / "notes")
    (source / "captions").symlink_to(tmp_path / "notes")
    with pytest.raises(UserError, match="a link out of it"):
        imported(source, "masks", tmp_path / "one")
    lisa = tool_exports.write_lisa(tmp_path / "lisa")
    for picture in (*lisa.rglob("*.jpg"), *lisa.rglob("*.png")):
        picture.rename(tmp_path / picture.name)
        picture.symlink_to(tmp_path / picture.name)
    with pytest.raises(UserError, match="a link out of it"):
        imported(lisa, "lisa", tmp_path / "two")
    imported(lisa, "lisa", tmp_path / "two", "--follow_links")


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ('["the dog", "a dog on grass"]', ("the dog", "a dog on grass")),
        ('[{"raw": "the dog"}]', ("the dog",)),
        ("[sic] the dog", ("[sic] the dog",)),
    ],
)
def test_sentences_of_a_cell(cell: str, expected: tuple[str, ...]) -> None:
    notes = Notes()
    assert cells.texts(cell, notes) == expected and not list(notes)


@pytest.mark.parametrize("odd", ["long " * 4000, "the\x1b[2J dog", "?!"])
def test_a_text_that_is_no_sentence_is_told(odd: str) -> None:
    notes = Notes()
    assert cells.texts([odd, "the dog", "", None], notes) == ("the dog",)
    (note,) = notes
    assert note.count == 1 and "more than 16,384 letters" in note.text


def test_captions_that_are_no_sentences_are_told_of_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tool_exports.write_lisa(tmp_path / "lisa")
    path = next(source.rglob("*.json"))
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"text": [*content["text"], "x" * 20_000]}))
    imported(source, "lisa", tmp_path / "out")
    assert "note: texts that are no sentences" in capsys.readouterr().out


def test_rows_of_parquet_that_cannot_be_used(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    rows = tool_exports.parquet_rows()
    rows[0]["image"] = {"bytes": b"no picture", "path": "a.jpg"}
    rows[1]["mask"] = {"bytes": rows[1]["image"]["bytes"], "path": None}
    source = tool_exports.write_parquet(tmp_path, rows)
    out = imported(source, "parquet", tmp_path / "out", "--max_bad_share", "0.5")
    text = (out / "conversion" / "train" / "rejected.jsonl").read_text()
    assert "row 0" in text and "row 1" in text and "is a JPEG" in text
    assert len(built(out)) == 2
    names = [{"picture": r["image"], "words": r["sentence"]} for r in rows]
    other = tool_exports.write_parquet(tmp_path / "other", names)
    with pytest.raises(UserError, match="hold mask; it has picture, words"):
        imported(other, "parquet", tmp_path / "out2")


def test_polygons_and_runs_in_parquet_and_two_splits(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    rows = tool_exports.parquet_rows()[:2]
    for row in rows:
        row["mask"] = json.dumps(part_forms.rle(CAR))
    source = tool_exports.write_parquet(tmp_path, rows)
    for row in rows:
        row["mask"] = [part_forms.polygon(CAR)]
    tool_exports.write_parquet(tmp_path, rows, name="validation")
    argv = ["--form", "parquet", str(source), "--out", str(tmp_path / "out")]
    with pytest.raises(UserError, match="splits train, val"):
        command.main(argv)
    lines = [line for _, _, line in convertible.commands(tmp_path)]
    assert sorted(x.split("--split ")[1][:3] for x in lines) == ["tra", "val"]
    for split in ("train", "val"):
        assert command.main([*argv, "--split", split]) == 0
    place = build.build("mres32m", tmp_path / "d", raw=str(tmp_path / "out"), workers=0)
    for split in ("train", "val"):
        records = PreparedSplit(str(place), split)
        for i in range(2):
            assert said_of(records[i]) == {CAPTION: mask_of(CAR), "car": mask_of(CAR)}
