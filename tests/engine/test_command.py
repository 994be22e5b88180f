"""`unires engine` as a user calls it."""

import json
import shutil
from pathlib import Path

import pytest
from helpers import toy_stages
from helpers.paths import ROOT
from helpers.programs import run

from unires_jax import app, cli
from unires_jax.engine import command
from unires_jax.engine.settings import EngineConfig, validate
from unires_jax.engine.stages import FILTER
from unires_jax.errors import ConfigError


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch) -> None:
    """The toy stages in place of those with models."""
    monkeypatch.setattr(command, "STAGES", toy_stages.STAGES)


def engine(*argv: object) -> int:
    return cli.main(["engine", *map(str, argv)])


NAMES = [*command.COMMANDS, *command.ELSEWHERE]


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert engine("--help") == 0
    text = capsys.readouterr().out
    assert all(f"unires engine {name} " in text for name in NAMES)
    assert engine("rum") == 2
    assert "no command 'rum', did you mean 'run'" in capsys.readouterr().err
    for name in command.COMMANDS:
        with pytest.raises(SystemExit) as ended:
            engine(name, "--help")
        text = capsys.readouterr().out
        assert ended.value.code == 0 and f"example: unires engine {name} " in text
        assert ("--config.thresholds.stability=0.9 " in text) == (name != "verify")


def test_the_help_needs_no_model_library() -> None:
    code = "import sys; from unires_jax import cli; cli.main(['engine', '--help']); "
    code += "print([m for m in ('torch', 'transformers', 'jax') if m in sys.modules])"
    done = run("-c", code, PYTHONPATH=str(ROOT))
    assert done.stdout.endswith("[]\n"), done


def test_from_pictures_to_shards(
    toys: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    boxes = toy_stages.write_pictures(tmp_path / "photos", 7)
    out = ["--out", tmp_path / "engine"]
    assert engine("plan", "--boxes", boxes, *out, "--config.shard=3") == 0
    assert "7 pictures, 14 boxes in 3 shards" in capsys.readouterr().out
    assert engine("status", *out) == 0
    assert "colours  0 of 3" in capsys.readouterr().out
    assert not (tmp_path / "engine" / "colours").exists()  # looking makes nothing
    both = "--stages=shouts,colours"
    assert engine("run", *out, both, "--shards=0-1", "--config.seed=5") == 0
    assert engine("run", *out, both, "--shards", "2") == 0  # with the settings before
    capsys.readouterr()
    assert engine("status", *out, "--json") == 0
    rows = {row["stage"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["shouts"]["done"] == 3 and rows["shouts"]["texts"] == 28
    assert rows[FILTER]["done"] == 0

    assert engine("run", *out, both, "--config.seed=6") == 4
    assert "do the shards again: --recompute stale" in capsys.readouterr().err
    assert engine("status", *out) == 0  # what was refused is not remembered
    assert engine("status", *out, "--config.seed=6") == 4
    assert "3 stale" in capsys.readouterr().out
    assert engine("run", *out, both, "--config.seed=6", "--recompute", "stale") == 0
    assert engine("verify", *out) == 0
    (path,) = (tmp_path / "engine").glob("shouts/*-00002-*.gz")
    path.write_bytes(path.read_bytes()[:-1])
    assert engine("verify", *out) == 4
    assert f"{path}: is not what was written" in capsys.readouterr().out


def test_failures_and_retry(
    toys: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    boxes = toy_stages.write_pictures(tmp_path / "photos", 4)
    out = ["--out", tmp_path / "engine"]
    (tmp_path / "photos" / "3.jpg").unlink()
    assert engine("plan", "--boxes", boxes, *out) == 1  # one of four is too many
    assert engine("plan", "--boxes", boxes, *out, "--max_bad_share=0.5") == 0
    assert "1 cannot be used; reasons: " in capsys.readouterr().out
    monkeypatch.setenv("FAILS", "0.jpg,1.jpg")
    assert engine("run", *out, "--stages=colours,shouts") == 3
    assert "2 pictures could not be done" in capsys.readouterr().out
    assert engine("status", *out) == 3
    monkeypatch.setenv("FAILS", "0.jpg")
    assert engine("retry", *out, "--stages=colours,shouts") == 3
    monkeypatch.delenv("FAILS")
    assert engine("retry", *out, "--stages=colours,shouts") == 0
    assert engine("status", *out) == 0


@pytest.mark.parametrize(
    ("argv", "code", "message"),
    [
        (["run", "--stages=object"], 2, "no stage 'object'; did you mean objects?"),
        (["run", "--shards=3-1"], 2, "expected a-b or a number, from 0 to 0"),
        (["run", "--shards=0-1"], 2, "--shards=0-1"),
        (["run", "--stages="], 2, "--stages=: names no stage of objects, parts, "),
        (["run", "--workers=-1"], 2, "--workers=-1: expected 0 or more"),
        (["run", "--config.models.segmenter="], 1, "segmenter must name a model"),
        (["run", "--config.models.scorer=clip:./clip"], 1, "clip:./clip: no such fold"),
        (["run", "--config.models.scorer=sam2"], 2, "no scorer; there are clip, sigl"),
        (["run", "--out=none"], 1, "there is no plan; `unires engine plan` makes one"),
        (["filter", "--out=none"], 1, "there is no plan; `unires engine plan` makes"),
        (["run", "--workrs=2"], 2, "unexpected arguments ['--workrs=2']"),
        (["run", "--config.presett=none"], 1, "nearest is --config.preset"),
        (["run", "--config.preset=hard"], 1, "preset='hard' must be one of ('none'"),
        (["run", "--config.thresholds.clip=2"], 1, "thresholds.clip=2.0: in [-1, 1]"),
        (["run", "--config.shard=a"], 1, "expected int"),
        (["run", "--config=configs/unires.py"], 1, "expected unires_jax.engine.settin"),
        (["run", "--beam=--project=x", "--stages=objects"], 2, "no segmenter"),
        (["status", "--out=none"], 1, "unires engine plan"),
        (["plan"], 2, "--boxes"),
    ],
)
def test_what_is_wrong_is_said(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    argv: list[str],
    code: int,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    toy_stages.planned(tmp_path / "engine", 2)
    if "--beam=--project=x" in argv:
        argv = [*argv, "--config.models.segmenter=nobody:x"]
    try:
        assert engine(*argv) == code
    except SystemExit as ended:  # argparse's own
        assert ended.code == code
    assert message in capsys.readouterr().err
    assert not Path("none").exists()
    assert not Path("engine/config.json").exists()  # no settings have made anything


@pytest.mark.parametrize(
    ("name", "content", "argv", "message"),
    [
        ("config.json", "{", ["status"], "config.json: its settings must be named onc"),
        ("config.json", '{"a": 1}', ["filter"], "Remove engine/config.json: its sett"),
        ("plan/plan.json", "{}", ["run"], "remove it and run `unires engine plan`, wh"),
        ("filter/counts.json", "1", ["pack"], "run `unires engine filter` again"),
    ],
)
def test_a_damaged_file_has_a_way_out(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    content: str,
    argv: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    toy_stages.planned(tmp_path / "engine", 2)
    (tmp_path / "engine" / "filter").mkdir()
    for path in (tmp_path / "engine" / "plan").glob("shard-*.gz"):
        shutil.copy(path, tmp_path / "engine" / "filter")
    (tmp_path / "engine" / name).write_text(content)
    assert engine(*argv) == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("name", ["default", "small", "sam3", "vlm"])
def test_the_config_file(name: str) -> None:
    config = app.load_config(f"{ROOT / 'configs' / 'engine.py'}:{name}", EngineConfig)
    validate(config)


def test_every_fault_of_settings_is_listed() -> None:
    config = EngineConfig(preset="hard", shard=0)
    config.thresholds.box_iou, config.models.dtype = 1.5, "float8"
    with pytest.raises(ConfigError) as caught:
        validate(config)
    named = ("preset='hard'", "shard=0", "thresholds.box_iou=1.5", "models.dtype")
    assert all(name in str(caught.value) for name in named)
