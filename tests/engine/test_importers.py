"""Exports of annotation tools become MRES JSONL with the annotators' own words."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import part_forms, tool_exports
from helpers.part_forms import HEIGHT, OBJECTS, WIDTH
from helpers.paths import REAL
from helpers.tool_exports import CAPTION
from PIL import Image

from unires_jax.engine.importers import (
    command,
    label_studio,
    outlines,
)
from unires_jax.errors import DataError, UserError
from unires_jax.pixels.label_studio import read_mask, write_mask
from unires_jax.pixels.masks import RunMask
from unires_jax.prepare.doctor.command import examine

EXPORTS: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "coco": ("coco", tool_exports.write_coco),
    "labelme": ("labelme", tool_exports.write_labelme),
    "labelme, embedded": (
        "labelme",
        lambda folder: tool_exports.write_labelme(folder, embedded=True),
    ),
    "label_studio": ("label_studio", tool_exports.write_label_studio),
}


def convert(source: Path, form: str, *options: str) -> list[dict[str, Any]]:
    out, photos = source.parent / "out", source.parent / "photos"
    argv = ["--form", form, str(source), "--out", str(out), *options]
    assert command.main([*argv, "--pictures", str(photos)]) == 0
    with gzip.open(out / "train.jsonl.gz") as lines:
        return [json.loads(line) for line in lines]


@pytest.mark.parametrize("name", EXPORTS)
def test_each_export_becomes_lines_without_a_fault(name: str, tmp_path: Path) -> None:
    form, write = EXPORTS[name]
    source = write(tmp_path)
    first, _ = convert(source, form)
    said = {x["text"]: x["targets"] for x in first["expressions"]}
    wholes = {m["id"]: m for m in first["masks"] if m["level"] == "object"}
    (target,) = said[CAPTION]
    assert wholes[target]["category"] == "car" and said["car"] == [target]
    for (category, box), mask in zip(OBJECTS, wholes.values(), strict=True):
        assert mask["category"] == category
        assert RunMask.of(mask["rle"]).box == box
        assert RunMask.of(mask["rle"]).area == box[2] * box[3]
    if form == "coco":
        assert "a dog, asleep" in said
    else:
        parts = {(m["part"], m["parent"]) for m in first["masks"] if "part" in m}
        assert len(parts) == 5 and all(parent in wholes for _, parent in parts)
        assert any(text.endswith("wheels") or "wheels of" in text for text in said)
    assert not examine(tmp_path / "out").findings
    summary = json.loads(
        (tmp_path / "out" / "conversion" / "train" / "summary.json").read_text()
    )
    assert summary["forms"]["given"] >= 2 and not summary["rejected"]


def test_lisas_sentence_means_all_its_targets(tmp_path: Path) -> None:
    source = tool_exports.write_lisa(tmp_path / "lisa")
    argv = ["--form", "lisa", str(source), "--out", str(tmp_path / "out")]
    argv += ["--split", "train"]
    assert command.main(argv) == 0
    with gzip.open(tmp_path / "out" / "train.jsonl.gz") as lines:
        (line,) = map(json.loads, lines)
    (mask,), (said,) = line["masks"], line["expressions"]
    assert said["text"] == CAPTION and said["targets"] == [mask["id"]]
    boxes = [box for name, box in OBJECTS if name == "dog"]
    assert RunMask.of(mask["rle"]).area == sum(w * h for _, _, w, h in boxes)
    (source / "1.jpg").unlink()
    with pytest.raises(DataError, match="no picture"):
        command.main([*argv, "--max_bad_share", "0"])


def test_an_export_of_another_tool_is_named(tmp_path: Path) -> None:
    source = tool_exports.write_label_studio(tmp_path)
    with pytest.raises(DataError, match="--form label_studio"):
        convert(source, "coco")
    labels = tool_exports.write_labelme(tmp_path)
    with pytest.raises(DataError, match="--form labelme"):
        convert(labels, "label_studio")


def test_pictures_lie_beside_their_file_unless_said(tmp_path: Path) -> None:
    source = tool_exports.write_coco(tmp_path)
    source = source.rename(tmp_path / "photos" / source.name)
    argv = ["--form", "coco", str(source), "--out", str(tmp_path / "out")]
    assert command.main(argv) == 0
    (tmp_path / "photos" / "1.jpg").unlink()
    with pytest.raises(DataError, match="another folder with --pictures"):
        command.main(argv)


def test_a_turned_picture_is_stored_as_the_annotator_saw_it(tmp_path: Path) -> None:
    source = tool_exports.write_label_studio(tmp_path)
    path = tmp_path / "photos" / "1.jpg"
    lying = Image.open(path).transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6
    lying.save(path, exif=exif)
    convert(source, "label_studio")
    with Image.open(tmp_path / "out" / "images" / "1.jpg") as image:
        assert image.size == (WIDTH, HEIGHT) and not image.getexif().get(0x0112, 0) > 1
    assert not examine(tmp_path / "out").findings


def _region(task: dict[str, Any], index: int = 0) -> dict[str, Any]:
    return task["annotations"][1]["result"][index]


STUDIO: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "rotated": (lambda t: _region(t).update(image_rotation=90), "image_rotation 90"),
    "short rle": (lambda t: _region(t)["value"]["rle"].pop(), "ends too early"),
    "long rle": (
        lambda t: _region(t)["value"]["rle"].__setitem__(slice(0, 4), [255] * 4),
        "values of",
    ),
    "no bytes": (lambda t: _region(t)["value"]["rle"].append("x"), "expected bytes"),
    "unlabelled": (lambda t: _region(t)["value"].pop("brushlabels"), "no label"),
    "far away": (
        lambda t: _region(t, 1)["value"].update(points=[[0, 0], [1e9, 0], [0, 9]]),
        "outside",
    ),
    "two sizes": (lambda t: _region(t).update(original_width=99), "several sizes"),
    "no picture": (lambda t: t.update(data={"n": 1}), "names no picture"),
    "absent": (lambda t: t.update(data={"image": "a/../../b.jpg"}), "b.jpg"),
    "min": (lambda t: t.pop("annotations"), "JSON-MIN"),
}


@pytest.mark.parametrize("name", STUDIO)
def test_what_cannot_be_used_of_an_export_is_listed(name: str, tmp_path: Path) -> None:
    change, reason = STUDIO[name]
    source = tool_exports.write_label_studio(tmp_path)
    tasks = json.loads(source.read_text())
    change(tasks[0])
    source.write_text(json.dumps(tasks))
    with pytest.raises(UserError):
        convert(source, "label_studio")
    assert convert(source, "label_studio", "--max_bad_share", "0.9")
    text = (tmp_path / "out" / "conversion" / "train" / "rejected.jsonl").read_text()
    assert reason in text


def test_label_studios_masks_come_back_as_they_were() -> None:
    rng = np.random.default_rng(3)
    for mask in (
        rng.random((37, 53)) < 0.5,  # literal packets
        part_forms.pixels((4, 5, 60, 40)),
        np.ones((300, 300), bool),  # runs longer than a packet
    ):
        packed = tool_exports.pack(mask)
        read = read_mask(packed, *mask.shape)
        assert read == RunMask.from_pixels(mask)
        ours = write_mask(read)
        assert all(type(v) is int and 0 <= v < 256 for v in ours)
        assert read_mask(ours, *mask.shape) == read


def test_outlines() -> None:
    circle = outlines.filled(outlines.ellipse((50.0, 30.0), 20.0, 20.0), HEIGHT, WIDTH)
    assert abs(circle.area / (np.pi * 400) - 1) < 0.03
    box = outlines.rectangle((50.0, 20.0), (60.0, 24.0))
    turned = outlines.filled(outlines.turned(box, (50.0, 20.0), 90.0), HEIGHT, WIDTH)
    assert turned.box == (46, 20, 4, 10)


def test_cocos_own_annotations(tmp_path: Path) -> None:
    root = REAL / "coco"
    if not root.is_dir():
        pytest.skip("the real data is not here")
    argv = ["--form", "coco", str(root / "instances.json"), "--out", str(tmp_path)]
    assert command.main([*argv, "--pictures", str(root / "images")]) == 0
    summary = json.loads(
        (tmp_path / "conversion" / "train" / "summary.json").read_text()
    )
    assert summary["crowds"] == 5 and summary["rejected"] == 0
    assert summary["objects"] + summary["crowds"] == 565
    assert summary["texts"] > 150
    with gzip.open(tmp_path / "train.jsonl.gz") as lines:
        assert all(json.loads(x)["coco_id"] == json.loads(x)["image_id"] for x in lines)
    assert not examine(tmp_path).findings


@pytest.mark.parametrize(
    ("reference", "names"),
    [
        (
            "/data/upload/3/0a1b2c3d-dog.jpg",
            {"upload/3/0a1b2c3d-dog.jpg", "0a1b2c3d-dog.jpg", "dog.jpg"},
        ),
        ("/data/local-files/?d=set/dog%201.jpg", {"set/dog 1.jpg", "dog 1.jpg"}),
        ("s3://bucket/set/dog.jpg", {"dog.jpg", "set/dog.jpg"}),
        ("https://example.org/a/dog.jpg?x=1", {"dog.jpg", "a/dog.jpg"}),
    ],
)
def test_where_label_studio_says_a_picture_is(reference: str, names: set[str]) -> None:
    assert names <= set(label_studio.picture_names(reference))


@pytest.mark.parametrize("reference", ["", "/", "..", "http://[x"])
def test_what_names_no_picture_is_told(reference: str) -> None:
    with pytest.raises(DataError, match="names no picture"):
        label_studio.picture_names(reference)
