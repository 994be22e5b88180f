"""Stages over shards: the same bytes whatever runs and dies, faults that stay small."""

import dataclasses
import gzip
import importlib.util
import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers import small_data, toy_stages
from helpers.paths import HELPERS, ROOT
from helpers.programs import is_running
from helpers.toy_stages import STAGES, contents, planned

from unires_jax import partworld
from unires_jax.engine import backends, models, shard_files, status
from unires_jax.engine.markers import ERRORS, FORMERLY, INPUT, OUTPUT, StaleError
from unires_jax.engine.plan import plan
from unires_jax.engine.record import Picture
from unires_jax.engine.runner import Way, run
from unires_jax.engine.settings import EngineConfig, ModelSettings
from unires_jax.engine.stages import PLAN
from unires_jax.errors import DataError
from unires_jax.prepare.mres.write import write
from unires_jax.prepare.shards import hold, read_marker

CONFIG = EngineConfig()
KILLED = HELPERS / "killed_engine.py"


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Plan and both stages, done by a loop."""
    out = tmp_path_factory.mktemp("unbroken") / "engine"
    planned(out)
    assert run(out, CONFIG, STAGES) == 0
    return out


@pytest.fixture
def out(tmp_path: Path, unbroken: Path) -> Path:
    """A plan of the same pictures, which nothing was done of."""
    shutil.copytree(unbroken.with_name("pictures"), tmp_path / "pictures")
    planned(tmp_path / "engine")
    return tmp_path / "engine"


def marker(out: Path, stage: str, index: int) -> dict:
    """What a shard's marker says."""
    (path,) = (out / stage).glob(f"shard-{index:05}-*.done")
    return read_marker(path) or {}


def pictures(out: Path, stage: str) -> list[Picture]:
    """All records of a stage."""
    return [p for path in shard_files.paths(out, stage) for p in shard_files.read(path)]


def by_parts(out: Path) -> None:
    """Two jobs at once, each for its shards; the last first."""
    for indices in (range(2, 4), range(2)):
        with hold(out, "run", range(9, 10)):  # another job's
            run(out, CONFIG, STAGES, Way(indices=indices))


def by_processes(out: Path) -> None:
    run(out, CONFIG, STAGES, Way(workers=2))


def by_beam(out: Path) -> None:
    pytest.importorskip("apache_beam", reason="needs pip install 'unires_jax[beam]'")
    run(out, CONFIG, STAGES, Way(beam=("--runner=FnApiRunner",)))


@pytest.mark.parametrize("way", [by_processes, by_parts, by_beam])
def test_every_way_writes_the_same(
    out: Path, unbroken: Path, way: Callable[[Path], None]
) -> None:
    way(out)
    written = contents(out)
    assert written == contents(unbroken) and len(written) == 3 * 4
    assert not [p for p in out.rglob("*") if "tmp" in p.name]


def test_what_markers_and_shards_hold(unbroken: Path) -> None:
    first, second = (marker(unbroken, stage.name, 3) for stage in STAGES)
    assert second[INPUT] == first[OUTPUT] and first["pictures"] == 1
    assert (second["regions"], second["texts"], second[ERRORS]) == (2, 4, 0)
    (path,) = (unbroken / "shouts").glob("shard-00003-of-00004.jsonl.gz")
    data = path.read_bytes()
    assert data[3:10] == b"\0\0\0\0\0\x02\xff"  # neither a name nor a time
    line = json.loads(gzip.decompress(data))
    assert line["regions"][0]["texts"][1]["text"] == "THING 0 0"
    assert [p.image_id for p in pictures(unbroken, "shouts")] == list(range(7))


@pytest.mark.parametrize("moment", [7, 12])
def test_killed_while_a_file_gets_its_name(
    tmp_path: Path, unbroken: Path, moment: int
) -> None:
    shutil.copytree(unbroken.with_name("pictures"), tmp_path / "pictures")
    out = tmp_path / "engine"
    process = subprocess.run([sys.executable, KILLED, f"kill:{moment}", out, "0"])
    assert process.returncode == -signal.SIGKILL
    done = {p: p.stat().st_mtime_ns for p in out.glob("*/*.done")}
    assert len(done) == (moment - 1 - (moment > 9)) // 2  # plan.json is one name
    planned(out)
    assert run(out, CONFIG, STAGES) == 0
    assert contents(out) == contents(unbroken)
    assert {p: p.stat().st_mtime_ns for p in done} == done  # nothing was done twice
    assert not [p for p in out.rglob("*") if "tmp" in p.name]


@pytest.mark.slow
def test_killed_thirty_times_at_random(
    tmp_path: Path, unbroken: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLOW", "0.02")  # seconds a picture
    context = multiprocessing.get_context("forkserver")  # imports once
    context.set_forkserver_preload(["helpers.toy_stages", "unires_jax.engine.runner"])
    shutil.copytree(unbroken.with_name("pictures"), tmp_path / "pictures")
    out, rng, kills, ends, whole = tmp_path / "engine", random.Random(0), 0, 0, 60.0
    while kills < 30 or out.exists():
        workers = 2 if kills % 6 == 5 else 0
        process = context.Process(target=toy_stages.all_of, args=(out, workers))
        process.start()
        started = time.monotonic()
        process.join(rng.uniform(0, whole) * (5 if workers else 1))
        if process.is_alive() and ends > 0 and kills < 30:
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
            left = list(map(int, children.read_text().split()))
            process.kill()
            process.join()
            kills += 1
            done = len(list(out.glob("*/*.done")))
            print(f"kill {kills}: {done} of 12 shards are done", flush=True)
            deadline = time.monotonic() + 60
            while any(map(is_running, left)):  # they end with their parent
                assert time.monotonic() < deadline
                time.sleep(0.05)
            continue
        process.join()
        assert process.exitcode == 0 and contents(out) == contents(unbroken)
        assert not [p for p in out.rglob("*") if "tmp" in p.name]
        whole = whole if ends else time.monotonic() - started
        ends += 1
        shutil.rmtree(out)
    print(f"{kills} kills, {ends} ends, unbroken {whole:.1f} s")


def test_other_settings_make_shards_stale(out: Path, unbroken: Path) -> None:
    run(out, CONFIG, STAGES)
    strict = dataclasses.replace(CONFIG, preset="strict", shard=9)
    assert run(out, strict, STAGES) == 0  # no stage depends on these
    other = dataclasses.replace(CONFIG, seed=1)
    with pytest.raises(StaleError, match=r"4 of 4 shards of colours .*other settings"):
        run(out, other, STAGES)
    assert contents(out) == contents(unbroken)
    with pytest.raises(StaleError):
        run(out, other, STAGES, Way(indices=range(1)))
    run(out, other, STAGES[:1], recompute=True)
    rows = {row.stage: row for row in status.progress(out, other, STAGES)}
    assert (rows["colours"].stale, rows["shouts"].stale) == (0, 4)
    with pytest.raises(StaleError, match="of shouts were made of another input"):
        run(out, other, STAGES)
    run(out, other, STAGES, recompute=True)
    assert "THING 0 1" in gzip.decompress(contents(out)[first(out)]).decode()
    run(out, CONFIG, STAGES, recompute=True)
    assert contents(out) == contents(unbroken)


def test_other_models_make_shards_stale(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = backends.Entry("toy", "Words", ("vocabulary",), "", "", "toy")
    monkeypatch.setitem(backends.BACKENDS, "toy", row)
    monkeypatch.setitem(sys.modules, f"{backends.__name__}.toy", toy_stages)
    stage = (toy_stages.Toy("colours", PLAN, ("vocabulary", "grounder"), ("seed",)),)
    config = dataclasses.replace(CONFIG, models=ModelSettings(vocabulary="toy:a"))
    run(out, config, stage)
    assert marker(out, "colours", 0)["models"] == {"vocabulary": "toy:a"}
    run(out, config, stage)
    (row,) = (r for r in status.progress(out, config, stage) if r.stage == "colours")
    assert (row.done, row.stale) == (4, 0)
    for change in ({"vocabulary": "toy:b"}, {"vocabulary": ""}, {"dtype": "bfloat16"}):
        others = dataclasses.replace(config.models, **change)
        with pytest.raises(StaleError, match=r"with other (models|settings) "):
            run(out, dataclasses.replace(config, models=others), stage)
    same = dataclasses.replace(config.models, batch=1, device="cpu")
    run(out, dataclasses.replace(config, models=same), stage)
    monkeypatch.setattr(toy_stages.Words, "fingerprint", "1" * 12)
    models._loaded.cache_clear()  # as of another process
    with pytest.raises(StaleError, match="with other files of its models"):
        run(out, config, stage)
    models._loaded.cache_clear()


def test_another_edition_of_a_stage_makes_its_shards_stale(
    out: Path, unbroken: Path
) -> None:
    run(out, CONFIG, STAGES)
    newer = dataclasses.replace(STAGES[1], edition=2)
    with pytest.raises(
        StaleError, match=r"4 of 4 .*shouts .*by another edition of the"
    ):
        run(out, CONFIG, (STAGES[0], newer))
    rows = status.progress(out, CONFIG, (STAGES[0], newer))
    assert [row.stale for row in rows[:3]] == [0, 0, 4]
    assert run(out, CONFIG, (STAGES[0], newer), recompute=True) == 0
    assert contents(out) == contents(unbroken)
    assert marker(out, "shouts", 0)["edition"] == 2


def first(out: Path) -> str:
    return next(name for name in contents(out) if name.startswith("shouts"))


def test_the_stage_before_must_be_done(out: Path) -> None:
    with pytest.raises(DataError, match="colours has not done shard 0, which shouts"):
        run(out, CONFIG, STAGES[1:])
    with pytest.raises(DataError, match="unires engine plan"):
        run(out.with_name("none"), CONFIG, STAGES)


@pytest.mark.parametrize("workers", [0, 2])
def test_what_fails_is_an_error_and_is_done_again(
    out: Path, unbroken: Path, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    (out.with_name("pictures") / "5.jpg").rename(out / "5.jpg")
    other = small_data.jpeg(np.zeros((toy_stages.HEIGHT, toy_stages.WIDTH, 3), "u1"))
    kept = (out.with_name("pictures") / "6.jpg").read_bytes()
    (out.with_name("pictures") / "6.jpg").write_bytes(other)
    with monkeypatch.context() as faulty:
        faulty.setenv("FAILS", "1.jpg")
        faulty.setenv("BREAKS", "2.jpg")
        assert run(out, CONFIG, STAGES, Way(workers)) == 4
    failed = {p.file: p.errors[0] for p in pictures(out, "shouts") if p.errors}
    assert failed.keys() == {"1.jpg", "2.jpg", "5.jpg", "6.jpg"}
    assert failed["1.jpg"] == "colours: no room for one box"
    assert failed["2.jpg"] == "colours: IndexError: 7"
    assert "found none" in failed["5.jpg"] and "another file" in failed["6.jpg"]
    rows = {row.stage: row for row in status.progress(out, CONFIG, STAGES)}
    assert (rows["colours"].errors, rows["shouts"].errors) == (4, 0)
    assert run(out, CONFIG, STAGES) == 4  # nothing to do, and that is told again

    before = {p: p.stat().st_mtime_ns for p in out.glob("*/*.gz")}
    (out / "5.jpg").rename(out.with_name("pictures") / "5.jpg")
    (out.with_name("pictures") / "6.jpg").write_bytes(kept)
    monkeypatch.setenv("BREAKS", "0.jpg,3.jpg,4.jpg")  # those are not done again
    assert run(out, CONFIG, STAGES[:1], Way(workers), retry=True) == 0
    assert len(marker(out, "colours", 0)[FORMERLY]) == 1
    rows = {row.stage: row for row in status.progress(out, CONFIG, STAGES)}
    assert (rows["shouts"].behind, rows["shouts"].stale) == (4, 0)
    assert run(out, CONFIG, STAGES) == 0  # as `retry` broken off there
    assert contents(out) == contents(unbroken)
    assert all(p.stat().st_mtime_ns == t for p, t in before.items() if "plan" in str(p))


def test_two_runs_in_one_folder(out: Path) -> None:
    environment = os.environ | {"SLOW": "60", "PYTHONPATH": str(ROOT)}
    argv = [sys.executable, KILLED, "kill:0", out, "0"]
    with subprocess.Popen(argv, env=environment, stderr=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + 60
            while not list(out.glob("colours/*.tmp-*")):
                assert time.monotonic() < deadline
                time.sleep(0.05)
            for indices in (None, range(1)):
                with pytest.raises(DataError, match="written by another run"):
                    run(out, CONFIG, STAGES, Way(indices=indices))
        finally:
            process.kill()
    assert run(out, CONFIG, STAGES) == 0  # the dead hold nothing


def test_verify_finds_a_flipped_byte(out: Path) -> None:
    run(out, CONFIG, STAGES)
    assert status.verify(out, STAGES) == []
    (path,) = (out / "colours").glob("shard-00002-*.jsonl.gz")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    (fault,) = status.verify(out, STAGES)
    assert fault.startswith(f"{path}: is not what was written; remove")
    (
        out / "shouts" / path.with_name(path.name.replace(".jsonl.gz", ".done")).name
    ).unlink()
    with pytest.raises(DataError, match="verify"):  # who reads it sees it too
        run(out, CONFIG, STAGES)
    path.unlink()
    faults = status.verify(out, STAGES)
    assert len(faults) == 1 and "is lost" in faults[0]
    rows = {row.stage: row for row in status.progress(out, CONFIG, STAGES)}
    assert rows["colours"].done == 3
    assert run(out, CONFIG, STAGES) == 0 and status.verify(out, STAGES) == []


def test_a_full_disk_leaves_nothing_half(out: Path) -> None:
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (400, 400))\n"
        f"sys.path.insert(0, {str(HELPERS.parent)!r})\n"
        "from pathlib import Path; from helpers import toy_stages\n"
        "from unires_jax import disk; from unires_jax.engine.runner import Way, run\n"
        "from unires_jax.engine.settings import EngineConfig\n"
        "try: run(Path(sys.argv[1]), EngineConfig(), toy_stages.STAGES)\n"
        "except Exception as error: print(disk.explain(error))\n"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code, out],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert "File too large; raise the limit" in done.stdout, done
    assert f"{out}/colours/shard-00000-of-00004.jsonl.gz." in done.stdout
    assert not list(out.glob("colours/shard-*"))


def test_pictures_may_have_moved(out: Path, unbroken: Path) -> None:
    moved = out.with_name("pictures").rename(out.with_name("moved"))
    for way in (Way(), Way(workers=2)):  # no picture is at fault
        with pytest.raises(DataError, match="no such folder of pictures on this mach"):
            run(out, CONFIG, STAGES, way)
    assert not list(out.glob("colours/shard-*"))
    assert run(out, CONFIG, STAGES, pictures=str(moved)) == 0
    assert contents(out) == contents(unbroken)


def test_each_worker_has_its_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    for number, taken in ((0, "4"), (1, "7"), (2, "4")):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
        models.take_accelerator(number)
        assert os.environ["CUDA_VISIBLE_DEVICES"] == taken
        models.take_accelerator(number + 1)  # there is no other left
        assert os.environ["CUDA_VISIBLE_DEVICES"] == taken


@pytest.mark.slow
@pytest.mark.skipif(
    not importlib.util.find_spec("unires_jax.engine.backends.exact"),
    reason="the backend exact is not there yet",
)
def test_every_stage_with_models_in_every_way(tmp_path: Path) -> None:
    truth = tmp_path / "train.jsonl"
    write(truth, partworld.draw_records(7, "train", 6))
    roles = [f.name for f in dataclasses.fields(ModelSettings) if ":" in str(f.default)]
    named = dict.fromkeys([*roles, "grounder", "vocabulary"], f"exact:{truth}")
    config = EngineConfig(models=ModelSettings(**named))
    written = []
    ways = (Way(), Way(workers=2), Way(beam=("--runner=FnApiRunner",)))
    for i, way in enumerate(
        ways if importlib.util.find_spec("apache_beam") else ways[:2]
    ):
        out = tmp_path / f"engine{i}"
        plan(out, [truth], tmp_path, shard=2)
        assert run(out, config, way=way) == 0
        written.append(contents(out))
    assert all(other == written[0] for other in written[1:])
    assert len(written[0]) == 6 * 3
