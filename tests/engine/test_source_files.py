"""What lies in a folder of annotations is others': links out of it are not followed."""

import importlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers import part_forms, raw_forms, tool_exports

from unires_jax.data.catalogue import BENCHMARKS
from unires_jax.errors import DataError, UserError
from unires_jax.prepare.rejects import Rejects
from unires_jax.prepare.sources import cris
from unires_jax.prepare.sources.form import Raw
from unires_jax.prepare.sources.pictures import Spool

Writer = Callable[[Path], Path]
# The room of the command, the form, what writes it, and files that it finds by itself.
CASES: dict[str, tuple[str, str, Writer, str]] = {
    "labelme": ("importers", "labelme", tool_exports.write_labelme, "*.json"),
    "lisa": ("importers", "lisa", tool_exports.write_lisa, "*.json"),
    "captions": ("importers", "masks", tool_exports.write_masks, "captions.json"),
    "masks": ("importers", "masks", tool_exports.write_masks, "*_mask_1.png"),
    "table": ("importers", "masks", tool_exports.write_mask_table, "*.jsonl"),
    "parquet": ("importers", "parquet", tool_exports.write_parquet, "*.parquet"),
    "ade20k": ("part_sources", "ade20k", part_forms.write_ade20k, "*_seg.png"),
    "levels": ("part_sources", "ade20k", part_forms.write_ade20k, "*_parts_1.png"),
    "things": ("part_sources", "ade20k", part_forms.write_ade20k, "*.json"),
    "234": ("part_sources", "ade20k", part_forms.write_ade20k_part_234, "*.png"),
    "mat": ("part_sources", "pascal_part", part_forms.write_pascal_mat, "*.mat"),
}


def moved(name: str, tmp_path: Path, leave: Callable[[Path, Path], None]) -> list[str]:
    """The command line of a source of which some files are elsewhere.

    `leave` puts something where a file was; it is given where the file is now.
    """
    *_, form, write, pattern = CASES[name]
    source = write(tmp_path / "source")
    store = tmp_path / "store"
    store.mkdir()
    folder = source if source.is_dir() else source.parent
    for number, path in enumerate(sorted(folder.rglob(pattern))):
        leave(path, path.rename(store / f"{number}{path.suffix}"))
    photos = tmp_path / "source" / "photos"
    pictures = ["--pictures", str(photos)] if photos.is_dir() else []
    return ["--form", form, str(source), "--out", str(tmp_path / "out"), *pictures]


def convert(name: str, *argv: str) -> None:
    room = importlib.import_module(f"unires_jax.engine.{CASES[name][0]}.command")
    assert room.main(argv) == 0


@pytest.mark.parametrize("name", CASES)
def test_links_out_of_the_folder_are_refused_or_followed(
    name: str, tmp_path: Path
) -> None:
    if name == "parquet":
        pytest.importorskip("pyarrow")
    argv = moved(name, tmp_path, lambda path, now: path.symlink_to(now))
    with pytest.raises(UserError, match=r"a link out of it.*--follow_links"):
        convert(name, *argv)
    assert not list((tmp_path / "out").glob("*.gz"))
    convert(name, *argv, "--follow_links")


LEFT: dict[str, tuple[Callable[[Path, Path], None], str]] = {
    "circle": (lambda path, now: path.symlink_to(path.name), "Too many levels|no such"),
    "pipe": (lambda path, now: os.mkfifo(path), "expected a regular file|no such"),
}


@pytest.mark.parametrize("what", LEFT)
@pytest.mark.parametrize("name", [name for name in CASES if name != "parquet"])
def test_what_is_no_file_is_told_and_not_passed_over(
    name: str, what: str, tmp_path: Path
) -> None:
    leave, reason = LEFT[what]
    argv = moved(name, tmp_path, leave)
    with pytest.raises(UserError, match=reason):
        convert(name, *argv)


def test_a_file_that_is_named_may_be_a_link(tmp_path: Path) -> None:
    source = tool_exports.write_coco(tmp_path / "source")
    link = tmp_path / "train.json"
    link.symlink_to(source)
    photos = str(tmp_path / "source" / "photos")
    argv = ["--form", "coco", str(link), "--out", str(tmp_path / "out")]
    convert("lisa", *argv, "--pictures", photos)


def test_one_damaged_file_of_lisa_does_not_hide_the_others(tmp_path: Path) -> None:
    source = tool_exports.write_lisa(tmp_path / "source")
    (source / "0.json").write_text("{")
    argv = ["--form", "lisa", str(source), "--out", str(tmp_path / "out")]
    convert("lisa", *argv, "--max_bad_share", "0.5")
    rejected = tmp_path / "out" / "conversion" / "train" / "rejected.jsonl"
    (row,) = map(json.loads, rejected.read_text().splitlines())
    assert row["reason"].startswith(str(source / "0.json"))
    assert row["reason"].count("0.json") == 1


def test_a_missing_level_is_no_other_level(tmp_path: Path) -> None:
    """Parts of parts are not taken for parts where these are missing."""
    root = part_forms.write_ade20k(tmp_path / "source")
    for path in root.rglob("*_parts_1.png"):
        path.rename(path.with_name(path.name.replace("_1.png", "_2.png")))
    argv = ["--form", "ade20k", str(root), "--out", str(tmp_path / "out")]
    convert("ade20k", *argv)
    summary = tmp_path / "out" / "conversion" / "train" / "summary.json"
    assert json.loads(summary.read_text())["parts"] == 0


def test_masks_of_cris_that_are_links_out(tmp_path: Path) -> None:
    raw_forms.write_cris(tmp_path / "raw")
    for path in (tmp_path / "raw" / "masks").rglob("*.png"):
        path.symlink_to(path.rename(tmp_path / path.name))
    benchmark = BENCHMARKS["refcoco_unc"]
    for follow_links in (False, True):
        rejects = Rejects(share=1.0)
        spool = Spool(tmp_path)
        raw = Raw(tmp_path / "raw", spool, follow_links=follow_links)
        assert bool(cris.read(raw, benchmark, rejects).referents) == follow_links
        assert bool(rejects.count) != follow_links


def test_a_place_is_said_once() -> None:
    error = DataError("is empty", place="a.json: images[3]")
    assert str(error.at("a.json")) == "a.json: images[3]: is empty"
    assert str(error.at("a")) == "a: a.json: images[3]: is empty"
    assert str(DataError("is empty").at("a").at("a")) == "a: is empty"
