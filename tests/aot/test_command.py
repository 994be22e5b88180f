"""`unires aot`: what it refuses, and a small config compiled for real chips."""

import importlib.util
import json
import os
import sys
from pathlib import Path

import pytest
from helpers.programs import run
from helpers.tiny_run import config_file, run_config

from unires_jax import cli
from unires_jax.aot import topology

HAS_COMPILER = importlib.util.find_spec("libtpu") is not None


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return config_file(tmp_path, run_config(Path("nowhere"), mesh__fsdp=4))


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--topology", "v5e:3x3"], r"v5e: 1x1, 2x2"),
        (["--topology", "v9"], "'v9' must be a chip and a slice"),
        (["--topology", "v5e:2x2", "--length", "9"], "must be one of data.lengths"),
        (["--topology", "v5e:2x2", "--size", "9"], "unexpected arguments"),
    ],
)
def test_a_wrong_command_names_what_there_is(
    config: Path, argv: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["aot", f"--config={config}", *argv]) == 1
    assert message in capsys.readouterr().err


def test_without_the_compiler_the_extra_is_named(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert cli.main(["aot", f"--config={config}", "--topology=v5e:2x2"]) == 1
    assert "pip install 'unires_jax[tpu-aot]'" in capsys.readouterr().err


def test_every_chip_has_slices() -> None:
    assert topology.CHIPS.keys() == topology.SLICES.keys()
    assert topology.chip_of("v5e:16x16").hbm_bytes == 16 * 2**30


@pytest.mark.slow
@pytest.mark.skipif(not HAS_COMPILER, reason="needs libtpu: the extra tpu-aot")
def test_a_config_is_compiled_for_chips_that_are_not_here(
    config: Path, tmp_path: Path
) -> None:
    out = tmp_path / "aot.json"
    argv = ["-m", "unires_jax.cli", "aot", f"--config={config}", f"--out={out}"]
    env = {"XLA_FLAGS": "", "PYTHONPATH": os.pathsep.join(sys.path)}
    ended = run(*argv, "--topology=v5e:2x2", "--config.train.accumulation=2", **env)
    assert ended.returncode == 0, ended.stderr
    assert "4 chips, fsdp 4" in ended.stdout and "in 2 rounds" in ended.stdout
    content = json.loads(out.read_text())
    assert (content["chips"], content["chip"]["hbm"]) == (4, 16 * 2**30)
    train, *evaluation = content["steps"]
    assert train["step"] == "train" and len(evaluation) == 3
    for step in content["steps"]:
        assert step["fits"] and 0 < step["mfu_ceiling"] <= 1
    assert train["collectives"] and not evaluation[0]["collectives"]
    many = ["--config.train.batch=1048576", "--steps=train"]
    ended = run(*argv, "--topology=v5e:2x2", *many, **env)
    assert ended.returncode == 1, ended.stdout
    assert "NO" in ended.stdout
