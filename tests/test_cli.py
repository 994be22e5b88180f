"""The command `unires`, as a user calls it."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from helpers.paths import ROOT
from helpers.programs import run

from unires_jax import __version__, cli, process
from unires_jax.errors import CheckpointError
from unires_jax.serving import predict


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == f"unires_jax {__version__}"


@pytest.mark.parametrize(("argv", "code"), [([], 2), (["bild"], 2), (["--help"], 0)])
def test_help_names_the_commands(
    argv: list[str], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(argv) == code
    out, error = capsys.readouterr()
    written, silent = (
        (error, out) if code else (out, error)
    )  # what was asked for is output
    assert all(command in written for command in cli.COMMANDS) and not silent
    named = "no command 'bild', did you mean 'build'"
    assert (named in error) == (argv == ["bild"])


def test_every_command_starts_the_process_first(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    events = []

    def command(argv: Sequence[str]) -> int:
        events.append(argv)
        raise CheckpointError("runs/x: no such folder")

    monkeypatch.setattr(process, "start", lambda: events.append("start"))
    monkeypatch.setattr(predict, "main", command)
    assert cli.main(["predict", "photo.jpg"]) == 1
    assert events == ["start", ["photo.jpg"]]
    assert capsys.readouterr().err == "error: runs/x: no such folder\n"


def test_build_names_the_nearest_data_set(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["build", "partwrld"]) == 1
    assert "did you mean 'partworld'" in capsys.readouterr().err


def test_build_and_show(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = ["--scenes", "6", "--eval_scenes", "2"]
    assert cli.main(["build", "partworld", "--data_dir", str(tmp_path), *sizes]) == 0
    page = tmp_path / "show.html"
    argv = ["show", "partworld:val", "--data_dir", str(tmp_path), "--out", str(page)]
    config = ROOT / "configs" / "quickstart.py"
    assert cli.main([*argv, "--config", str(config)]) == 0
    text = page.read_text()
    assert "data:image/" in text and "http" not in text.replace("http://www.w3.org", "")
    (tokenizer,) = tmp_path.rglob("tokenizer.json")  # data of one's own stores none
    elsewhere = str(tokenizer.rename(tmp_path / "words.json"))
    assert cli.main([*argv, "--config", str(config)]) == 1
    assert "set data.tokenizer (unires show: --tokenizer)" in capsys.readouterr().err
    assert cli.main([*argv, "--config", str(config), "--tokenizer", elsewhere]) == 0
    assert cli.main(["show", "partworld:nope", "--data_dir", str(tmp_path)]) == 1
    assert "it has ['testA', 'testB', 'train'" in capsys.readouterr().err


def test_an_interrupted_command_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    builder = tmp_path / "slow" / "slow_dataset_builder.py"
    builder.parent.mkdir()
    builder.write_text("raise KeyboardInterrupt\n")
    assert cli.main(["build", "slow", "--datasets_dir", str(tmp_path)]) == 130
    assert capsys.readouterr().err == "\nstopped\n"


def test_sentences_of_another_encoding_are_refused(tmp_path: Path) -> None:
    (tmp_path / "p.png").touch()
    code = "import io, sys; from unires_jax import cli; "
    code += "sys.stdin = io.TextIOWrapper(io.BytesIO(b'\\xff\\xfed\\0'), 'utf-8'); "
    code += "sys.exit(cli.main(['predict', 'p.png', '-']))"
    done = run("-c", code, cwd=tmp_path, PYTHONPATH=str(ROOT), JAX_PLATFORMS="cpu")
    assert done.returncode == 1
    assert done.stderr.startswith("error: standard input: is no UTF-8"), done.stderr
