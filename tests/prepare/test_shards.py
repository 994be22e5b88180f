"""The sharded conversion: any number of workers, deaths, bad lines; Beam."""

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow_datasets as tfds
from helpers import mres_lines
from helpers.paths import HELPERS, ROOT
from helpers.programs import is_running

from unires_jax.data import prepared
from unires_jax.data.records import Record
from unires_jax.errors import DataError
from unires_jax.prepare import build as builds
from unires_jax.prepare import build_summary, shards
from unires_jax.prepare.mres.jsonl import find_files
from unires_jax.prepare.mres.plan import plan

LINES, SHARDS = 23, 5
KILLED = HELPERS / "killed_build.py"
BEAM = "--runner=FnApiRunner"
needs_beam = pytest.mark.skipif(
    not importlib.util.find_spec("apache_beam"),
    reason="needs pip install 'unires_jax[beam]'",
)


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two files of train and one of val."""
    folder = tmp_path_factory.mktemp("raw")
    lines = [mres_lines.small_line(i) for i in range(LINES)]
    for line in lines:  # in an order that no sorting of anything else gives
        line["coco_id"] = 7 * (line["image_id"] + 3) % LINES
    mres_lines.write_lines(folder / "train-00000.jsonl", lines[:14])
    mres_lines.write_lines(folder / "train-00001.jsonl", lines[14:20])
    mres_lines.write_lines(folder / "val.jsonl", lines[20:])
    return folder


def build(raw: Path, data_dir: Path, **options: Any) -> Path:
    options = {"workers": 0, "shards": SHARDS, **options}
    return builds.build("mres32m", data_dir, raw=str(raw), **options)


@pytest.fixture(scope="module")
def unbroken(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(raw, tmp_path_factory.mktemp("data"))


def shards_of(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.glob("*.array_record-*")}


def expected(raw: Path) -> list[Record]:
    lines = [x for run in plan(find_files(raw)) for _, x in run.read()]
    assert all(isinstance(x, Record) for x in lines)
    return lines  # type: ignore[return-value]


def test_what_is_read_back_is_what_the_lines_say(raw: Path, unbroken: Path) -> None:
    train = prepared.open_split("mres32m:train", unbroken.parents[1])
    val = prepared.open_split("mres32m:val", unbroken.parents[1])
    assert (len(train), len(val)) == (20, 3)
    read = [s[i] for s in (train, val) for i in range(len(s))]
    assert read == expected(raw)  # in the order of the lines
    names = {p.name for p in unbroken.iterdir()}
    shards = {n for n in names if "array_record" in n}
    assert len({n for n in shards if "train" in n}) >= SHARDS
    stored = {"dataset_info.json", "features.json", builds.OPTIONS_FILE}
    stored.add(build_summary.FILE)
    for split in (train, val):
        ids = f"coco_ids-{split.split}-{split.fingerprint()}.npy"
        stored |= {ids, f"sentences-{split.split}-{split.fingerprint()}.json"}
        coco_ids = [split[i].coco_id for i in range(len(split))]
        assert np.load(unbroken / ids).tolist() == coco_ids
        assert len(set(coco_ids)) == len(split)
    assert names - shards == stored


def test_what_is_told_of_files_and_of_pictures_in_two_splits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = tmp_path / "raw"
    lines = [mres_lines.small_line(i) for i in range(5)]
    mres_lines.write_lines(raw / "pets-train.jsonl", lines[:3])
    same = {"image_bytes": lines[1]["image_bytes"]}  # under another number
    val = [lines[3] | same, lines[4]]
    (raw / "pets-val.jsonl").write_bytes(
        "".join(json.dumps(x) + "\n" for x in val).encode("utf-16")
    )
    folder = build(raw, tmp_path)
    summary = json.loads((folder / build_summary.FILE).read_text())
    assert summary["splits"] == {
        "train": {"images": 3, "expressions": 3, "files": ["pets-train.jsonl"]},
        "val": {"images": 2, "expressions": 2, "files": ["pets-val.jsonl"]},
    }
    (shared,) = (n for n in summary["notes"] if "byte for byte" in n["text"])
    assert shared["count"] == 1
    printed = capsys.readouterr().out
    assert "note: pets-val.jsonl: split val" in printed and shared["text"] in printed


def test_tfds_reads_it_as_its_own(unbroken: Path) -> None:
    builder = tfds.builder_from_directory(str(unbroken))
    assert builder.info.splits["train"].num_examples == 20
    assert builder.info.splits["val"].num_examples == 3
    assert builder.info.full_name == "mres32m/1.0.0"
    example = builder.as_data_source("val")[0]
    assert example["image"].shape == (mres_lines.HEIGHT, mres_lines.WIDTH, 3)
    assert example["expressions"]["raw"][0] == b"box number 20"


def test_workers_change_nothing(raw: Path, unbroken: Path, tmp_path: Path) -> None:
    assert shards_of(build(raw, tmp_path, workers=2)) == shards_of(unbroken)
    # Asked again with other workers it is the same data, already built.
    build(raw, tmp_path, workers=3)
    with pytest.raises(DataError, match="was built with"):
        build(raw, tmp_path, shards=1)


def test_compressed_files_give_the_same_records(raw: Path, tmp_path: Path) -> None:
    import gzip

    packed = tmp_path / "packed"
    packed.mkdir()
    for path in raw.iterdir():
        (packed / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
    folder = build(packed, tmp_path)
    assert len(list(folder.glob("*train.array_record-*"))) == 2  # never cut
    train = prepared.open_split("mres32m:train", tmp_path)
    assert [train[i] for i in range(20)] == expected(raw)[:20]


def run_killed(moment: str, raw: Path, data: Path, workers: int) -> subprocess.Popen:
    options = ["--raw", raw, "--data_dir", data, "--workers", workers]
    argv = [sys.executable, KILLED, moment, "mres32m", *options, "--shards", SHARDS]
    return subprocess.Popen(
        list(map(str, argv)),
        cwd=ROOT,
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )


def finished(data_dir: Path) -> dict[int, int]:
    """Shards marked as done and when they were written."""
    folder = data_dir / "mres32m" / "1.0.0.partial" / shards.PROGRESS
    done = [int(p.stem) for p in folder.glob("*.done")]
    paths = {i: folder / f"{i:05}.array_record" for i in done}
    return {i: p.stat().st_mtime_ns for i, p in paths.items() if p.exists()}


def check_end(raw: Path, data: Path, unbroken: Path, before: dict[int, int]) -> None:
    """The restarted conversion is byte-identical and wrote nothing twice."""
    folder = build(raw, data)
    assert shards_of(folder) == shards_of(unbroken)
    assert {p.name for p in folder.iterdir()} == {p.name for p in unbroken.iterdir()}
    assert not list(data.glob("**/*partial*"))
    times = {p.stat().st_mtime_ns for p in folder.glob("*.array_record-*")}
    assert set(before.values()) <= times


# Each shard is named in three steps: records, ids, marker. 2 is within the first, 8
# within the third; 4 is the first step of the second.
@pytest.mark.parametrize(("moment", "done"), [(2, 0), (4, 1), (8, 2)])
def test_killed_within_a_shard(
    raw: Path, unbroken: Path, tmp_path: Path, moment: int, done: int
) -> None:
    process = run_killed(f"kill:{moment}", raw, tmp_path, 0)
    assert process.wait(120) == -signal.SIGKILL
    before = finished(tmp_path)
    assert sorted(before) == list(range(done))
    assert not (tmp_path / "mres32m" / "1.0.0").exists()
    check_end(raw, tmp_path, unbroken, before)


def test_killed_while_finishing(raw: Path, unbroken: Path, tmp_path: Path) -> None:
    count = len(shards_of(unbroken))
    process = run_killed(f"kill:{3 * count + 3}", raw, tmp_path, 0)
    assert process.wait(120) == -signal.SIGKILL
    before = finished(tmp_path)
    assert len(before) == count - 2  # two have their last name
    check_end(raw, tmp_path, unbroken, before)


def test_killed_with_workers(raw: Path, unbroken: Path, tmp_path: Path) -> None:
    process = run_killed("hang:00002.done", raw, tmp_path, 2)
    try:
        deadline = time.monotonic() + 120
        while len(finished(tmp_path)) < len(shards_of(unbroken)) - 1:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        workers = children(process.pid)
        assert workers
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    before = finished(tmp_path)
    deadline = time.monotonic() + 60
    while any(map(is_running, workers)):  # they end with their parent
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert 2 not in before
    check_end(raw, tmp_path, unbroken, before)


def children(pid: int) -> list[int]:
    return list(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def test_a_changed_file_is_converted_again(raw: Path, tmp_path: Path) -> None:
    source = tmp_path / "raw"
    lines = [mres_lines.small_line(i) for i in range(4)]
    mres_lines.write_lines(source / "train-a.jsonl", lines[:2])
    path = mres_lines.write_lines(source / "train-b.jsonl", [{}, lines[3]])
    with pytest.raises(DataError, match="1 of 4 lines are unusable"):
        build(source, tmp_path, shards=0)
    before = finished(tmp_path)
    assert list(before) == [0]
    mres_lines.write_lines(path, lines[2:])
    folder = build(source, tmp_path, shards=0)
    train = prepared.open_split("mres32m:train", tmp_path)
    assert [train[i].image_id for i in range(4)] == [0, 1, 2, 3]
    times = {p.stat().st_mtime_ns for p in folder.glob("*.array_record-*")}
    assert set(before.values()) < times


@pytest.mark.parametrize("workers", [0, 2])
def test_bad_lines_up_to_a_share(
    tmp_path: Path, workers: int, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "raw"
    lines = [mres_lines.small_line(i) for i in range(10)]
    lines[3]["height"] = 7
    lines[8] = {}
    path = mres_lines.write_lines(source / "train.jsonl", lines)
    options = {"shards": 3, "workers": workers}
    with pytest.raises(DataError) as error:
        build(source, tmp_path, max_bad_share=0.1, **options)
    message = str(error.value)
    assert re.search(r"2 of 10 lines .*allows 1", message)
    assert f"{path}:4: image_bytes: expected the stated" in message
    assert f"{path}:9: height" in message
    listed = tmp_path / "mres32m" / "1.0.0.partial" / "rejected.jsonl"
    entries = [json.loads(x) for x in listed.read_text().splitlines()]
    assert [x["record"] for x in entries] == [f"{path}:4", f"{path}:9"]
    assert not (tmp_path / "mres32m" / "1.0.0").exists()

    folder = build(source, tmp_path, max_bad_share=0.2, **options)
    printed = capsys.readouterr().out
    assert "mres32m train: 8 images\n" in printed
    assert f"skipped 2 lines; reasons: {folder / 'rejected.jsonl'}\n" in printed
    again = [
        json.loads(x) for x in (folder / "rejected.jsonl").read_text().split("\n")[:2]
    ]
    assert again == entries
    train = prepared.open_split("mres32m:train", tmp_path)
    ids = [train[i].image_id for i in range(len(train))]
    assert ids == [i for i in range(10) if i not in (3, 8)]


def test_a_shard_without_a_good_line_is_left_out(tmp_path: Path) -> None:
    source = tmp_path / "raw"
    mres_lines.write_lines(source / "train-0.jsonl", [{}])
    mres_lines.write_lines(source / "train-1.jsonl", [mres_lines.small_line(1)])
    folder = build(source, tmp_path, max_bad_share=0.5, shards=0)
    assert [p.name for p in folder.glob("*.array_record-*")] == [
        "mres32m-train.array_record-00000-of-00001"
    ]
    assert len(prepared.open_split("mres32m:train", tmp_path)) == 1
    with pytest.raises(DataError, match="split train: no line"):
        mres_lines.write_lines(source / "train-1.jsonl", [{}])
        build(source, tmp_path / "none", max_bad_share=1, shards=0)


def test_an_image_id_in_two_shards(tmp_path: Path) -> None:
    source = tmp_path / "raw"
    lines = [mres_lines.small_line(i) for i in (5, 1, 9)]
    first = mres_lines.write_lines(source / "train-0.jsonl", lines)
    second = mres_lines.write_lines(source / "train-1.jsonl", lines[2:])
    message = re.escape(f"image_id 9 is in {first}:3 and again in {second}:1")
    with pytest.raises(DataError, match=message):
        build(source, tmp_path, shards=0)
    mres_lines.write_lines(source / "train-1.jsonl", [mres_lines.small_line(2)])
    mres_lines.write_lines(source / "val.jsonl", lines)  # another split may have them
    build(source, tmp_path, shards=0)


def test_one_conversion_at_a_time(raw: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mres32m" / "1.0.0.partial"
    with (
        shards.Ledger(folder, [], 0.0).locked(),
        pytest.raises(DataError, match="written by another conversion"),
    ):
        build(raw, tmp_path)
    build(raw, tmp_path)


def test_overwrite_replaces_what_was_built(raw: Path, tmp_path: Path) -> None:
    build(raw, tmp_path)
    folder = build(raw, tmp_path, shards=1, overwrite=True)
    assert len(list(folder.glob("*val.array_record-*"))) == 1


@needs_beam
def test_beam_is_asked_for_by_a_runner(raw: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="names no runner"):
        build(raw, tmp_path, beam="--project=x")
    with pytest.raises(DataError, match=r"NoRunner.*Valid values are"):
        build(raw, tmp_path, beam="--runner=NoRunner")


@needs_beam
def test_beam_writes_the_same_shards(raw: Path, unbroken: Path, tmp_path: Path) -> None:
    folder = build(raw, tmp_path, beam=BEAM)
    assert shards_of(folder) == shards_of(unbroken)


@needs_beam
def test_beam_tells_of_bad_lines(tmp_path: Path) -> None:
    path = mres_lines.write_lines(tmp_path / "raw" / "train.jsonl", [{}])
    with pytest.raises(DataError, match=re.escape(f"{path}:1: height")):
        build(path.parent, tmp_path, beam=BEAM)


def test_without_beam_it_is_named(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    with pytest.raises(DataError, match=r"unires_jax\[beam\]"):
        build(raw, tmp_path, beam=BEAM)
    assert os.listdir(tmp_path) == ["mres32m"]
