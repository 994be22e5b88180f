"""Mutated MRES JSONL: a record, or a typed error; nothing else happens.

What may not happen is watched by an audit hook: processes, network, writing, or opening
anything outside the folder.
"""

import contextlib
import copy
import itertools
import json
import os
import random
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import mres_lines
from helpers.places import places

from unires_jax.data import records
from unires_jax.data.records import Record
from unires_jax.errors import DataError
from unires_jax.prepare import build, shards
from unires_jax.prepare.mres.line import parse

LONGEST = 20.0  # seconds that one input may take on a busy machine; usual: 0.001
ODD: list[Any] = [
    *(None, True, -1, 0, 2**31, 2**63, 10**400, 0.5, 1e308),
    *("", " ", "\x00", "\ud800", "../../etc/passwd", "/dev/zero"),
    *("x" * 10_000, "~" * 50, "o" * 50, [], [[]], [[1, 2, 3]], [0] * 1000, {}),
    *({"size": [1, 1], "counts": "1"}, {"__class__": "os.system"}),
    *("!!python/object/apply:os.system [true]", "cos\nsystem\n(S'true'\ntR."),
]
FORBIDDEN = (
    *("subprocess", "socket", "os.system", "os.exec", "os.fork", "pickle", "exec"),
)
watched: list[str] = []
watching: list[Any] = []  # a folder and a thread


def listen(event: str, args: tuple) -> None:
    # Other threads are other tests' (servers, readers); starting one is forbidden.
    if not watching or threading.get_ident() != watching[1]:
        return
    if event.startswith(FORBIDDEN) or event in ("os.remove", "os.rename", "os.mkdir"):
        watched.append(f"{event} {args[:2]}")
    if event == "open" and isinstance(args[0], str):
        inside = os.path.realpath(args[0]).startswith(str(watching[0]))
        if not inside or (args[1] and "r" not in str(args[1])):
            watched.append(f"{event} {args[:2]}")


sys.addaudithook(listen)


def mutations(rng: random.Random) -> Iterator[bytes]:
    """Endless lines: fields changed, dropped, moved, and bytes of the text changed."""
    good = [mres_lines.good_line(), mres_lines.small_line(3)]
    while True:
        line = copy.deepcopy(rng.choice(good))
        kind = rng.random()
        if kind < 0.6:
            for _ in range(rng.choice((1, 1, 2, 4))):
                change(line, rng)
        text = json.dumps(line).encode()
        yield text if kind < 0.6 else damaged(bytearray(text), rng)


def change(line: Any, rng: random.Random) -> None:
    positions = places(line)
    if not positions:
        return
    where, key = rng.choice(positions)
    donor, from_key = rng.choice(positions)
    kind = rng.randrange(5)
    if kind == 0:
        del where[key]
    elif kind == 1:
        where[key] = copy.deepcopy(donor[from_key])
    elif kind == 2 and isinstance(where[key], str) and where[key]:
        text = list(where[key])
        text[rng.randrange(len(text))] = chr(rng.choice((0, 48, 79, 111, 126, 0x2603)))
        where[key] = "".join(text)
    elif kind == 3 and type(where[key]) is int:
        where[key] += rng.choice((-1, 1, 60, -(2**31), 2**40))
    else:
        where[key] = copy.deepcopy(rng.choice(ODD))


def damaged(text: bytearray, rng: random.Random) -> bytes:
    for _ in range(rng.choice((1, 2, 8))):
        at = rng.randrange(len(text))
        kind = rng.randrange(4)
        if kind == 0:
            text[at] = rng.randrange(256)
        elif kind == 1:
            del text[at : at + rng.randrange(1, 40)]
        elif kind == 2:
            text[at:at] = rng.choice((b"[" * 2000, b'"', b"}", b"\xff\xfe", b"NaN"))
        else:
            del text[max(at, 1) :]
        if not text:
            break
    return bytes(text)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    mres_lines.write_files(tmp_path)
    return tmp_path


def run(folder: Path, count: int, seed: int) -> dict[str, int]:
    """Parse `count` mutated lines; how many were taken and refused."""
    outcomes = {"taken": 0, "refused": 0}
    # Unwatched first: modules are imported and loops compiled where a line needs them.
    for text in itertools.islice(mutations(random.Random(seed)), 300):
        with contextlib.suppress(DataError):
            records.validate(parse(text, folder))
    lines = mutations(random.Random(seed))
    before = sorted(p.relative_to(folder) for p in folder.rglob("*"))
    watched.clear()
    watching.extend((folder.resolve(), threading.get_ident()))
    try:
        for _, text in zip(range(count), lines, strict=False):
            start = time.monotonic()
            try:
                record = parse(text, folder)
            except DataError as error:
                assert len(str(error)) < 2000
                outcomes["refused"] += 1
            else:
                assert isinstance(record, Record)
                records.validate(record)  # what is taken keeps the contract
                outcomes["taken"] += 1
            assert time.monotonic() - start < LONGEST, text[:500]
    finally:
        watching.clear()
    assert watched == []
    assert sorted(p.relative_to(folder) for p in folder.rglob("*")) == before
    return outcomes


@pytest.mark.parametrize(
    ("count", "least"), [(300, 3), pytest.param(10_000, 100, marks=pytest.mark.slow)]
)
def test_mutations(folder: Path, count: int, least: int) -> None:
    assert min(run(folder, count, seed=count).values()) > least


@pytest.mark.parametrize("files", [20, pytest.param(300, marks=pytest.mark.slow)])
def test_no_partial_output(tmp_path: Path, files: int) -> None:
    """Whole files, several lines each: a data set is complete or is not there."""
    rng = random.Random(5)
    mutants = mutations(rng)
    built = 0
    for number in range(files):
        raw = tmp_path / f"raw{number}"
        mres_lines.write_files(raw)
        lines = [mres_lines.small_line(i) for i in range(2)]
        texts = [json.dumps(line).encode() for line in lines]
        texts += [
            next(mutants).replace(b"\n", b" ") for _ in range(rng.randrange(1, 3))
        ]
        (raw / "train.jsonl").write_bytes(b"\n".join(texts))
        data = tmp_path / f"data{number}"
        try:
            folder = build.build("mres32m", data, raw=str(raw), workers=0)
        except DataError:
            assert not (data / "mres32m" / "1.0.0").exists()
            remains = [p.name for p in data.rglob("*.tmp-*")]
            assert remains == []
        else:
            assert not (folder / shards.PROGRESS).exists()
            built += 1
    assert 0 < built < files
