"""Mutated inputs of every reader, in a process whose memory and time are capped."""

import json

import pytest
from helpers import fuzz
from helpers.paths import HELPERS
from helpers.programs import run

COUNT = 5000  # inputs for each; 250 where one takes a second
HEAVY = ("checkpoint", "safetensors", "orbax")
FEW = 40


def read(reader: str, count: int) -> None:
    done = run("-m", "helpers.fuzz", reader, count, cwd=HELPERS.parent)
    assert done.returncode == 0, done.stderr[-3000:]
    figures = json.loads(done.stdout.splitlines()[-1])
    print(figures)
    assert figures["refused"] > 0 and figures["refused"] + figures["read"] == count


@pytest.mark.parametrize("reader", ["predictions", "prepared"])
def test_few_mutated_inputs(reader: str) -> None:
    read(reader, FEW)


@pytest.mark.fuzz
@pytest.mark.parametrize("reader", fuzz.READERS)
def test_mutated_inputs(reader: str) -> None:
    read(reader, COUNT // 20 if reader in HEAVY else COUNT)


def test_a_reader_that_fills_the_memory_or_never_ends_fails(monkeypatch) -> None:
    """The caps work: else the others would say nothing."""
    code = (
        "from pathlib import Path; from helpers import fuzz; "
        "fuzz.SECONDS = 0.5; fuzz.READERS['x'] = fuzz.Reader("
        "lambda folder: (folder / 'a').write_text('good'), "
        "lambda folder: (folder / 'a').read_bytes() == b'good' or {}); "
        "assert fuzz.faults(fuzz.run('x', 2)) == {{{!r}: 2}}"
    )
    for cost, name in (
        ("bytearray(8 << 30)", "MemoryError"),
        ("[0 for _ in iter(int, 1)]", "SystemExit"),
    ):
        done = run("-c", code.format(cost, name), cwd=HELPERS.parent)
        assert done.returncode == 0, done.stderr[-2000:]
