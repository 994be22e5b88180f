"""Whose masks an evaluation scores, and what the report says of them."""

import json
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

from unires_jax.config import Config, from_dict
from unires_jax.errors import ConfigError
from unires_jax.evaluation import predictors
from unires_jax.evaluation.evaluator import Predict
from unires_jax.evaluation.protocols import Protocol
from unires_jax.evaluation.report.attention import make_attend
from unires_jax.evaluation.report.page import Attend
from unires_jax.inference.model import Compiled, load


class Subject(NamedTuple):
    """Who answers."""

    config: Config
    predict: Predict
    attend: Attend | None
    about: dict[str, Any]  # recorded in metrics.json and the report


def trained_model(
    path: str | Path, pick: Literal["best", "last"], protocol: Protocol
) -> Subject:
    """A workdir's best or last checkpoint, the folder of one step, or an export."""
    model = load(path, pick)
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


def without_model(
    name: Literal["ground_truth", "empty"], workdir: str, protocol: Protocol
) -> Subject:
    """The ground truth or empty masks; the grid ceiling is that of the workdir's model.

    Raises ConfigError if the workdir (unless "") holds no config.
    """
    config = Config()
    if workdir:
        file = Path(workdir) / "config.json"
        if not file.is_file():
            raise ConfigError(f"{file}: no such file; --workdir is no training run")
        config = from_dict(json.loads(file.read_text()))
    predict: Predict = predictors.empty
    if name == "ground_truth":
        predict = partial(predictors.ground_truth, protocol=protocol)
    return Subject(config, predict, None, {"name": name})
