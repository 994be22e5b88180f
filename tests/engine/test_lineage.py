"""What is packed was judged of what is there now, all of it."""

import json
from pathlib import Path

import pytest
from helpers import engine_records as made

from unires_jax import cli
from unires_jax.engine import filters, shard_files
from unires_jax.engine.markers import StaleError
from unires_jax.engine.record import Picture
from unires_jax.engine.settings import EngineConfig
from unires_jax.engine.stages import FILTER, PLAN, STAGES
from unires_jax.prepare.shards import DONE


def write_stage(out: Path, stage: str, pictures: list[Picture], made_of: str) -> str:
    """A stage of one shard with its marker; what the marker calls it."""
    path = out / stage / shard_files.name(0, 1)
    shard_files.write(path, pictures)
    output = f"{stage} of {made_of}"
    marker = path.with_name(path.name.removesuffix(".jsonl.gz") + DONE)
    marker.write_text(json.dumps({"input": made_of, "output": output}))
    return output


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Every stage of two pictures, and the filter's judgement of them."""
    pictures = made.partworld_engine(tmp_path, 2, shards=1)
    out, made_of = tmp_path / "engine", ""
    for name in (PLAN, *(stage.name for stage in STAGES)):
        made_of = write_stage(out, name, pictures, made_of)
    filters.run(out, EngineConfig(preset="none"))
    return out


def engine(command: str, out: Path, *more: str) -> int:
    return cli.main(["engine", command, "--out", str(out), *more])


def test_a_pack_is_of_a_filter_that_came_to_its_end(
    out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    counts = out / FILTER / filters.COUNTS
    whole = counts.read_bytes()
    counts.unlink()  # as of a filter that was killed among its shards
    assert engine("pack", out) == 1
    assert "run `unires engine filter`" in capsys.readouterr().err
    counts.write_bytes(whole)
    assert engine("pack", out) == 0


@pytest.mark.parametrize("stage", [stage.name for stage in STAGES])
def test_what_was_made_anew_is_judged_anew(
    out: Path, stage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One stage is done again: those after it, the filter and a pack are of before."""
    shard = out / stage / shard_files.name(0, 1)
    write_stage(out, stage, list(shard_files.read(shard)), "other settings")
    if stage == STAGES[-1].name:  # nothing is after it, nor what it is made of
        marker = shard.with_name(shard.name.removesuffix(".jsonl.gz") + DONE)
        before = marker.parent.with_name(STAGES[-2].name) / marker.name
        output = json.loads(before.read_text())["output"]
        values = json.loads(marker.read_text()) | {"input": output}
        marker.write_text(json.dumps(values))
    assert engine("pack", out) == 4
    said = capsys.readouterr().err
    if stage == STAGES[-1].name:
        assert "is older than what scores has made; run `unires engine filter`" in said
        filters.run(out, EngineConfig(preset="none"))
        assert engine("pack", out) == 0
    else:
        assert f"was made of another shard of {stage} than is there now" in said
        with pytest.raises(StaleError):
            filters.run(out, EngineConfig(preset="none"))
    assert engine("report", out) == 0  # looked at meanwhile
    assert ("the page is of an earlier state" in capsys.readouterr().err) == (
        stage != STAGES[-1].name
    )


def test_a_folder_may_keep_the_filter_alone(out: Path) -> None:
    for stage in STAGES:
        for path in (out / stage.name).iterdir():
            path.unlink()
    assert engine("pack", out) == 0
