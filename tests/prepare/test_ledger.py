"""The ledger, its workers and Beam take any unit of work, and all write the same."""

import contextlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.halving import Halving

from unires_jax.errors import DataError
from unires_jax.prepare import beam, shards, workers
from unires_jax.prepare.shards import PROGRESS, Ledger

WORK = [Halving(i, i + 10) for i in range(0, 50, 10)]


def contents(folder: Path) -> dict[str, bytes]:
    return {
        p.name: p.read_bytes()
        for p in (folder / PROGRESS).iterdir()
        if not p.name.startswith("lock")
    }


def test_a_part_and_the_whole_exclude_each_other(tmp_path: Path) -> None:
    whole, first = Ledger(tmp_path, WORK, 0.5), Ledger(tmp_path, WORK, 0.5, range(2))
    last = Ledger(tmp_path, WORK, 0.5, range(2, 5))
    with first.locked(), last.locked():
        for ledger in (whole, first):
            with pytest.raises(DataError, match="another conversion"), ledger.locked():
                pass
    with whole.locked(), pytest.raises(DataError), first.locked():
        pass


def by_loop(ledger: Ledger) -> None:
    workers.run(ledger, 0)


def by_processes(ledger: Ledger) -> None:
    workers.run(ledger, 2)


def by_beam(ledger: Ledger) -> None:
    pytest.importorskip("apache_beam", reason="needs pip install 'unires_jax[beam]'")
    beam.run(ledger, ["--runner=FnApiRunner"])


def by_hand(ledger: Ledger) -> None:
    """Last first, as jobs of a cluster may."""
    for shard in reversed(ledger.unfinished()):
        shards.write(shard, ledger.allowed)


def in_parts(ledger: Ledger) -> None:
    """A job for each part of the shards, each beside what others have begun."""
    begun = ledger.folder / PROGRESS / "00004.halves.tmp-1"
    begun.parent.mkdir(parents=True)
    begun.write_text("another machine's")
    for indices in (range(2), range(2, 4)):
        part = Ledger(ledger.folder, WORK, 0.5, indices)
        with part.locked():
            by_loop(part)
    assert begun.exists()
    assert [shard.index for shard in ledger.unfinished()] == [4]
    by_loop(ledger)


@pytest.mark.parametrize("run", [by_processes, by_beam, by_hand, in_parts])
def test_every_runner_writes_the_same(
    tmp_path: Path, run: Callable[[Ledger], None]
) -> None:
    ledgers = [Ledger(tmp_path / name, WORK, 0.5) for name in ("loop", "other")]
    for ledger, runner in zip(ledgers, (by_loop, run), strict=True):
        with contextlib.nullcontext() if runner is in_parts else ledger.locked():
            runner(ledger)
    written = contents(tmp_path / "loop")
    assert contents(tmp_path / "other") == written
    assert len(written) == 4 * len(WORK)
    assert written["00002.halves"] == b"10\n11\n12\n13\n14\n"
    marker = json.loads(written["00002.done"])
    assert marker == {"range": [20, 30], "rejected": 5, "sum": 120}
    refused = ledgers[0].refused()
    assert [int(entry["record"]) for entry in refused] == list(range(1, 50, 2))
    assert refused[0]["reason"] == "1: is odd"


def test_only_what_is_not_done_is_done(tmp_path: Path) -> None:
    with Ledger(tmp_path, WORK, 0.5).locked():
        by_loop(Ledger(tmp_path, WORK, 0.5))
    before = {p.name: p.stat().st_mtime_ns for p in (tmp_path / PROGRESS).iterdir()}
    changed = [*WORK[:3], Halving(30, 42), WORK[4]]
    (tmp_path / PROGRESS / "00001.done").unlink()
    (tmp_path / PROGRESS / "00007.halves").write_text("of another plan")
    ledger = Ledger(tmp_path, changed, 0.5)
    assert [shard.index for shard in ledger.unfinished()] == [1, 3]
    with pytest.raises(DataError, match="shard 3 of 30-42 is not done"):
        ledger.shards[3].finished()
    by_loop(ledger)
    assert ledger.unfinished() == []
    after = {p.name: p.stat().st_mtime_ns for p in (tmp_path / PROGRESS).iterdir()}
    assert set(after) == set(before)
    same = {name for name in after if after[name] == before[name]} - {"lock"}
    assert {name[:5] for name in same} == {"00000", "00002", "00004"}
    assert ledger.shards[3].finished()["sum"] == 30 + 32 + 34 + 36 + 38 + 40


@pytest.mark.parametrize("run", [by_loop, by_processes, by_beam])
def test_too_many_refused(tmp_path: Path, run: Callable[[Ledger], None]) -> None:
    ledger = Ledger(tmp_path, [Halving(0, 1), *WORK[1:3]], 0.4)
    with (
        ledger.locked(),
        pytest.raises(DataError, match=r"of 21 numbers are unusable.* allows 8; all"),
    ):
        run(ledger)
    listed = [
        json.loads(x)
        for x in (tmp_path / "rejected.jsonl").read_text().split("\n")[:-1]
    ]
    assert len(listed) >= 9 and {"record": "11", "reason": "11: is odd"} in listed
    # What holds none of them stays; the others are done again.
    assert {s.index for s in ledger.unfinished()} == {1, 2}
