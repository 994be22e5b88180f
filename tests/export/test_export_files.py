"""What an export's folder holds, what is refused, and what an accident leaves."""

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.exporting import (
    EACH_KIND,
    GRAPH_KINDS,
    HAS_ONNX,
    STEP,
    reseal,
    write_run,
)
from helpers.tiny import make_loaded, tiny_config

import unires_jax
from unires_jax import cli
from unires_jax.checkpoint import save_arrays
from unires_jax.errors import CheckpointError, ConfigError
from unires_jax.export import command as export_module
from unires_jax.export.card import model_card
from unires_jax.export.command import KINDS, Kind, export
from unires_jax.inference import exported
from unires_jax.inference.loaded import Loaded
from unires_jax.inference.places import BUNDLED


@pytest.fixture
def copy_of(exports: Path, tmp_path: Path) -> Callable[[str], Path]:
    """A copy of an export of the kind, free to be spoiled."""
    return lambda kind: Path(shutil.copytree(exports / kind, tmp_path / "export"))


@pytest.mark.parametrize("kind", GRAPH_KINDS)
def test_graphs_hold_no_parameters_to_load(kind: str, exports: Path) -> None:
    with pytest.raises(CheckpointError, match=r"graphs.*run\.py"):
        unires_jax.load(exports / kind)


@pytest.mark.parametrize("kind", EACH_KIND)
def test_nothing_tells_of_this_machine(kind: str, exports: Path) -> None:
    """No file names a folder of it, or can be read by one user alone."""
    root = str(Path(unires_jax.__file__).parents[1]).encode()
    files = [f for f in (exports / kind).rglob("*") if f.is_file()]
    usual = (exports / kind / "README.md").stat().st_mode
    for file in files:
        data = file.read_bytes()
        assert root not in data and sys.prefix.encode() not in data, file
        assert file.stat().st_mode == usual, file


@pytest.mark.parametrize(
    ("file", "content", "message", "sealed"),
    [
        ("model.safetensors", b"\0" * 64, "model.safetensors: changed", False),
        ("tokenizer.json", None, "tokenizer.json: missing", False),
        ("config.json", b"{}", "config.json: changed", False),
        ("more.safetensors", b"\0", "more.safetensors: not of this export", False),
        ("unires.json", b"{", "unires.json: cannot be read", False),
        ("unires.json", b"[]", "format None", False),
        ("unires.json", b'{"format": "unires_jax-export/9"}', "export/9", False),
        ("unires.json", b'{"format": "unires_jax-export/1"}', "damaged", False),
        ("model.safetensors", b"\x80\x04N.", "model.safetensors: cannot be used", True),
        ("model.safetensors", b"\xff" * 100, "model.safetensors: cannot be used", True),
        ("config.json", b"{}", "cannot be used", True),
        ("config.json", b"[1]", "cannot be used", True),
        ("config.json", b"\xff", "config.json: cannot be used", True),
        ("tokenizer.json", b"{}", "tokenizer.json: cannot be used", True),
        ("tokenizer.json", b"\xff", "tokenizer.json: cannot be used", True),
    ],
)
def test_tampered_and_forged_exports_are_refused(
    file: str,
    content: bytes | None,
    message: str,
    sealed: bool,
    copy_of: Callable[[str], Path],
) -> None:
    """A forger makes the manifest agree with what he changed."""
    folder = copy_of("safetensors")
    if content is None:
        (folder / file).unlink()
    else:
        (folder / file).write_bytes(content)
    if sealed:
        reseal(folder)
    with pytest.raises(CheckpointError, match=message) as error:
        exported.read(folder)
    assert str(folder) in str(error.value)


def test_what_decides_nothing_may_change_and_is_told(
    copy_of: Callable[[str], Path], caplog: pytest.LogCaptureFixture
) -> None:
    folder = copy_of("safetensors")
    (folder / "README.md").write_text("# Ours, of the third of May\n")
    (folder / "run.py").unlink()
    (folder / "LICENSE").write_text("Apache-2.0\n")
    exported.read(folder)
    assert [record.getMessage().split("/")[-1] for record in caplog.records] == [
        "LICENSE: not of this export; it decides no answer",
        "README.md: changed; it decides no answer",
        "run.py: missing; it decides no answer",
    ]


@pytest.mark.parametrize("kind", ["safetensors", "orbax"])
@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("width", 32, r"eos_project.bias: expected \(32,\), found \(16,\)"),
        ("width", "16", "width='16' must be of type int"),
        ("heads", 0, "must divide"),
        ("stage_layers", 10**9, "blocks, at most"),
        ("low_groups", -1, "low_groups=-1 must be positive"),
        ("mlp_ratio", 10**40, "of type int within 64 bits"),
    ],
)
def test_forged_configs_are_refused(
    kind: str, field: str, value: Any, message: str, copy_of: Callable[[str], Path]
) -> None:
    """Before arrays of their sizes are made."""
    folder = copy_of(kind)
    config = json.loads((folder / "config.json").read_text())
    config["model"][field] = value
    (folder / "config.json").write_text(json.dumps(config))
    reseal(folder)
    with pytest.raises(CheckpointError, match=message):
        exported.read(folder)


def test_a_tokenizer_of_more_words_than_the_model_is_refused(
    copy_of: Callable[[str], Path],
) -> None:
    folder = copy_of("safetensors")
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    more = {f"more{i}": 10_000 + i for i in range(700)}
    tokenizer["model"]["vocab"] |= more
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    reseal(folder)
    with pytest.raises(CheckpointError, match=r"model\.text\.vocab=600"):
        exported.read(folder)


def test_arrays_that_do_not_fit_are_not_read(copy_of: Callable[[str], Path]) -> None:
    """An orbax folder of a few bytes can claim arrays of any size."""
    folder = copy_of("orbax")
    shutil.rmtree(folder / "model")
    save_arrays(folder / "model", {"head.embed.bias": np.zeros(4, np.float32)})
    reseal(folder)
    with pytest.raises(CheckpointError, match=r"embed.bias: expected \(5,"):
        exported.read(folder)
    shutil.rmtree(folder / "model")
    (folder / "model").mkdir()
    reseal(folder)
    with pytest.raises(CheckpointError, match="arrays cannot be read"):
        exported.read(folder)


@pytest.mark.skipif(HAS_ONNX, reason="ONNX can be written here")
def test_onnx_names_what_it_lacks(tmp_path: Path, run: Path) -> None:
    with pytest.raises(ConfigError, match=r"--to onnx needs .*unires_jax\[export\]"):
        export(run, "onnx", tmp_path / "onnx")
    assert not (tmp_path / "onnx").exists()


def test_existing_folders_are_kept(tmp_path: Path, run: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    for overwrite in (False, True):
        with pytest.raises(ConfigError, match="exists"):
            export(run, "safetensors", mine, overwrite=overwrite)
    assert (mine / "thesis.txt").read_text() == "years of work"
    out = export(run, "safetensors", tmp_path / "out")
    with pytest.raises(ConfigError, match="--overwrite"):
        export(run, "safetensors", out)
    export(run, "orbax", out, overwrite=True)
    assert json.loads((out / "unires.json").read_text())["kind"] == "orbax"


def test_a_failed_export_leaves_nothing(
    tmp_path: Path, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setitem(KINDS, "safetensors", Kind(fail, "nothing"))
    with pytest.raises(OSError, match="disk full"):
        export(run, "safetensors", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_an_export_that_cannot_be_replaced_stays(
    tmp_path: Path, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = export(run, "orbax", tmp_path / "out")
    put, names = export_module.os.replace, []

    def replace(source: Path, target: Path) -> None:
        names.append(Path(target).name)
        if len(names) == 2:
            raise OSError("read-only")
        put(source, target)

    monkeypatch.setattr(export_module.os, "replace", replace)
    with pytest.raises(OSError, match="read-only"):
        export_module._put(tmp_path / "made", out, True)
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
    assert exported.read(out).meta["kind"] == "orbax"


def test_the_packages_model_has_the_run_py_of_today() -> None:
    """`make bundle` after a change of the templates."""
    templates = export_module.TEMPLATES
    for name, source in (("steps.py", "steps.py"), ("run.py", "run_safetensors.py")):
        assert (BUNDLED / name).read_bytes() == (templates / source).read_bytes()


KILLED = """
import os, signal, sys
from unires_jax.export import command as export
if sys.argv[3] == "writing":
    kill = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    export.KINDS["safetensors"] = export.Kind(kill, "nothing")
else:
    export._put = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
export.export(sys.argv[1], "safetensors", sys.argv[2], overwrite=True)
"""


@pytest.mark.parametrize("when", ["writing", "renaming"])
def test_a_killed_export_changes_nothing(when: str, tmp_path: Path, run: Path) -> None:
    """And the same command works afterwards."""
    new, old = tmp_path / "new", tmp_path / "old"
    export(run, "orbax", old)
    for out in (new, old):
        command = [sys.executable, "-c", KILLED, str(run), str(out), when]
        assert subprocess.run(command).returncode == -signal.SIGKILL
    assert not new.exists()
    assert exported.read(old).meta["kind"] == "orbax"
    for out in (new, old):
        export(run, "safetensors", out, overwrite=True)
        assert exported.read(out).meta["kind"] == "safetensors"


def test_one_killed_between_two_renames_is_mended(tmp_path: Path) -> None:
    (tmp_path / ".x.tmp" / export_module.OLD).mkdir(parents=True)
    (tmp_path / ".x.tmp" / export_module.OLD / "whole").touch()
    (tmp_path / ".x.tmp" / "new").mkdir()
    with pytest.raises(ConfigError, match="exists; name another"):
        export(tmp_path / "none", "orbax", tmp_path / "x")
    assert [p.name for p in tmp_path.rglob("*")] == ["x", "whole"]


def test_two_exports_of_one_folder_do_not_meet(tmp_path: Path) -> None:
    refused = pytest.raises(ConfigError, match="written by another export; wait")
    with export_module._making(tmp_path / "x"), refused:
        export(tmp_path / "none", "orbax", tmp_path / "x")


def test_a_folder_put_there_meanwhile_is_kept(
    tmp_path: Path, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"

    def slow(*_: Any) -> None:
        out.mkdir()
        (out / "thesis.txt").write_text("years of work")

    monkeypatch.setitem(KINDS, "safetensors", Kind(slow, "nothing"))
    with pytest.raises(OSError):
        export(run, "safetensors", out)
    assert [p.name for p in tmp_path.rglob("*")] == ["out", "thesis.txt"]


def test_which_weights_is_said_and_taken(
    tmp_path: Path, loaded: Loaded, run: Path, exports: Path
) -> None:
    def of(folder: Path) -> tuple[str, float]:
        back = exported.read(folder)
        tokens = [x.params["low"]["tokens"] for x in (back, loaded)]
        return back.meta["weights"], float((tokens[0] / tokens[1]).mean())

    assert of(exports / "safetensors") == ("ema", 1)
    raw = export(run, "safetensors", tmp_path / "raw", weights="params")
    assert of(raw) == ("params", 2)
    assert of(export(raw, "orbax", tmp_path / "again")) == ("params", 2)
    with pytest.raises(ConfigError, match="no raw weights"):
        export(exports / "orbax", "orbax", tmp_path / "no", weights="params")
    config = tiny_config(optim__ema=0)
    unaveraged = write_run(tmp_path / "unaveraged", make_loaded(tmp_path, config))
    assert of(export(unaveraged, "safetensors", tmp_path / "only")) == ("params", 2)


def test_the_card_tells_what_was_measured(tmp_path: Path, run: Path) -> None:
    """With its protocol and step, also from an export; of a step and of a workdir."""
    workdir = tmp_path / "run"
    shutil.copytree(run, workdir)
    (workdir / "evaluation").mkdir()
    measured = {"mIoU": 0.5, "oIoU": 0.25, "count": 9}
    about = {"protocol": "cris", "step": STEP}
    native = {"about": about, "object": {**measured, "boundary_mIoU": 0.75}}
    split = {"about": about, "part": measured, "object": None}
    metrics = {
        "refcoco:val": split | {"no_target": "untrained"},
        "refcoco:testA": native | {"no_target": "untrained"},
        "grefcoco:val": split | {"no_target": {"N-acc": 0.4, "T-acc": 0.9, "count": 2}},
    }
    file = workdir / "evaluation" / "metrics.json"
    file.write_text(json.dumps(metrics))
    row = f"| refcoco:val | cris | part | 50.0 | - | 25.0 | 9 | {STEP} |"
    first = export(workdir, "safetensors", tmp_path / "first")
    step = export(workdir / "checkpoints" / str(STEP), "orbax", tmp_path / "step")
    second = export(first, "stablehlo", tmp_path / "second")
    for folder in (first, step, second):
        card = (folder / "README.md").read_text()
        assert card.count(row) == 1 and card.count("## L") == 2
        assert "| object | 50.0 | 75.0 | 25.0 | 9 |" in card
        assert "- grefcoco:val: N-acc 40.0, T-acc 90.0" in card
        assert "- refcoco:val:" not in card
        assert "partworld:train (f)" in card
    huge = {"about": about, "object": measured | {"mIoU": 10**400}}
    for wrong in (1, huge):
        file.write_text(json.dumps({"refcoco:val": wrong}))
        with pytest.raises(CheckpointError, match=r"not as evaluate\.py"):
            export(workdir, "safetensors", tmp_path / "third")
        assert not (tmp_path / "third").exists()


def test_command_line_and_errors(
    exports: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "again"
    argv = ["--checkpoint", str(exports / "orbax"), "--out", str(out)]
    assert cli.main(["export", *argv, "--to", "safetensors"]) == 0
    assert "safetensors" in capsys.readouterr().out
    card = (out / "README.md").read_text()
    assert "# tiny" in card and "Nothing was measured" in card and "Apache-2.0" in card
    assert cli.main(["export", *argv, "--to", "onnx", "--dtype", "bfloat16"]) == 1
    assert "float32" in capsys.readouterr().err
    missing = ["--checkpoint", str(tmp_path / "no"), "--out", str(tmp_path / "x")]
    assert cli.main(["export", *missing, "--to", "orbax"]) == 1
    assert "no such folder" in capsys.readouterr().err


def test_the_card_tells_both_sides_of_pictures(tmp_path: Path) -> None:
    for train_size, words in ((0, "32 x 32 pixels;"), (16, "in training to 16 x 16;")):
        config = tiny_config(model__train_size=train_size)
        card = model_card(make_loaded(tmp_path, config), "")
        assert f"letterboxed to 32 x 32 pixels{', ' * bool(train_size)}" in card
        assert words in card


def test_an_export_at_another_side_says_what_was_measured_there(
    tmp_path: Path, run: Path
) -> None:
    workdir, side = tmp_path / "run", 48
    shutil.copytree(run, workdir)
    about = {"protocol": "native", "step": STEP}
    for name, mean in (("evaluation", 0.5), (f"evaluation_{side}", 0.75)):
        row = {"mIoU": mean, "oIoU": 0.25, "count": 9, "boundary_mIoU": 0.5}
        (workdir / name).mkdir()
        file = workdir / name / "metrics.json"
        file.write_text(json.dumps({"a:val": {"about": about, "object": row}}))
    own = export(workdir, "safetensors", tmp_path / "own")
    larger = export(workdir, "safetensors", tmp_path / "larger", image_size=side)
    again = export(own, "safetensors", tmp_path / "again", image_size=side)
    cards = [(f / "README.md").read_text() for f in (own, larger, again)]
    assert "| object | 50.0 |" in cards[0] and "| object | 75.0 |" in cards[1]
    assert "Nothing was measured" in cards[2]
    for folder, text in zip((larger, again), cards[1:], strict=True):
        assert "to 48 x 48 pixels, in training to 32 x 32;" in text
        rules = json.loads((folder / "preprocessor_config.json").read_text())
        assert rules["image_size"] == side
        assert exported.read(folder).config.model.image_size == side
