"""How far an engine's folder is, and whether its files are what their markers say."""

import dataclasses
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from tqdm import tqdm

from unires_jax.engine import filters
from unires_jax.engine.markers import (
    ERRORS,
    INPUT,
    OUTPUT,
    StaleError,
    State,
    file_hash,
    state,
)
from unires_jax.engine.plan_file import Plan
from unires_jax.engine.runner import SUFFIX, ledger, stem
from unires_jax.engine.settings import EngineConfig
from unires_jax.engine.stages import FILTER, PLAN, Stage
from unires_jax.errors import DataError
from unires_jax.prepare.shards import DONE, Marker, read_marker


@dataclasses.dataclass(frozen=True)
class Progress:
    """How far a stage is."""

    stage: str
    shards: int  # of the plan
    done: int
    stale: int  # of another input, other settings or other models
    behind: int  # whose input had pictures done again
    pictures: int  # in what is done
    regions: int
    texts: int
    errors: int  # pictures that could not be done
    seconds: float  # of work, in all processes


def progress(
    out: Path, config: EngineConfig, stages: Sequence[Stage]
) -> list[Progress]:
    """How far the plan, each stage and the filter are; no model is loaded.

    A model counts as the same while its setting is. Raises DataError without a plan.
    """
    plan = Plan.read(out)
    markers = list(_markers(out, PLAN, plan).values())
    done = [State.DONE] * len(markers)
    rows = [_row(PLAN, plan.shards, done, markers, errors=plan.counts["unusable"])]
    for stage in stages:
        shards = ledger(out, plan, stage, config).shards
        states = [state(shard) for shard in shards]
        stored = [m for s in shards if (m := s.stored())]
        rows.append(_row(stage.name, plan.shards, states, stored))
    rows.append(_row(FILTER, plan.shards, _of_filter(out), []))
    return rows


def _of_filter(out: Path) -> list[State]:
    """The state of each shard that the filter has written: of all the same."""
    files = list((out / FILTER).glob(f"shard-*{SUFFIX}"))
    if not files:
        return []
    try:
        filters.require_current(out)
    except StaleError:
        return [State.STALE] * len(files)
    except DataError:  # broken off, or stages are being made anew
        return []
    return [State.DONE] * len(files)


def _row(
    stage: str,
    shards: int,
    states: Sequence[State],
    markers: Sequence[Marker],
    errors: int | None = None,
) -> Progress:
    counts = Counter(states)
    sums = {
        name: sum(marker.get(name, 0) for marker in markers)
        for name in ("pictures", "regions", "texts", ERRORS, "seconds")
    }
    return Progress(
        stage=stage,
        shards=shards,
        done=counts[State.DONE],
        stale=counts[State.STALE],
        behind=counts[State.BEHIND],
        pictures=sums["pictures"],
        regions=sums["regions"],
        texts=sums["texts"],
        errors=sums[ERRORS] if errors is None else errors,
        seconds=round(float(sums["seconds"]), 1),
    )


def table(rows: Sequence[Progress]) -> str:
    """The rows as text."""
    head = ("stage", "shards", "pictures", "regions", "texts", "errors", "")
    lines: list[tuple[str, ...]] = [head]
    for row in rows:
        notes = [
            f"{count} {what}"
            for count, what in ((row.stale, State.STALE), (row.behind, State.BEHIND))
            if count
        ]
        counts = (row.pictures, row.regions, row.texts, row.errors)
        shown = (f"{count:,}" if count else "" for count in counts)
        done = f"{row.done} of {row.shards}"
        lines.append((row.stage, done, *shown, ", ".join(notes)))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(_aligned(line, widths) for line in lines)


def _aligned(line: Sequence[str], widths: Sequence[int]) -> str:
    name, *numbers = line
    cells = [f"{n:>{w}}" for n, w in zip(numbers[:-1], widths[1:-1], strict=True)]
    return "  ".join([f"{name:<{widths[0]}}", *cells, numbers[-1]]).rstrip()


def verify(out: Path, stages: Sequence[Stage]) -> list[str]:
    """Hash every shard anew; what is wrong, a line each, with its remedy.

    A shard must be what its marker says, and made of what the marker of the stage
    before says. Raises DataError without a plan.
    """
    plan = Plan.read(out)
    folders = [PLAN, *(stage.name for stage in stages)]
    markers = {name: _markers(out, name, plan) for name in folders}
    faults = list(_lost(out, plan, markers[PLAN]))
    total = sum(map(len, markers.values()))
    with tqdm(total=total, unit=" shards", desc="verify") as bar:
        for name, of_stage in markers.items():
            for index, marker in of_stage.items():
                path = out / name / f"{stem(index, plan.shards)}{SUFFIX}"
                if fault := _fault(path, marker):
                    done = path.with_name(f"{stem(index, plan.shards)}{DONE}")
                    again = "plan" if name == PLAN else "run"
                    faults.append(
                        f"{path}: {fault}; remove {done.name} and {again} again"
                    )
                bar.update()
    for stage in stages:
        for index, marker in markers[stage.name].items():
            before = markers.get(stage.reads, {}).get(index, {})
            if marker.get(INPUT) != before.get(OUTPUT):
                path = out / stage.name / f"{stem(index, plan.shards)}{SUFFIX}"
                faults.append(
                    f"{path}: was made of another shard of {stage.reads} than is "
                    "there; run again with --recompute stale"
                )
    return faults


def _lost(out: Path, plan: Plan, markers: dict[int, Marker]) -> Iterator[str]:
    for index in sorted(set(range(plan.shards)) - set(markers)):
        path = out / PLAN / f"{stem(index, plan.shards)}{SUFFIX}"
        yield f"{path}: has no marker; plan again"


def _fault(path: Path, marker: Marker) -> str:
    if not path.exists():
        return "is lost"
    return "" if file_hash(path) == marker.get(OUTPUT) else "is not what was written"


def _markers(out: Path, stage: str, plan: Plan) -> dict[int, Marker]:
    """The markers of a stage's shards that have one."""
    paths = {
        i: out / stage / f"{stem(i, plan.shards)}{DONE}" for i in range(plan.shards)
    }
    return {i: marker for i, path in paths.items() if (marker := read_marker(path))}
