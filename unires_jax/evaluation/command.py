"""A whole evaluation: several splits scored, files written, a table printed."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

import unires_jax
from unires_jax import hosts
from unires_jax.config import Config
from unires_jax.data.prepared import PreparedSplit
from unires_jax.evaluation import protocols, refcocom
from unires_jax.evaluation.breakdown import (
    UNDECIDED,
    UNTRAINED,
    reading_check,
    summarize,
)
from unires_jax.evaluation.evaluator import Predict, evaluate
from unires_jax.evaluation.file_predict import score_file
from unires_jax.evaluation.predictions import Predictions, to_line
from unires_jax.evaluation.protocols import NATIVE, Protocol
from unires_jax.evaluation.report.gallery import encode, gallery
from unires_jax.evaluation.report.page import Attend, SplitResults, render
from unires_jax.evaluation.report.tables import print_tables
from unires_jax.evaluation.results import Result, gather
from unires_jax.files import write_whole


def run(
    config: Config,
    splits: Mapping[str, PreparedSplit],
    predict: Predict,
    out: str | Path,
    *,
    about: Mapping[str, Any],
    protocol: Protocol = NATIVE,
    images: int | None = None,
    derange: bool = False,
    attend: Attend | None = None,
) -> dict[str, Any]:
    """Score the splits and write predictions, numbers, a report and a picture.

    `splits` go by the names they have in metrics.json. `about` (checkpoint, step,
    revision, ...) is recorded with each; `no_target_trained` False there says why
    nothing is decided. `images` limits each split to its first ones; `derange` adds the
    reading check. Returns what metrics.json holds. All processes call it; one writes
    and prints.
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
    return finish(splits, rows, out, about=about, derange=derange, attend=attend)


def run_file(
    config: Config,
    splits: Mapping[str, PreparedSplit],
    file: Predictions,
    out: str | Path,
    *,
    protocol: Protocol = NATIVE,
    images: int | None = None,
    derange: bool = False,
) -> dict[str, Any]:
    """`run` on any model's predictions file instead of a model."""
    rows = score_file(file, splits, config, protocol, images)
    about = {
        "name": file.path.name,
        "predictions": str(file.path),
        "input": "binary input",
        "protocol": protocol.name,
    }
    if not file.decides:
        about["no-target decision"] = "not in the file"
    return finish(splits, rows, out, about=about, derange=derange)


def finish(
    splits: Mapping[str, PreparedSplit],
    rows: Mapping[str, list[Result]],
    out: str | Path,
    *,
    about: Mapping[str, Any],
    derange: bool = False,
    attend: Attend | None = None,
) -> dict[str, Any]:
    """Summarize scored rows, write the files, print the tables."""
    about = {**about, "unires_jax": unires_jax.__version__, "jax": jax.__version__}
    untrained = about.get("no_target_trained") is False
    undecided = UNTRAINED if untrained else UNDECIDED
    names = protocols.get(about["protocol"]).columns()
    pooled, scored = refcocom.block(rows), {}
    for name, split in splits.items():
        block = summarize(rows[name], undecided=undecided)
        if derange:
            block["reading"] = reading_check(rows[name])
        if name in pooled:
            block["refcocom"] = pooled[name]
        block["names"] = names
        block["about"] = {**about, "data": split.fingerprint()}
        scored[name] = SplitResults(split, block, rows[name])
    metrics = {name: split.metrics for name, split in scored.items()}
    if hosts.is_main():
        _write_files(Path(out), scored, metrics, about, attend)
        print_tables(metrics)
        print(f"{Path(out) / 'report.html'}; numbers, masks and pictures beside it")
    return metrics


def _write_files(
    out: Path,
    scored: Mapping[str, SplitResults],
    metrics: Mapping[str, Any],
    about: Mapping[str, Any],
    attend: Attend | None,
) -> None:
    out.mkdir(parents=True, exist_ok=True)
    lines = [to_line(r) for split in scored.values() for r in split.results]
    write_whole(out / "predictions.jsonl", "".join(f"{line}\n" for line in lines))
    write_whole(out / "metrics.json", json.dumps(metrics, indent=2) + "\n")
    write_whole(out / "report.html", render(scored, about, attend))
    first = next(iter(scored.values()))
    write_whole(out / "gallery.jpg", encode(gallery(first.split, first.results)))
