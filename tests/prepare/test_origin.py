"""What a data set was built from is known, and so is that it has changed."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from unires_jax.prepare import origin
from unires_jax.prepare.origin import SAMPLE


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    folder = tmp_path / "raw"
    (folder / "images").mkdir(parents=True)
    (folder / "train.jsonl").write_text('{"text": "red"}')
    (folder / "long.jsonl").write_bytes(b"x" * (4 * SAMPLE))
    (folder / "images" / "ü.jpg").write_bytes(b"picture")
    return folder


def state(raw: Path, **others: str) -> origin.Origin:
    return origin.describe({"raw": str(raw), **others}, raw.parent / "data")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda raw: (raw / "val.jsonl").touch(), "3 files of .*, now 4 files"),
        (lambda raw: (raw / "train.jsonl").unlink(), "now 2 files"),
        (lambda raw: (raw / "train.jsonl").write_text('{"text": "tan"}'), "other cont"),
        (lambda raw: (raw / "train.jsonl").rename(raw / "val.jsonl"), "other content"),
        (lambda raw: (raw / "images" / "ü.jpg").write_bytes(b"p"), "of .*, now 3 fil"),
        (lambda raw: (raw / "long.jsonl").write_bytes(b"y" * (4 * SAMPLE)), "other c"),
    ],
)
def test_changes_are_told(
    raw: Path, change: Callable[[Path], object], said: str
) -> None:
    before = state(raw)
    change(raw)
    assert re.search(f"^--raw held .*{said}", origin.changes(before, state(raw)))


def test_what_is_no_change(raw: Path) -> None:
    before = state(raw, images="", split="a")
    assert list(before) == ["raw"] and before["raw"]["files"] == 3
    (raw / "train.jsonl").touch()  # another time
    (raw / ".git").mkdir()
    (raw / ".git" / "x").touch()
    assert origin.changes(before, state(raw)) == ""
    (raw / "built").mkdir()
    (raw / "built" / "shard").touch()
    assert origin.describe({"raw": str(raw)}, raw / "built") == before
    assert origin.changes(before, {}) == ""  # the raw files are gone
    assert origin.changes({}, before) == ""  # built by a version before


def test_what_was_built_within_the_source_is_none_of_it(raw: Path) -> None:
    before = origin.describe({"raw": str(raw)}, raw)
    for folder in ("mres32m/1.0.0", "mres32m/2.0.0.partial", "x/incomplete.A_1.0.0"):
        (raw / folder).mkdir(parents=True)
        (raw / folder / "shard").touch()
    (raw / "mres32m/1.0.0/dataset_info.json").touch()
    (raw / "mres32m/rejected.jsonl").touch()
    assert origin.describe({"raw": str(raw)}, raw) == before


def test_a_pattern_and_a_file(raw: Path) -> None:
    assert state(raw / "*.jsonl")["raw"]["files"] == 2
    assert state(raw / "train.jsonl")["raw"]["bytes"] == 15
