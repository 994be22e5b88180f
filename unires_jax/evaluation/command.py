"""A whole evaluation: several splits scored, files written, a table printed."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
from rich import box
from rich.console import Console
from rich.table import Table

import unires_jax
from unires_jax import hosts
from unires_jax.config import Config
from unires_jax.data.prepared import PreparedSplit
from unires_jax.evaluation import predictions, protocols, refcocom
from unires_jax.evaluation.breakdown import reading_check, summarize
from unires_jax.evaluation.evaluator import Predict, evaluate
from unires_jax.evaluation.predictions import Predictions
from unires_jax.evaluation.protocols import NATIVE, Protocol
from unires_jax.evaluation.report.gallery import encode, gallery
from unires_jax.evaluation.report.page import Attend, SplitResults, percent, render
from unires_jax.evaluation.results import Result, gather, to_line
from unires_jax.files import write_whole

LEVELS = ("object", "part", "pooled")


def run(
    config: Config,
    splits: Mapping[str, PreparedSplit],
    predict: Predict,
    out: str | Path,
    *,
    about: Mapping[str, Any],
    protocol: Protocol = NATIVE,
    images: int | None = None,
    no_target_trained: bool = True,
    derange: bool = False,
    attend: Attend | None = None,
) -> dict[str, Any]:
    """Score the splits and write predictions, numbers, a report and a picture.

    `splits` go by the names they have in metrics.json. `about` (checkpoint, step,
    revision, ...) is recorded with each. `images` limits each split to its first ones;
    `derange` adds the reading check. Returns what metrics.json holds. All processes
    call it; one writes and prints.
    """
    rows = {
        name: gather(
            evaluate(
                split,
                predict,
                config,
                protocol=protocol,
                images=images,
                shard=hosts.shard(),
                progress=hosts.is_main(),
            )
        )
        for name, split in splits.items()
    }
    about = {**about, "protocol": protocol.name}
    return finish(
        splits,
        rows,
        out,
        about=about,
        no_target_trained=no_target_trained,
        derange=derange,
        attend=attend,
    )


def run_file(
    config: Config,
    splits: Mapping[str, PreparedSplit],
    found: Predictions,
    out: str | Path,
    *,
    protocol: Protocol = NATIVE,
    images: int | None = None,
    derange: bool = False,
) -> dict[str, Any]:
    """`run` on any model's predictions file instead of a model."""
    rows = predictions.rows(found, splits, config, protocol, images)
    about = {
        "name": found.path.name,
        "predictions": str(found.path),
        "input": "binary input",
        "protocol": protocol.name,
    }
    if not found.decides:
        about["no-target decision"] = "not in the file"
    return finish(splits, rows, out, about=about, derange=derange)


def finish(
    splits: Mapping[str, PreparedSplit],
    rows: Mapping[str, list[Result]],
    out: str | Path,
    *,
    about: Mapping[str, Any],
    no_target_trained: bool = True,
    derange: bool = False,
    attend: Attend | None = None,
) -> dict[str, Any]:
    """Summarize scored rows, write the files, print the tables."""
    about = {
        **about,
        "unires_jax": unires_jax.__version__,
        "jax": jax.__version__,
    }
    rules, scored = protocols.get(about["protocol"]), {}
    if rules.no_target and not no_target_trained:  # an untrained head never decides
        rows = {n: [replace(r, no_target=None) for r in x] for n, x in rows.items()}
    parts = refcocom.block(rows)
    for name, split in splits.items():
        found = summarize(rows[name], no_target_trained=no_target_trained)
        if derange:
            found["reading"] = reading_check(rows[name])
        if name in parts:
            found["refcocom"] = parts[name]
        found["names"] = rules.columns()
        found["about"] = {**about, "data": split.fingerprint()}
        scored[name] = SplitResults(split, found, rows[name])
    everything = {name: found.metrics for name, found in scored.items()}
    if hosts.is_main():
        _write_files(Path(out), scored, everything, about, attend)
        print_tables(everything)
        print(f"{Path(out) / 'report.html'}; numbers, masks and pictures beside it")
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
    write_whole(out / "predictions.jsonl", "".join(f"{line}\n" for line in lines))
    write_whole(out / "metrics.json", json.dumps(everything, indent=2) + "\n")
    write_whole(out / "report.html", render(scored, about, attend))
    first = next(iter(scored.values()))
    write_whole(out / "gallery.jpg", encode(gallery(first.split, first.results)))


def print_tables(everything: Mapping[str, Any], console: Console | None = None) -> None:
    """Every split's numbers in percent on stdout."""
    console = console or Console()
    for name, found in everything.items():
        console.print(_title(name, found), highlight=False, soft_wrap=True)
        console.print(_table(found))
        console.print(_below(found), highlight=False, soft_wrap=True)


def _title(name: str, found: Mapping[str, Any]) -> str:
    about = found["about"]
    title = f"{name}, protocol {about['protocol']}, {found['images']} pictures"
    return f"{title}, {about['input']}" if "input" in about else title


def _table(found: Mapping[str, Any]) -> Table:
    """Rows of the levels; fits 80 columns."""
    columns = dict(found["names"])
    if any(found[level]["ceiling_mIoU"] is not None for level in LEVELS):
        columns["ceiling_mIoU"] = "ceiling"
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=0)
    table.add_column("")
    for name in (*columns.values(), "count"):
        shown = name.replace("@", "\n@") if len(name) > 11 else name
        table.add_column(shown, justify="right", overflow="fold")
    for level in LEVELS:
        block = found[level]
        numbers = [percent(block[c]) for c in columns]
        table.add_row(level, *numbers, str(block["count"]))
    return table


def _below(found: Mapping[str, Any]) -> str:
    none, confusion = found["no_target"], found["part"]["whole_object_confusion"]
    lines = [
        f"N-acc, T-acc: no-target decision: {none}"
        if isinstance(none, str)
        else f"N-acc {percent(none['N-acc'])} ({none['no_target']} expressions), "
        f"T-acc {percent(none['T-acc'])} ({none['targeted']})",
        f"whole-object confusion {percent(confusion['share'])} "
        f"({confusion['count']} parts)",
    ]
    if found["without_polygons"]:
        lines.append(
            f"{found['without_polygons']} of {found['expressions']} expressions have "
            "no polygons, which this protocol rasterises or compares: their stored "
            "masks stand in, resized NEAREST where it has a grid"
        )
    if "refcocom" in found:
        lines += refcocom.lines(found["refcocom"], percent)
    for level, block in found.get("reading", {}).items():
        lines.append(
            f"reading check, {level}: mIoU {percent(block['aligned_mIoU'])}, deranged "
            f"{percent(block['deranged_mIoU'])} ({block['count']} expressions)"
        )
    return "\n".join(lines) + "\n"
