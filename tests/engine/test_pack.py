"""A pack holds what was kept, and `build` reads it as it was."""

import dataclasses
import gzip
import json
from pathlib import Path

import pytest
from helpers import engine_records as made

from unires_jax import cli
from unires_jax.data.prepared import open_split
from unires_jax.data.records import PART
from unires_jax.engine import pack as packing
from unires_jax.engine.pack import pack
from unires_jax.engine.record import Picture, Text
from unires_jax.errors import DataError, UsageError


def lines(path: Path) -> list[dict]:
    return [
        json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()
    ]


def files(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if "jsonl" in p.name)


@pytest.fixture
def pictures(tmp_path: Path) -> list[Picture]:
    return made.partworld_engine(tmp_path, 8)


def test_from_the_filter_to_prepared_data(
    tmp_path: Path, pictures: list[Picture], capsys: pytest.CaptureFixture[str]
) -> None:
    first = next(r for r in pictures[0].regions if r.level == "object")
    pictures[0] = made.drop(pictures[0], first.id, "M1")
    pictures[1] = dataclasses.replace(pictures[1], keep=False, codes=("I2",))
    silent = [dataclasses.replace(r, texts=()) for r in pictures[2].regions]
    pictures[2] = dataclasses.replace(pictures[2], regions=tuple(silent))
    photos, boxes = tmp_path / "photos", {"/home/me/boxes.jsonl": "12ab"}
    out = made.write_engine(tmp_path, pictures, sources=boxes)
    assert packing.main(["--out", str(out), "--licence", "pictures: mine <b>"]) == 0
    assert files(photos) == ["train-00000.jsonl.gz"]
    text = (photos / "README.md").read_text()
    assert "pictures: mine \\<b\\>" in text and "geometry: made by unires\\_jax" in text
    assert "- boxes.jsonl: SHA-256 12ab" in text and "/home" not in text
    packed = lines(photos / "train-00000.jsonl.gz")
    assert sorted(x["image_id"] for x in packed) == sorted(
        p.image_id for p in pictures if p.image_id not in (1, 2)
    )
    capsys.readouterr()
    assert cli.main(["doctor", str(photos)]) == 0
    assert "Nothing is wrong." in capsys.readouterr().out
    data = tmp_path / "data"
    argv = ["build", "mres32m", "--raw", str(photos), "--data_dir", str(data)]
    assert cli.main([*argv, "--workers", "0"]) == 0
    split = open_split("mres32m:train", data)
    assert len(split) == 6
    by_id = {split[i].image_id: split[i] for i in range(6)}
    for picture in pictures[:1] + pictures[3:]:
        record = by_id[picture.image_id]
        kept = [r for r in picture.regions if r.keep]
        assert [(m.rle, m.category, m.part) for m in record.masks] == [
            (r.rle, r.category, r.part) for r in kept
        ]
        for mask, region in zip(record.masks, kept, strict=True):
            parent = kept[mask.parent].id if mask.parent >= 0 else ""
            assert parent == (region.parent if mask.level == PART else "")
        said = {
            (x.raw, tuple(kept[i].id for i in x.targets)) for x in record.expressions
        }
        assert said == {
            (x.text, x.targets) for r in picture.regions for x in r.texts if x.keep
        }
        assert record.coco_id == picture.coco_id
        assert (photos / picture.file).read_bytes() == record.image


def test_scores_lie_beside_and_no_text_is_without(
    tmp_path: Path, pictures: list[Picture]
) -> None:
    pack(tmp_path / "engine")
    photos = tmp_path / "photos"
    packed = lines(photos / "train-00000.jsonl.gz")
    beside = lines(photos / "scores" / "train-00000.jsonl.gz")
    assert len(packed) == len(beside) == 8
    by_id = {p.image_id: p for p in pictures}
    for line, scores in zip(packed, beside, strict=True):
        picture = by_id[line["image_id"]]
        assert (scores["file"], scores["sha256"]) == (picture.file, picture.sha256)
        regions = {r.id: r for r in picture.regions}
        of = {m["id"]: m["region"] for m in scores["masks"]}
        for said, row in zip(line["expressions"], scores["expressions"], strict=True):
            same = ("ref_id", "sent_id", "text")
            assert [said[k] for k in same] == [row[k] for k in same]
            text = next(
                x
                for r in picture.regions
                for x in r.texts
                if x.text == said["text"]
                and x.targets == tuple(of[t] for t in said["targets"])
            )
            names = ("form", "src", "raw", "of", "scores")
            assert [row[k] for k in names] == [getattr(text, k) for k in names]
        for row in scores["masks"]:
            assert row["scores"] == regions[row["region"]].scores


def test_a_split_follows_from_the_pictures_alone(
    tmp_path: Path, pictures: list[Picture], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "PICTURES", 3)
    packed = pack(tmp_path / "engine", val_share=0.4)
    photos = tmp_path / "photos"
    val = {line["image_id"] for p in photos.glob("val-*.gz") for line in lines(p)}
    train = {line["image_id"] for p in photos.glob("train-*.gz") for line in lines(p)}
    assert val and train and len(val) + len(train) == 8
    assert packed.splits["val"]["pictures"] == len(val)
    assert len(list(photos.glob("train-*.gz"))) > 1
    made.write_engine(tmp_path, [*pictures[::-1]][:5], shards=3)
    pack(tmp_path / "engine", val_share=0.4, overwrite=True)
    again = {line["image_id"] for p in photos.glob("val-*.gz") for line in lines(p)}
    assert again == val & {p.image_id for p in pictures[3:]}


@pytest.mark.parametrize("form", ["embed", "copy"])
def test_another_folder(tmp_path: Path, pictures: list[Picture], form: str) -> None:
    target = tmp_path / "elsewhere"
    with pytest.raises(UsageError, match="--embed"):
        pack(tmp_path / "engine", target)
    pack(tmp_path / "engine", target, **{form: True})
    assert (target / pictures[0].file).exists() == (form == "copy")
    assert files(tmp_path / "photos") == []
    assert cli.main(["doctor", str(target)]) == 0


def test_what_is_there_stays(tmp_path: Path, pictures: list[Picture]) -> None:
    out, photos = tmp_path / "engine", tmp_path / "photos"
    pack(out)
    before = (photos / "train-00000.jsonl.gz").read_bytes()
    with pytest.raises(DataError, match="--overwrite"):
        pack(out)
    listing = json.loads((photos / "scores/pack.json").read_text())
    for finished in (True, False):  # a pack that was killed goes again unasked
        listing["finished"] = finished
        (photos / "scores/pack.json").write_text(json.dumps(listing))
        for folder in (photos, photos / "scores"):
            (folder / "train-00000.jsonl.gz.77.tmp").write_bytes(before[:99])
        pack(out, overwrite=finished)
        assert (photos / "train-00000.jsonl.gz").read_bytes() == before
        assert not [*photos.rglob("*.tmp")]
    (photos / "README.md").write_text("# My holiday")
    with pytest.raises(DataError, match="rename it"):
        pack(out, overwrite=True)
    (photos / "README.md").unlink()
    (photos / "train.jsonl").write_text("{}")
    with pytest.raises(DataError, match=r"train\.jsonl.*read it along"):
        pack(out, overwrite=True)
    assert (photos / "train.jsonl").read_text() == "{}"
    assert (photos / "train-00000.jsonl.gz").read_bytes() == before


def test_a_listing_of_others_deletes_nothing(
    tmp_path: Path, pictures: list[Picture]
) -> None:
    (tmp_path / "photos/scores").mkdir()
    listing = {"files": ["../../engine/plan/plan.json", pictures[0].file, 7]}
    (tmp_path / "photos/scores/pack.json").write_text(json.dumps(listing))
    pack(tmp_path / "engine")
    assert (tmp_path / "engine/plan/plan.json").exists()
    assert (tmp_path / "photos" / pictures[0].file).exists()


def test_a_picture_that_was_changed_is_refused(
    tmp_path: Path, pictures: list[Picture]
) -> None:
    path = tmp_path / "photos" / pictures[3].file
    path.write_bytes((tmp_path / "photos" / pictures[4].file).read_bytes())
    with pytest.raises(DataError, match=f"{pictures[3].file}.*changed since"):
        pack(tmp_path / "engine")
    path.unlink()
    with pytest.raises(DataError, match="expected a file"):
        pack(tmp_path / "engine")
    nothing = [dataclasses.replace(p, keep=False) for p in pictures]
    made.write_engine(tmp_path, nothing)
    with pytest.raises(DataError, match="nothing was kept"):
        pack(tmp_path / "engine")


def test_what_denotes_nothing_is_one_referent_of_a_level(
    pictures: list[Picture],
) -> None:
    """Training draws referents: many negatives must not crowd out the things."""
    nothing = [
        Text("the zebra", "negative", ()),
        Text("a big zebra", "negative", ()),
        Text("wing of the car", "negative", (), level="part"),
        Text("fin of the car", "negative", (), level="part"),
    ]
    first, *others = pictures[0].regions
    first = dataclasses.replace(first, texts=(*first.texts, *nothing))
    picture = dataclasses.replace(pictures[0], regions=(first, *others))
    record = packing.to_record(picture, packing.Content.of(picture), b"")
    empty = [x for x in record.expressions if x.no_target]
    assert {x.raw for x in empty} >= {text.text for text in nothing}
    assert len({x.ref_id for x in empty}) == len({x.level for x in empty}) == 2
    by_text = {x.raw: x for x in empty}
    assert by_text["wing of the car"].level == PART != by_text["the zebra"].level
    full = {x.ref_id for x in record.expressions if not x.no_target}
    assert not full & {x.ref_id for x in empty}
