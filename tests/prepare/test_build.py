"""`unires build`: real builders, real files, and errors that say what to do."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from helpers import mres_lines
from helpers.paths import HELPERS

from unires_jax import cli, lock, partworld
from unires_jax.config import BACKBONES
from unires_jax.data import prepared, tokenizer
from unires_jax.data.tokenizer import load_tokenizer
from unires_jax.errors import ConfigError, DataError
from unires_jax.prepare import build as builds
from unires_jax.prepare.builders import builder_options, load_builder

KILLED = HELPERS / "killed_build.py"
SIZES = {"scenes": 6, "eval_scenes": 2, "seed": 4}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data_dir = tmp_path_factory.mktemp("data")
    builds.build("partworld", data_dir, **SIZES)
    return data_dir


def test_what_is_read_back_is_what_was_drawn(data_dir):
    for split in partworld.SPLITS:
        size = SIZES["scenes" if split == "train" else "eval_scenes"]
        stored = prepared.open_split(f"partworld:{split}", data_dir)
        assert len(stored) == size
        for index in range(size):
            assert stored[index] == partworld.draw_record(4, split, index)


def test_a_tokenizer_of_the_captions_lies_beside_the_data(data_dir):
    split = prepared.open_split("partworld:train", data_dir)
    assert split.tokenizer is not None
    read = tokenizer.load_tokenizer(split.tokenizer, tokenizer.CLIP)
    (ids,) = read.ids([split[0].expressions[0].sent])
    assert read.decode(ids) == split[0].expressions[0].sent.replace("'", " '")
    (words,) = read.ids(["the"])
    assert len(words) == 1  # a word of the captions is one token


def test_the_same_request_is_not_built_twice(data_dir, capsys):
    folder = data_dir / "partworld" / "1.0.0"
    before = {p: p.stat().st_mtime_ns for p in folder.iterdir()}
    assert builds.build("partworld", data_dir, **SIZES) == folder
    assert {p: p.stat().st_mtime_ns for p in folder.iterdir()} == before
    assert "already built" in capsys.readouterr().out


def test_a_build_leaves_nothing_in_the_temporary_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TFDS asks its bucket for every new builder, by a folder that stays."""
    spare = tmp_path / "tmp"
    spare.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(spare))
    mres_lines.write_lines(tmp_path / "raw" / "train.jsonl", [mres_lines.small_line(1)])
    raw = str(tmp_path / "raw")
    folder = builds.build("mres32m", tmp_path, raw=raw, workers=0, vocab=600)
    assert not list(spare.iterdir())
    words = load_tokenizer(folder, BACKBONES["clip"].text)  # of its sentences
    assert 512 < words.vocab_size <= 600


def test_another_size_is_refused_until_overwritten(data_dir, tmp_path):
    args = ["partworld", "--data_dir", str(tmp_path), "--eval_scenes", "1"]
    assert builds.main([*args, "--scenes=3"]) == 0
    assert len(prepared.open_split("partworld:train", tmp_path)) == 3
    with pytest.raises(
        DataError, match=r"with {'scenes': 3}, now .* {'scenes': 4}; pass --ov"
    ):
        builds.build("partworld", tmp_path, scenes=4, eval_scenes=1)
    assert builds.main([*args, "--scenes", "4", "--overwrite"]) == 0
    assert len(prepared.open_split("partworld:train", tmp_path)) == 4
    options = tmp_path / "partworld" / "1.0.0" / builds.OPTIONS_FILE
    assert json.loads(options.read_text()) == {"scenes": 4, "eval_scenes": 1, "seed": 0}


def test_a_build_killed_at_any_rename_is_finished_by_the_same_command(tmp_path):
    sizes = ["--scenes=2", "--eval_scenes=1"]
    for n in range(1, 20):
        args = ["partworld", "--data_dir", str(tmp_path / str(n)), *sizes]
        code = subprocess.run([sys.executable, KILLED, f"kill:{n}", *args]).returncode
        assert builds.main(args) == 0
        folder = tmp_path / str(n) / "partworld" / "1.0.0"
        assert json.loads((folder / builds.OPTIONS_FILE).read_text())["scenes"] == 2
        assert len(prepared.open_split("partworld:train", tmp_path / str(n))) == 2
        if code == 0:
            break
        assert code == -signal.SIGKILL
    assert n > 2  # it was killed, and then it was not


def test_what_killed_builds_left_is_removed(tmp_path):
    place = tmp_path / "partworld"
    left = [place / "incomplete.AB12CD_1.0.0", place / ".picturesxy", place / "1.0.0"]
    for folder in (*left[:2], place / "incomplete.AB12CD_2.0.0"):
        folder.mkdir(parents=True)
        (folder / "dataset_info.json").touch()
    builds.build("partworld", tmp_path, scenes=2, eval_scenes=1)
    assert {p.name for p in place.iterdir()} == {"1.0.0", "incomplete.AB12CD_2.0.0"}
    names = {p.name for p in left[2].iterdir()}
    (left[2] / "progress").mkdir()
    (left[2] / "tokenizer.json.123.tmp").touch()
    builds.build("partworld", tmp_path, scenes=2, eval_scenes=1)
    assert {p.name for p in left[2].iterdir()} == names


def test_two_builds_of_one_folder_do_not_meet(tmp_path):
    sizes = {"scenes": 2, "eval_scenes": 1}
    (tmp_path / "partworld").mkdir()
    with (
        lock.hold_folder(tmp_path / "partworld", "build"),
        pytest.raises(ConfigError, match="partworld is being written by another build"),
    ):
        builds.build("partworld", tmp_path, **sizes)
    builds.build("partworld", tmp_path, **sizes)


def test_a_lost_tokenizer_is_trained_again(tmp_path):
    folder = builds.build("partworld", tmp_path, scenes=2, eval_scenes=1)
    path = folder / prepared.TOKENIZER_FILE
    first = path.read_bytes()
    path.unlink()
    builds.build("partworld", tmp_path, scenes=2, eval_scenes=1)
    assert path.read_bytes() == first


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("partwrld", {}, "no data set 'partwrld'.*did you mean 'partworld'"),
        ("zzz", {}, "no data set 'zzz'.*there are: .*partworld"),
        ("partworld", {"scnes": "3"}, "no option 'scnes', did you mean 'scenes'"),
        ("partworld", {"scenes": "many"}, "--scenes 'many' is no int"),
        ("partworld", {"seed": -1}, "--seed -1: expected a whole number from 0"),
        ("partworld", {"scenes": 0}, "expected at least 1 of each"),
        ("mres32m", {"max_bad_share": "nan"}, "share 'nan': expected a share, from 0"),
        ("mres32m", {"max_bad_share": "1e9"}, "'1e9': expected a share, from 0 to 1"),
        ("mres32m", {"split": "a/b"}, "--split='a/b': expected a name of letters"),
    ],
)
def test_errors_name_what_is_wrong(tmp_path, name, options, message):
    with pytest.raises(DataError, match=message):
        builds.build(name, tmp_path, **options)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_source_is_its_content_by_whatever_path(tmp_path, monkeypatch, capsys):
    mres_lines.write_files(tmp_path / "raw")
    line = json.dumps(mres_lines.good_line())
    (tmp_path / "raw" / "train.jsonl").write_text(line)
    (tmp_path / "link").symlink_to("raw")
    monkeypatch.chdir(tmp_path)
    places = [f"{tmp_path}/raw//", "raw", "./link", "raw"]
    for raw in places:
        builds.build("mres32m", "data", raw=raw, workers=0)
    assert capsys.readouterr().out.count("already built") == len(places) - 1
    (tmp_path / "raw" / "train.jsonl").write_text(line + "\n")
    with pytest.raises(DataError, match="older than its source"):
        builds.build("mres32m", "data", raw=places[0], workers=0)
    with pytest.raises(DataError, match="was built with"):
        builds.build("mres32m", "data", raw="raw", workers=0)


def test_pictures_that_lie_elsewhere(tmp_path, capsys):
    """Lines apart from their pictures, and links out of the folder of these."""
    lines, photos, store = (tmp_path / name for name in ("lines", "photos", "store"))
    mres_lines.write_files(lines)
    line = mres_lines.good_line() | {"image": "2024/a.jpg"}
    mres_lines.write_lines(lines / "train.jsonl", [line])
    store.mkdir()
    (lines / "images" / "a.jpg").rename(store / "a.jpg")
    photos.mkdir()
    (photos / "2024").symlink_to(store)
    raw, images = ["--raw", str(lines)], ["--images", str(photos)]

    def run(*options: str) -> int:
        data = ["--data_dir", str(tmp_path / "data"), "--workers", "0"]
        return cli.main(["build", "mres32m", *data, *raw, *options])

    def doctor(*options: str) -> int:
        return cli.main(["doctor", str(lines), *options])

    assert run() == doctor() == 1
    assert run(*images) == doctor(*images) == 1
    assert "with --follow_links" in capsys.readouterr().err
    assert run(*images, "--follow_links") == doctor(*images, "--follow_links") == 0
    record = prepared.PreparedSplit(str(tmp_path / "data/mres32m/1.0.0"), "train")[0]
    assert record.filename == "2024/a.jpg"
    assert record.image == (store / "a.jpg").read_bytes()
    with pytest.raises(DataError, match="no such folder of images"):
        builds.build("mres32m", tmp_path, raw=str(lines), images="none", workers=0)
    with pytest.raises(DataError, match=r"was built with .*follow_links"):
        builds.build(
            *("mres32m", tmp_path / "data"), raw=raw[1], images=images[1], workers=0
        )


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_that_no_build_made_is_left_alone(tmp_path, overwrite):
    notes = tmp_path / "partworld" / "1.0.0" / "notes.txt"
    notes.parent.mkdir(parents=True)
    notes.touch()
    with pytest.raises(DataError, match=r"1\.0\.0: is there and is no prepared data"):
        builds.build("partworld", tmp_path, overwrite=overwrite, **SIZES)
    assert notes.exists()


def test_a_name_that_is_no_text(tmp_path, data_dir):
    name = tmp_path / os.fsdecode(b"data\xff")
    with pytest.raises(DataError, match="the bytes of its name are no UTF-8"):
        builds.build("partworld", name, **SIZES)
    shutil.copytree(data_dir, name)
    with pytest.raises(DataError, match="the bytes of its name are no UTF-8"):
        len(prepared.open_split("partworld:val", name))


def test_words_that_are_no_options_are_refused(tmp_path):
    with pytest.raises(DataError, match="'extra' is no option; write --name value"):
        builds.main(["partworld", "--data_dir", str(tmp_path), "extra"])


def test_a_value_may_begin_with_dashes(monkeypatch):
    options = {}
    monkeypatch.setattr(builds, "build", lambda *_, **chosen: options.update(chosen))
    words = ["--beam=--runner=FnApiRunner --streaming", "--raw=a=b", "--split", ""]
    assert builds.main(["mres32m", *words, "--data_dir", "d", "--overwrite"]) == 0
    assert options == {
        "beam": "--runner=FnApiRunner --streaming",
        "raw": "a=b",
        "split": "",
        "datasets_dir": None,
        "overwrite": True,
    }


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--raw"], "^--raw has no value; write --raw=value"),
        (["--raw", "--split=a"], "^--raw has no value"),
        (["--data_dir"], "^--data_dir has no value"),
        (["-raw", "a"], "'-raw' is no option; write --name value"),
        (["--rw=a"], "no option 'rw', did you mean 'raw'"),
        (["--rw", "a"], "no option 'rw', did you mean 'raw'"),
    ],
)
def test_options_without_a_value_and_unknown_ones_are_refused(words, message):
    with pytest.raises(DataError, match=message):
        builds.main(["mres32m", *words])


@pytest.mark.parametrize(
    "specs",
    [
        [],
        ["a:val"],
        ["a/b:val", "c:test"],
        ["/d/lr=1,bs=2/a/1.0.0:val", "c:test"],
        ["gs://b/lr=1,bs=2,x/a:val", "c"],
    ],
)
def test_commas_of_folders_are_no_ends_of_specs(specs):
    assert prepared.rejoined(",".join(specs).split(",") if specs else []) == specs


def test_a_config_without_its_data_set_is_named(data_dir, tmp_path):
    shutil.copytree(data_dir / "partworld", tmp_path / "family" / "partworld_small")
    with pytest.raises(DataError, match=r"write family/partworld_small$"):
        prepared.open_split("partworld_small:train", tmp_path)
    command = "unires build family --config other --data_dir"
    with pytest.raises(DataError, match=command):
        prepared.open_split("family/other/1.0.0:train", tmp_path)


def test_nothing_lies_beside_the_data(data_dir):
    assert [p.name for p in data_dir.iterdir()] == ["partworld"]


def test_a_folder_that_is_called_datasets_is_not_asked(tmp_path, monkeypatch):
    foreign = tmp_path / "datasets" / "partworld"
    foreign.mkdir(parents=True)
    (foreign / "partworld_dataset_builder.py").write_text("raise SystemExit('foreign')")
    monkeypatch.chdir(tmp_path)
    assert load_builder("partworld").__module__ == "partworld_dataset_builder"


def test_a_missing_datasets_folder_is_named(tmp_path):
    with pytest.raises(DataError, match=r"no folder .*elsewhere"):
        builds.build("partworld", tmp_path, datasets_dir=tmp_path / "elsewhere")


def test_a_file_without_a_builder_is_named(tmp_path):
    folder = tmp_path / "empty"
    folder.mkdir()
    (folder / "empty_dataset_builder.py").write_text("")
    with pytest.raises(DataError, match="defines no class Builder"):
        builds.build("empty", tmp_path, datasets_dir=tmp_path)


def test_help_lists_the_builder_s_options(capsys):
    assert builds.main(["partworld", "--help"]) == 0
    assert "--eval_scenes (default: 250)" in capsys.readouterr().out
    for name in ("refcocom", "mres32m", "partworld", "refcoco"):
        assert builds.main([name, "--help"]) == 0
        text = capsys.readouterr().out
        for option in builder_options(load_builder(name)):
            assert re.search(rf"^  --{option} .*\n    \w", text, re.MULTILINE), option
        assert max(map(len, text.splitlines())) <= 80
    assert builds.main([]) == 2
