"""A whole evaluation: several splits scored, files written, a table printed."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
from rich import box
from rich.console import Console
from rich.table import Table

import unires_jax
from unires_jax.config import Config
from unires_jax.data.prepared import PreparedSplit
from unires_jax.evaluation import metrics
from unires_jax.evaluation.evaluator import Predict, evaluate
from unires_jax.evaluation.report import Attend, SplitResults, percent, render
from unires_jax.evaluation.results import gather, to_line
from unires_jax.evaluation.summary import reading_check, summarize
from unires_jax.mesh import is_main

LEVELS = ("object", "part", "pooled")


def run(
    config: Config,
    splits: Mapping[str, PreparedSplit],
    predict: Predict,
    out: str | Path,
    *,
    about: Mapping[str, Any],
    images: int | None = None,
    no_target_trained: bool = True,
    derange: bool = False,
    attend: Attend | None = None,
) -> dict[str, Any]:
    """Score the splits and write predictions.jsonl, metrics.json and report.html.

    `splits` go by the names they have in metrics.json. `about` (checkpoint, step,
    revision, ...) is recorded with each. `images` limits each split to its first ones;
    `derange` adds the reading check. Returns what metrics.json holds. All processes
    call it; one writes and prints.
    """
    about = {
        **about,
        "protocol": "native",
        "unires_jax": unires_jax.__version__,
        "jax": jax.__version__,
    }
    shard = (jax.process_index(), jax.process_count())
    scored = {}
    for name, split in splits.items():
        rows = gather(
            evaluate(
                split, predict, config, images=images, shard=shard, progress=is_main()
            )
        )
        found = summarize(rows, no_target_trained=no_target_trained)
        if derange:
            found["reading"] = reading_check(rows)
        found["about"] = {**about, "data": split.fingerprint()}
        scored[name] = SplitResults(split, found, rows)
    everything = {name: found.metrics for name, found in scored.items()}
    if is_main():
        _write_files(Path(out), scored, everything, about, attend)
        print_tables(everything)
    return everything


def _write_files(
    out: Path,
    scored: Mapping[str, SplitResults],
    everything: Mapping[str, Any],
    about: Mapping[str, Any],
    attend: Attend | None,
) -> None:
    out.mkdir(parents=True, exist_ok=True)
    lines = [to_line(r) for found in scored.values() for r in found.results]
    write(out / "predictions.jsonl", "".join(f"{line}\n" for line in lines))
    write(out / "metrics.json", json.dumps(everything, indent=2) + "\n")
    write(out / "report.html", render(scored, about, attend))


def write(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


def print_tables(everything: Mapping[str, Any], console: Console | None = None) -> None:
    """Every split's numbers in percent on stdout."""
    console = console or Console()
    for name, found in everything.items():
        console.print(_table(name, found))
        console.print(_below(found), highlight=False)


def _table(name: str, found: Mapping[str, Any]) -> Table:
    protocol = found["about"]["protocol"]
    title = f"{name}, protocol {protocol}, {found['images']} pictures"
    table = Table(
        title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False
    )
    for column in ("", *metrics.columns(), "ceiling", "count"):
        table.add_column(column, justify="right" if column else "left")
    for level in LEVELS:
        block = found[level]
        numbers = [block[c] for c in (*metrics.columns(), "ceiling_mIoU")]
        table.add_row(level, *map(percent, numbers), str(block["count"]))
    return table


def _below(found: Mapping[str, Any]) -> str:
    none, confusion = found["no_target"], found["part"]["whole_object_confusion"]
    lines = [
        f"N-acc, T-acc: no-target head {none}"
        if isinstance(none, str)
        else f"N-acc {percent(none['N-acc'])} ({none['no_target']} expressions), "
        f"T-acc {percent(none['T-acc'])} ({none['targeted']})",
        f"whole-object confusion {percent(confusion['share'])} "
        f"({confusion['count']} parts)",
    ]
    for level, block in found.get("reading", {}).items():
        lines.append(
            f"reading check, {level}: mIoU {percent(block['aligned_mIoU'])}, deranged "
            f"{percent(block['deranged_mIoU'])} ({block['count']} expressions)"
        )
    return "\n".join(lines) + "\n"
