"""Boxes of every form become shards of pictures; what is odd is kept or refused."""

import gzip
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers import mres_lines, small_data, toy_stages
from helpers.pictures import bomb, encoded, noise
from helpers.toy_stages import write_lines
from PIL import Image

from unires_jax import texts
from unires_jax.engine import json_members, overlays, pack, picture_files, shard_files
from unires_jax.engine.markers import FORMERLY, OUTPUT, StaleError
from unires_jax.engine.plan import plan
from unires_jax.engine.plan_file import Plan
from unires_jax.engine.record import Picture
from unires_jax.errors import DataError
from unires_jax.prepare.shards import read_marker

HEIGHT, WIDTH = 100, 120


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Photographs a.jpg to e.jpg."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for i, name in enumerate("abcde"):
        pixels = noise(i, HEIGHT, WIDTH)
        (folder / f"{name}.jpg").write_bytes(small_data.jpeg(pixels))
    return folder


def line(name: str, *boxes: Any, category: str = "dog", **fields: Any) -> dict:
    return {
        "image": name,
        "boxes": [{"box": list(box), "category": category} for box in boxes],
        **fields,
    }


def planned(folder: Path, boxes: Path, **options: Any) -> dict[str, Picture]:
    """The pictures of a plan by their file, in order."""
    out = folder.with_name("engine")
    options = {"shard": 2, "max_bad_share": 1.0, **options}
    plan(out, [boxes], folder, **options)
    paths = shard_files.paths(out, "plan")
    return {p.file: p for path in paths for p in shard_files.read(path)}


def test_boxes_are_cut_and_kept(folder: Path) -> None:
    given = [
        *((10, 20, 50.125, 60), (-5, -5, 300, 300), (5, 5, 5, 50)),
        *((130, 5, 150, 50), (60, 60, 40, 40)),
    ]
    lines = [line("a.jpg", *given, category="Wild_Bird", coco_id=9, exhaustive=True)]
    lines += [line(f"{name}.jpg") for name in "bcd"] + [line("e.jpg", image_id=77)]
    pictures = planned(folder, write_lines(folder / "boxes.jsonl", lines))
    first = pictures["a.jpg"]
    assert (first.height, first.width, first.coco_id) == (HEIGHT, WIDTH, 9)
    assert (first.exhaustive, pictures["b.jpg"].exhaustive) == (True, False)
    assert [r.box for r in first.regions] == [
        *((10, 20, 50.12, 60), (0, 0, WIDTH, HEIGHT), (5, 5, 5, 50)),
        *((WIDTH, 5, WIDTH, 50), (60, 60, 40, 40)),
    ]
    codes = [r.codes for r in first.regions]
    assert codes == [(), (), (), ("B1",), ()]  # the rest is the filters' to judge
    assert [r.id for r in first.regions] == ["o0", "o1", "o2", "o3", "o4"]
    assert first.regions[0].category == "bird"
    assert first.regions[0].category_raw == "Wild_Bird"
    assert [p.image_id for p in pictures.values()] == [0, 1, 2, 3, 77]
    assert len(shard_files.paths(folder.with_name("engine"), "plan")) == 3


COCO_IMAGES = [
    {"id": 5, "file_name": "v1/a.jpg", "height": HEIGHT, "width": WIDTH},
    {"id": 2, "coco_url": "http://x.org/train2017/000000000042.jpg"},
    {"id": 9, "file_name": "b.jpg", "height": WIDTH, "width": HEIGHT},
    {"id": 11},
    {"id": 12, "file_name": "c.jpg", "neg_category_ids": [1]},
]


def box(owner: Any, bbox: Any, kind: int = 1, **fields: Any) -> dict[str, Any]:
    return {"image_id": owner, "category_id": kind, "bbox": bbox, **fields}


def coco(order: tuple[str, ...]) -> dict[str, Any]:
    """Everything that such files are seen to hold."""
    boxes = [
        box(12, [1, 2, 30, 40], iscrowd=1, segmentation={"counts": [1, 2]}),
        box(5, [10.5, 20, 30, 40], 2),
        box(5, [0, 0, 20, 20]),
        box(5, [0, 0, float("nan"), 20]),
        box(5, "nowhere"),
        box(5, [0, 0, 5, 5], 99),
        box(4, [0, 0, 5, 5]),
        box(1 << 70, [0, 0, 5, 5]),
        3,
    ]
    content: dict[str, Any] = {
        "info": {"a": [1, {}]},
        "images": COCO_IMAGES,
        "annotations": boxes,
        "categories": [{"id": 1, "name": "dog"}, {"id": 2, "name": "trash bin Can"}],
        "licenses": [],
        "empty": "",
    }
    return {name: content[name] for name in order} | content


@pytest.mark.parametrize(
    ("order", "packed"),
    [(("images",), False), (("annotations", "categories"), True), ((), False)],
)
def test_coco(
    folder: Path, order: tuple[str, ...], packed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_members, "_CHUNK", 7)  # every value is cut somewhere
    (folder / "000000000042.jpg").write_bytes((folder / "d.jpg").read_bytes())
    text = json.dumps(coco(order)).encode()
    path = folder.with_name("instances.json.gz" if packed else "instances.json")
    path.write_bytes(gzip.compress(text) if packed else b"\xef\xbb\xbf" + text)
    pictures = planned(folder, path, exhaustive=True)
    names = ["a.jpg", "000000000042.jpg", "b.jpg", "c.jpg"]
    assert list(pictures) == names  # found without the folders of the list
    first, lvis, turned, last = pictures.values()
    assert (first.image_id, first.coco_id) == (5, -1)
    assert (lvis.coco_id, lvis.exhaustive, last.exhaustive) == (42, True, False)
    assert [(r.category, r.box) for r in first.regions] == [
        ("trash can", (10.5, 20, 40.5, 60)),
        ("dog", (0, 0, 20, 20)),
    ]
    assert last.regions[0].crowd and last.regions[0].box == (1, 2, 31, 42)
    assert turned.codes == ("I1",) and "sides are exchanged" in turned.errors[0]
    out = folder.with_name("engine")
    told = {n["text"]: n["count"] for n in Plan.read(out).notes}
    assert sorted(told.values()) == [1, 5]
    refused = (out / "plan" / "rejected.jsonl").read_text()
    assert "has neither file_name nor coco_url" in refused
    assert Plan.read(out).counts == {"pictures": 4, "regions": 3, "unusable": 2}


def test_mres_jsonl_gives_the_boxes_of_its_objects(folder: Path) -> None:
    mres_lines.write_files(folder)
    lines = [mres_lines.good_line(), mres_lines.small_line(1), {}]
    path = write_lines(folder / "train.jsonl", lines)
    (picture,) = planned(folder, path).values()
    assert (picture.image_id, picture.coco_id) == (7, 12)
    assert [r.category for r in picture.regions] == ["car", "dog"]
    assert picture.regions[0].box == (25, 2, 45, 22)
    refused = folder.with_name("engine") / "plan" / "rejected.jsonl"
    assert "holds its picture in the line" in refused.read_text()


def test_links_are_followed_where_the_plan_permits_it(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Afterwards their content is held by its hash."""
    store = tmp_path_factory.mktemp("store") / "a.jpg"
    (folder / "a.jpg").rename(store)
    (folder / "a.jpg").symlink_to(store)
    path = write_lines(folder / "b.jsonl", [line("a.jpg", (1, 1, 9, 9))])
    (error,) = planned(folder, path)["a.jpg"].errors
    assert "a link out of it" in error
    picture = planned(folder, path, follow_links=True)["a.jpg"]
    assert picture_files.read(folder, picture).shape[2] == 3
    assert overlays.read_pixels(folder, "a.jpg", picture.sha256) is not None
    assert pack.read_planned(folder, picture) == store.read_bytes()
    store.write_bytes(store.read_bytes() + b"x")
    with pytest.raises(DataError, match="is another file than when"):
        picture_files.read(folder, picture)


@pytest.mark.parametrize("name", ["d" * 201, "d\x1b[2Jog", "\ud800", " "])
def test_names_of_categories_are_short_and_plain(name: str, folder: Path) -> None:
    """One of a COCO file is written with every box: a long one would fill the disk."""
    one = {"image_id": 1, "category_id": 1, "bbox": [1, 1, 9, 9]}
    content = {
        "images": [{"id": 1, "file_name": "a.jpg"}],
        "categories": [{"id": 1, "name": name}, {"id": 2, "name": "d" * 200}],
        "annotations": [one, one | {"category_id": 2}],
    }
    if name != "\ud800":  # its list of categories is refused as a whole
        (folder / "b.json").write_text(json.dumps(content))
        (picture,) = planned(folder, folder / "b.json").values()
        assert [r.category for r in picture.regions] == ["d" * 200]
    path = write_lines(folder / "b.jsonl", [line("a.jpg", (1, 1, 9, 9), category=name)])
    shutil.rmtree(folder.with_name("engine"), ignore_errors=True)
    (picture,) = planned(folder, path).values()
    assert not picture.regions


@pytest.mark.parametrize("name", ["b.jsonl.gz", "b.json.gz"])
def test_boxes_that_unpack_to_too_much(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(texts, "_FREE", 1 << 16)
    content = {"images": [{"id": 1, "file_name": "a.jpg"}]}
    one = content if "json." in name else line("a.jpg", (1, 1, 9, 9))
    text = json.dumps(one).encode() + b"\n"
    (folder / name).write_bytes(gzip.compress(text))
    assert planned(folder, folder / name)
    (folder / name).write_bytes(gzip.compress(text + b"\n" * (1 << 20)))
    with pytest.raises(DataError, match=rf"{name}: unpacks to more than \d+ bytes"):
        planned(folder, folder / name)


def test_boxes_of_mres_lines_with_pictures_elsewhere_and_links(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The options of the plan hold for what its lines name, too."""
    lines = tmp_path_factory.mktemp("lines")
    mres_lines.write_files(lines)
    path = write_lines(lines / "train.jsonl", [mres_lines.good_line()])
    (lines / "images" / "a.jpg").rename(folder / "store.jpg")
    photos = tmp_path_factory.mktemp("photos")
    (photos / "images").mkdir()
    (photos / "images" / "a.jpg").symlink_to(folder / "store.jpg")
    with pytest.raises(DataError, match=r"a link out of it.*--follow_links"):
        planned(photos, path, max_bad_share=0.0)
    (picture,) = planned(photos, path, follow_links=True).values()
    assert picture.file == "images/a.jpg" and not picture.errors


def test_pictures_that_cannot_be_used(folder: Path) -> None:
    whole = (folder / "a.jpg").read_bytes()
    (folder / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "bomb.png").write_bytes(bomb(30_000))
    (folder / "small.png").write_bytes(encoded(Image.new("RGB", (63, 200)), "PNG"))
    (folder / "link.jpg").symlink_to("/etc/hostname")
    os.mkfifo(folder / "pipe.jpg")
    names = ["cut.jpg", "bomb.png", "none.jpg", "link.jpg", "pipe.jpg", "../a.jpg"]
    names += ["/etc/passwd", "x/../../a.jpg", "small.png"]
    path = write_lines(folder / "b.jsonl", [line(n, (1, 1, 9, 9)) for n in names])
    pictures = planned(folder, path)
    assert list(pictures) == names
    small = pictures.pop("small.png")
    assert (small.width, small.codes, small.errors) == (63, (), ())
    for name, picture in pictures.items():
        assert picture.codes == ("I1",) and not picture.keep, name
        assert picture.errors[0].startswith("plan: ") and picture.height == 0
    assert "damaged" in pictures["cut.jpg"].errors[0]
    assert "30000 x 30000 pixels, refused" in pictures["bomb.png"].errors[0]
    with pytest.raises(DataError, match=r"8 of 9 pictures are unusable.* allows 0"):
        planned(folder, path, max_bad_share=0.1)


def test_mended_pictures_are_read_again(folder: Path) -> None:
    lost = (folder / "c.jpg").rename(folder / "elsewhere")
    lines = [line(f"{name}.jpg", (1, 1, 50, 50)) for name in "abcde"]
    path = write_lines(folder / "boxes.jsonl", lines)
    out = folder.with_name("engine")
    assert planned(folder, path)["c.jpg"].errors
    before = {p: p.stat().st_mtime_ns for p in out.glob("plan/shard-*")}
    marker = out / "plan" / "shard-00001-of-00003.done"
    output = read_marker(marker)[OUTPUT]  # type: ignore[index]
    lost.rename(folder / "c.jpg")
    assert not planned(folder, path)["c.jpg"].errors
    again = {
        p for p, t in before.items() if not p.exists() or p.stat().st_mtime_ns != t
    }
    assert {p.name.partition("-of")[0] for p in again} == {"shard-00001"}
    assert read_marker(marker)[FORMERLY] == [output]  # type: ignore[index]
    write_lines(path, lines[:4])
    with pytest.raises(StaleError, match="holds a plan of other sources, count; name"):
        planned(folder, path)


Spoil = Callable[[dict[str, Any]], None]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda x: x.update(image=7), r":2: image: expected a text"),
        (lambda x: x.update(imge="a"), r"did you mean image"),
        (lambda x: x.update(boxes=5), r":2: boxes: expected a list"),
        (lambda x: x.update(boxes=[{"bbox": [1]}]), r"boxes\[0\].*did you mean box"),
        (lambda x: x.update(image_id=0), r":2: image_id 0 occurs twice"),
        (lambda x: x.update(image_id=2**63), r":2: image_id: expected a whole"),
        (lambda x: x.update(height=-1), r":2: height: expected a whole number"),
    ],
)
def test_a_bad_line_is_named(folder: Path, spoil: Spoil, message: str) -> None:
    bad = line("b.jpg", (1, 1, 9, 9))
    spoil(bad)
    path = write_lines(folder / "b.jsonl", [line("a.jpg"), bad])
    with pytest.raises(DataError, match=message):
        planned(folder, path, max_bad_share=0.0)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.json", b'{"images": [{"id": 1, ', r"expected .* at character \d+, found"),
        ("x.json", b"[1, 2]", r"expected '\{' at character 0"),
        ("x.json", b'{"images": {"id": 1}}', r"expected a list of images"),
        ("x.json", b'{"images": []}', "lists no images"),
        ("x.json", b'{"images": [' + b"[" * 100_000, "at most 100 values within"),
        ("x.json", b'{"images": [%b]}' % (b"[" * 101 + b"]" * 101), "at most 100"),
        ("x.json", b'{"images": [{"id": "' + b"x" * 999, "expected a value of JSON"),
        ("x.json", b'{"images": [{"id": \xff', "is no UTF-8"),
        ("x.json", b"\x1f\x8b broken", "cannot be read"),
        ("x.json", b'{"images": [{"id":1,"file_name":"a"},{"id":1}]}', None),
        ("x.jsonl", b"nonsense\n", r"x\.jsonl:1: expected one JSON object"),
        ("x.jsonl", b"", "no line|holds no picture|holds no line"),
        ("x.parquet", b"PAR1", "expected"),
    ],
)
def test_sources_that_are_none(
    folder: Path, name: str, content: bytes, message: str | None
) -> None:
    path = folder.with_name(name)
    path.write_bytes(content)
    if message is None:
        assert len(planned(folder, path)) == 1
        return
    with pytest.raises(DataError, match=message) as caught:
        planned(folder, path)
    assert str(path) in str(caught.value)


def test_one_value_is_not_endless(folder: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(json_members, "ELEMENT", 1000)
    path = folder.with_name("x.json")
    path.write_text('{"images": [{"id": "' + "x" * (3 << 20) + '"}]}')
    with pytest.raises(DataError, match="of at most 1000 characters"):
        planned(folder, path)


def test_a_folder_that_is_none(folder: Path) -> None:
    path = toy_stages.write_pictures(folder.with_name("toys"), 1)
    with pytest.raises(DataError, match="no such folder of pictures"):
        planned(folder.with_name("none"), path)
    with pytest.raises(DataError, match="no such file"):
        planned(folder, folder / "none.jsonl")
    with pytest.raises(DataError, match="another file of the boxes has this name"):
        plan(folder.with_name("engine"), [path, path], folder, shard=1)
