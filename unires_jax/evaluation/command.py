"""A whole evaluation: whose masks, several splits scored, files written, a table."""

import contextlib
import json
import os
from collections.abc import Mapping
from functools import partial
from typing import Any, Literal, NamedTuple

import jax

import unires_jax
from unires_jax import documents, hosts
from unires_jax.config import Config, from_dict
from unires_jax.data.prepared import PreparedSplit
from unires_jax.errors import ConfigError, DataError
from unires_jax.evaluation import folder, predictors, protocols, refcocom
from unires_jax.evaluation.breakdown import (
    UNDECIDED,
    UNTRAINED,
    reading_check,
    summarize,
)
from unires_jax.evaluation.evaluator import Predict, evaluate
from unires_jax.evaluation.mean_mask import MeanMask
from unires_jax.evaluation.predictions import Predictions, to_line
from unires_jax.evaluation.protocols import NATIVE, Protocol
from unires_jax.evaluation.report.attention import make_attend
from unires_jax.evaluation.report.page import Attend, SplitResults, render
from unires_jax.evaluation.report.pictures import encode, gallery
from unires_jax.evaluation.report.tables import print_tables
from unires_jax.evaluation.results import Result, gather
from unires_jax.files import Location, locate, write_together
from unires_jax.inference.model import load
from unires_jax.inference.steps import Compiled


class Subject(NamedTuple):
    """Who answers.

    In `about`, `no_target_trained` False says why nothing is decided.
    """

    config: Config
    predict: Predict
    attend: Attend | None
    about: dict[str, Any]  # recorded in metrics.json and the report
    ceiling: bool = True  # whether the decoder's grid, as `config` has it, sets one


def trained_model(
    path: str | os.PathLike[str],
    pick: Literal["best", "last"],
    protocol: Protocol,
    image_size: int = 0,
) -> Subject:
    """A workdir's best or last checkpoint, the folder of one step, or an export.

    `image_size`: as `inference.model.load`.
    """
    model = load(path, pick, image_size=image_size)
    predict = predictors.ModelPredict(
        Compiled(model.config).bind(model.params),
        model.tokenizer,
        model.config,
        protocol,
        no_target_trained=model.no_target_trained,
        checkpoint=str(model.folder),
    )
    attend = make_attend(model.params, model.tokenizer, model.config)
    return Subject(model.config, predict, attend, model.about)


def other_model(ground: predictors.Ground, about: dict[str, Any]) -> Subject:
    """Any model that marks pixels; `about` names it.

    Its masks have the picture's size: they know no grid of ours, and no ceiling.
    """
    about = {**about, "input": "binary input", "no-target decision": "an empty mask"}
    predict = predictors.MaskPredict(ground)
    return Subject(Config(), predict, None, about, ceiling=False)


def without_model(
    name: Literal["ground_truth", "empty"], workdir: str, protocol: Protocol
) -> Subject:
    """The ground truth or empty masks; the grid ceiling is that of the workdir's model.

    Raises ConfigError if the workdir (unless "") holds no config.
    """
    config = Config()
    if workdir:
        file = locate(workdir) / "config.json"
        if not file.is_file():
            raise ConfigError(f"{file}: no such file; --workdir is no training run")
        config = from_dict(documents.read(file))
    predict: Predict = predictors.empty
    if name == "ground_truth":
        predict = partial(predictors.ground_truth, protocol=protocol)
    return Subject(config, predict, None, {"name": name})


def mean_mask(splits: Mapping[str, PreparedSplit]) -> Subject:
    """The floor that the training records of the same data set set: `MeanMask`."""
    records = (split[i] for split in splits.values() for i in range(len(split)))
    about = {"name": "mean_mask", "trained_on": ", ".join(splits)}
    return Subject(Config(), MeanMask(records), None, about, ceiling=False)


def run(
    subject: Subject,
    splits: Mapping[str, PreparedSplit],
    out: str | os.PathLike[str],
    *,
    protocol: Protocol = NATIVE,
    images: int | None = None,
    derange: bool = False,
    overwrite: bool = True,
) -> dict[str, Any]:
    """Score the splits and write predictions, numbers, a report and a picture.

    `splits` go by the names they have in metrics.json. `images` limits each to its
    first ones; `derange` adds the reading check. Returns what metrics.json holds. All
    processes call it; one writes and prints. Raises DataError if they do not have the
    same data; ConfigError where `out` holds the answer to another question, unless
    `overwrite` is given.
    """
    data = _require_same_data(splits)
    about = {**subject.about, "protocol": protocol.name, **_limit(images)}
    with _held(out, folder.question(about, data, derange), overwrite):
        rows = {
            name: gather(
                evaluate(
                    split,
                    subject.predict,
                    subject.config,
                    protocol=protocol,
                    images=images,
                    shard=hosts.shard(),
                    progress=hosts.is_main(),
                    ceiling=subject.ceiling,
                )
            )
            for name, split in splits.items()
        }
        return _finish(splits, rows, out, about, derange, subject.attend)


def _held(
    out: str | os.PathLike[str], asked: folder.Question, overwrite: bool
) -> contextlib.AbstractContextManager[None]:
    """The folder, by the process that writes it."""
    if hosts.is_main():
        return folder.hold(out, asked, overwrite)
    return contextlib.nullcontext()


def _limit(images: int | None) -> dict[str, int]:
    """For `about`, where not all of a split is scored."""
    return {} if images is None else {"images": images}


def _require_same_data(splits: Mapping[str, PreparedSplit]) -> dict[str, str]:
    """The splits' fingerprints.

    Raises DataError naming the process whose splits are not the first one's.
    """
    prints = {name: split.fingerprint() for name, split in splits.items()}
    first, *others = map(json.loads, hosts.gather_bytes(json.dumps(prints).encode()))
    for process, other in enumerate(others, 1):
        differ = [name for name in first | other if first.get(name) != other.get(name)]
        if differ:
            raise DataError(
                f"process {process} reads another {', '.join(differ)} than process 0; "
                "prepare the data once and give every host the same --data_dir"
            )
    return prints


def run_file(
    splits: Mapping[str, PreparedSplit],
    file: Predictions,
    out: str | os.PathLike[str],
    *,
    protocol: Protocol = NATIVE,
    images: int | None = None,
    derange: bool = False,
    overwrite: bool = True,
) -> dict[str, Any]:
    """`run` on any model's predictions file instead of a model."""
    about: dict[str, Any] = {
        "name": file.path.name,
        "predictions": str(file.path),
        "input": "binary input",
        "protocol": protocol.name,
        **_limit(images),
    }
    if not file.decides:
        about["no-target decision"] = "not in the file"
    data = {name: split.fingerprint() for name, split in splits.items()}
    with folder.hold(out, folder.question(about, data, derange), overwrite):
        rows = predictors.score_file(file, splits, protocol, images)
        return _finish(splits, rows, out, about, derange)


def _finish(
    splits: Mapping[str, PreparedSplit],
    rows: Mapping[str, list[Result]],
    out: str | os.PathLike[str],
    about: Mapping[str, Any],
    derange: bool,
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
        place = locate(out)
        _write(place, metrics, scored, render(scored, about, attend))
        print_tables(metrics)
        print(f"{place / 'report.html'}; numbers, masks and pictures beside it")
    return metrics


def _write(
    out: Location, metrics: Any, scored: Mapping[str, SplitResults], report: str
) -> None:
    lines = [to_line(r) for split in scored.values() for r in split.results]
    first = next(iter(scored.values()))
    contents: dict[str, str | bytes] = {
        "predictions.jsonl": "".join(f"{line}\n" for line in lines),
        "metrics.json": json.dumps(metrics, indent=2) + "\n",
        "report.html": report,
        "gallery.jpg": encode(gallery(first.split, first.results), 90),
    }
    write_together(out, contents)
