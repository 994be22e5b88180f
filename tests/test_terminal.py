"""What is printed: no byte of foreign text acts on a terminal."""

import io
import json
import pickle
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import mres_lines, raw_forms
from helpers.paths import ROOT
from helpers.programs import run

from unires_jax import cli, terminal
from unires_jax.errors import DataError, printable, shorten
from unires_jax.pages import template

ACTING = "\x1b[31mX\x9b2J\u202etxt\x07\r\x00\x7f\u2028\u2066\ud800"
ACTS = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("größe 🐶 二つ \u00a0\u3000", "größe 🐶 二つ \u00a0\u3000"),
        ("👩\u200d🚀 a\u200cb", "👩\u200d🚀 a\u200cb"),  # joiners
        ("a\nb\tc", r"a\nb\tc"),
        ("\x1b[2J\x9b\u202e", r"\x1b[2J\x9b\u202e"),
        ("\ud800\udc80", r"\ud800\udc80"),
        ("\u200b\ufeff\u2028\U000e0041", r"\u200b\ufeff\u2028\U000e0041"),
    ],
)
def test_what_acts_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert printable(text, "\n\t") == shown.replace(r"\n", "\n").replace(r"\t", "\t")


def test_a_message_is_short_and_of_one_line_a_line() -> None:
    assert shorten("x" * 300, 10) == "x" * 9 + "…"
    assert len(shorten("\x1b" * 300)) == 200
    error = DataError("is\nwrong \x1b" + "y" * 10**6, place="a\nerror: b" + "x" * 10**6)
    assert str(error).startswith(r"a\nerror: bx")
    assert str(error).count("\n") == 1 and len(str(error)) < 6000
    assert terminal.indented("one\ntwo\n  three") == "one\n  two\n  three"
    assert len(str(DataError("\n" * 10**5))) < 2000


class Output(io.StringIO):
    """A terminal that keeps what it is shown."""

    def isatty(self) -> bool:
        return True


def test_progress_bars_and_colours_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.text import Text
    from tqdm import tqdm

    shown = {name: Output() for name in ("stdout", "stderr")}
    for name, stream in shown.items():
        monkeypatch.setattr(sys, name, stream)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    terminal.guard(), terminal.guard()  # once is enough
    with tqdm(range(2), ACTING, position=1) as bar:
        list(bar)
        tqdm.write(ACTING)
    bars = shown["stderr"].getvalue()
    assert "100%" in bars and "\x1b[A" in bars and "\r" in bars
    assert not ACTS.search(re.sub(r"\x1b\[A|\r", "", bars))

    console = terminal.console()
    console.print(Text("red", "red"), "[b]", ACTING, ":b:")
    told = shown["stdout"].getvalue()
    assert "\x1b[31mred\x1b[0m" in told and "[b]" in told and ":b:" in told
    assert not ACTS.search(told.replace("\x1b[31mred\x1b[0m", ""))
    print(ACTING, *"ab", sep="\n")
    assert shown["stdout"].getvalue().endswith(r"\ud800" + "\na\nb\n")


def test_pages_escape_it_too(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("{{ text }}|{{ number }}|{{ kept | safe }}")
    page = template(tmp_path / "page.html")
    shown = page.render(text=f"<b>{ACTING}\n", number=3, kept="<i>")
    assert not ACTS.search(shown) and "&lt;b&gt;\\x1b" in shown
    assert shown.endswith("\n|3|<i>")


def fields(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where an entry holds keys and values, as paths."""
    yield at
    if isinstance(value, dict | list):
        keys = value if isinstance(value, dict) else range(len(value))
        for key in keys:
            yield from fields(value[key], (*at, key))


def spoilt(entry: Any, at: tuple[Any, ...], change: str) -> Any:
    """A copy with what acts at one place: as value, within a text, or as a key."""
    if not at:
        if change == "key" and isinstance(entry, dict):
            return {ACTING: 1, **entry}
        if change == "renamed" and isinstance(entry, dict):
            return {f"{key}{ACTING}": value for key, value in entry.items()}
        return f"{entry}{ACTING}" if change == "within" else ACTING
    copy = dict(entry) if isinstance(entry, dict) else list(entry)
    copy[at[0]] = spoilt(entry[at[0]], at[1:], change)
    return copy


def assert_harmless(capsys: pytest.CaptureFixture[str]) -> str:
    out, err = capsys.readouterr()
    bars = re.sub(r"\r[^\n]*", "", err)  # tqdm's
    assert not ACTS.search(out + bars), out + err
    assert "Traceback" not in out + err
    return out + err


def test_every_field_of_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mres_lines.write_files(tmp_path)
    line, lines = mres_lines.good_line(), []
    for change in ("value", "within", "key", "renamed"):
        lines += [spoilt(line, at, change) for at in fields(line)]
    text = "".join(json.dumps(entry) + "\n" for entry in lines)
    (tmp_path / "train.jsonl").write_text(text)
    assert cli.main(["doctor", str(tmp_path)]) == 1
    argv = ["build", "mres32m", "--raw", str(tmp_path), "--workers", "0"]
    assert cli.main([*argv, "--data_dir", str(tmp_path / "data")]) == 1
    assert r"\x1b" in assert_harmless(capsys)


def refer(root: Path, change: Callable[[Any, str], Any], where: str) -> None:
    raw_forms.write_refer(root)
    (folder,) = {p.parent for p in root.rglob("instances.json")}
    (refs,) = folder.glob("refs*.p")
    if where == "refs":
        entries = pickle.loads(refs.read_bytes())
        refs.write_bytes(pickle.dumps(change(entries, where), 2))
    else:
        content = json.loads((folder / "instances.json").read_text())
        (folder / "instances.json").write_text(json.dumps(change(content, where)))


@pytest.mark.parametrize("where", ["refs", "instances"])
def test_entries_of_a_benchmark(
    where: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def entry(content: Any) -> Any:
        return content[0] if where == "refs" else content["images"][0]

    raw_forms.write_refer(tmp_path / "good")
    for number, change in enumerate(["within", "key", "renamed"]):
        root = tmp_path / str(number)

        def spoil(content: Any, _: str, change: str = change) -> Any:
            first = entry(content)
            places = [at for at in fields(first) if change == "within" or not at]
            bad = [spoilt(first, at, change) for at in places]
            if where == "refs":
                return [*bad, *content]
            return content | {"images": [*bad, *content["images"]]}

        refer(root, spoil, where)
        assert cli.main(["doctor", str(root)]) in (0, 1)
    assert_harmless(capsys)


def test_names_of_files_splits_and_sentences(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "\x1b[31mred\x9b"
    (tmp_path / name).mkdir()
    (tmp_path / name / "dataset_info.json").write_text(
        json.dumps({"name": name, "splits": [{"name": name}], "configName": name})
    )
    (tmp_path / f"tr{name}.jsonl").write_text("")
    for argv in (
        ["doctor", str(tmp_path)],
        ["doctor", str(tmp_path / name / "none")],
        ["doctor", name],
        ["show", f"{name}:train", "--data_dir", str(tmp_path)],
        ["show", name, "--data_dir", name],
        ["build", name],
        ["build", "partworld", f"--{name}", "1"],
        ["build", "mres32m", "--raw", str(tmp_path), "--data_dir", str(tmp_path / "d")],
        ["predict", name, name, "--cache", ""],
        ["predict", str(tmp_path / f"tr{name}.jsonl"), name, "--cache", ""],
        ["export", "--checkpoint", name, "--to", "orbax", "--out", str(tmp_path / "x")],
        [name],
    ):
        assert cli.main(argv) in (1, 2), argv
    assert assert_harmless(capsys).count(r"\x1b[31mred\x9b") >= 10


@pytest.mark.parametrize("script", ["train.py", "evaluate.py"])
def test_scripts(script: str, tmp_path: Path) -> None:
    """Their settings, config files and predictions."""
    (tmp_path / "c.py").write_text(f"raise ValueError({ACTING!r})")
    (tmp_path / "p.jsonl").write_text(json.dumps({"key": ACTING, "rle": ACTING}) + "\n")
    argv: dict[str, list[str]] = {
        "train.py": ["--config=c.py"],
        "evaluate.py": ["--predictions=p.jsonl", "--splits=\x1b[31m:val"],
    }
    done = run(ROOT / script, *argv[script], cwd=tmp_path, JAX_PLATFORMS="cpu")
    assert done.returncode in (1, 2) and "Traceback" not in done.stderr
    assert not ACTS.search(done.stdout + done.stderr), done.stderr
    assert "\\x1b" in done.stderr


def test_a_closed_stream_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("mine")
    code = """
import os, sys
for number, name in enumerate(("stdin", "stdout", "stderr")):
    os.close(number)
    setattr(sys, name, None)
from unires_jax import terminal
terminal.guard()
file = open("kept", "a")
for number in 1, 2:
    os.write(number, b"of a library")
print("x"), print("y", file=sys.stderr), input if sys.stdin.read() else None
sys.exit(7 if file.fileno() > 2 else 1)
"""
    assert run("-c", code, cwd=tmp_path, PYTHONPATH=str(ROOT)).returncode == 7
    assert (tmp_path / "kept").read_text() == "mine"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_of_another_encoding(encoding: str, tmp_path: Path) -> None:
    (tmp_path / "größe🐶").mkdir()
    argv = ("-m", "unires_jax.cli", "doctor", "größe🐶")
    env = {"PYTHONIOENCODING": encoding, "PYTHONPATH": str(ROOT)}
    code = f"import subprocess, sys; r = subprocess.run([sys.executable, *{argv!r}], "
    code += "capture_output=True); sys.stdout.write(ascii(r.stdout + r.stderr))"
    done = run("-c", code, cwd=tmp_path, **env)
    assert "nothing known" in done.stdout and "Traceback" not in done.stdout
    assert "\\U0001f436" in done.stdout
