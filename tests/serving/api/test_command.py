"""`unires serve` as a user starts it, and as its documentation says."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from helpers.paths import ROOT
from helpers.pictures import noise
from PIL import Image

from unires_jax import cli
from unires_jax.serving.api import command, schema, server
from unires_jax.serving.api.settings import Settings
from unires_jax.serving.listening import ended_by_signals
from unires_jax.serving.page.desk import Limits

PAGE = (ROOT / "docs" / "serve.md").read_text()


def test_help_teaches(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["serve", "--help"])
    text = capsys.readouterr().out
    assert ended.value.code == 0
    options = re.findall(r"`(--\w+)`", PAGE)
    for word in (*options, "curl", "/v1/segment", "429", "UNIRES_TOKEN", "Ctrl-C"):
        assert word in text, word


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--batch", "0"], "--batch=0"),
        (["--batch", "65"], "at most 64"),
        (["--queue", "-1"], "--queue=-1"),
        (["--max_wait_ms", "5000"], "expected 0 to 1000"),
        (["--max_mb", "nan"], "--max_mb=nan"),
        (["--max_mb", "257"], "at most 256"),
        (["--token", "s\u00e9cret"], "expected ASCII"),
        (["--port", "99999"], "cannot listen"),
        (["--host", "no.such.host.invalid"], "cannot listen"),
    ],
)
def test_wrong_flags_are_named(
    flags: list[str], words: str, capsys: pytest.CaptureFixture
) -> None:
    assert cli.main(["serve", "--port", "0", *flags]) == 1
    assert words in capsys.readouterr().err


def test_the_libraries_are_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert cli.main(["serve", "--port", "0"]) == 1
    assert "unires_jax[serve]" in capsys.readouterr().err


def test_limits_are_the_page_s() -> None:
    ours, page = Settings(), Limits()
    assert (ours.file_bytes, ours.pixels) == (page.file_bytes, page.pixels)
    assert ours.sentences == page.sentences


def test_the_documented_fields_are_those() -> None:
    asked = PAGE.partition("## What is asked")[2].partition("##")[0]
    names = re.findall(r"^\| `(\w+)`", asked, re.MULTILINE)
    assert set(names) == set(schema.SegmentRequest.model_fields)
    answered = PAGE.partition("## What is answered")[2].partition("##")[0]
    words = set(re.findall(r"`(\w+)`", answered))
    for kind in (schema.SegmentAnswer, schema.Answer, schema.ModelName):
        assert set(kind.model_fields) <= words, kind


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_signals_that_were_ignored_end_it(
    how: signal.Signals, capsys: pytest.CaptureFixture[str]
) -> None:
    before = signal.signal(how, signal.SIG_IGN)  # as in the background of a script
    try:
        with ended_by_signals():
            signal.raise_signal(how)
            raise AssertionError("it goes on")
        assert signal.getsignal(how) == signal.SIG_IGN
    finally:
        signal.signal(how, before)
    assert capsys.readouterr().out == "ended\n"


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_it(how: signal.Signals, run: Path, tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "unires_jax.cli", "serve", "--port", "0"]
    argv += ["--checkpoint", str(run), "--cache", "", "--batch", "1"]
    process = subprocess.Popen(
        argv,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=tmp_path,
    )
    assert process.stdout
    address = ""
    for line in process.stdout:
        address = address or "".join(re.findall(r"http://[\d.:]+", line))
        if line == "ready\n":
            break
    with httpx.Client(base_url=address, timeout=60) as http:
        Image.fromarray(noise(0)).save(tmp_path / "a.png")
        files = {"image": (tmp_path / "a.png").read_bytes()}
        reply = http.post("/v1/segment", files=files, data={"sentences": "the car"})
        assert reply.status_code == 200
        process.send_signal(how)
        output = process.communicate(timeout=60)[0]
    assert process.returncode == 0 and output == "ended\n"
    assert {p.name for p in tmp_path.iterdir()} == {"a.png"}


@pytest.mark.slow
def test_under_load_none_is_crossed() -> None:
    argv = [sys.executable, str(ROOT / "benchmarks" / "serve.py")]
    done = subprocess.run(
        [*argv, "--clients", "8", "--seconds", "8"],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        timeout=1800,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 errors, 0 wrong" in done.stdout


def test_others_are_warned_of(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """The address of all interfaces is never bound here: only named."""
    monkeypatch.delenv("UNIRES_TOKEN", raising=False)
    monkeypatch.setattr(command, "_is_loopback", lambda address: False)
    monkeypatch.setattr(command, "start", lambda args: None)
    monkeypatch.setattr(server, "serve", lambda *_, **__: None)
    for token, warned in (("", True), ("secret", False)):
        assert command.main(["--port", "0", "--token", token]) == 0
        assert ("everyone who reaches" in capsys.readouterr().err) == warned
