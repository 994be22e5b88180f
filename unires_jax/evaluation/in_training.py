"""Evaluation during training: a fixed part of one split, and a few pictures."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from unires_jax import hosts
from unires_jax.config import Config
from unires_jax.data.prepared import open_split
from unires_jax.data.tokenizer import Tokenizer
from unires_jax.errors import ConfigError
from unires_jax.evaluation.breakdown import BLOCKS, summarize
from unires_jax.evaluation.evaluator import Split, evaluate
from unires_jax.evaluation.predictors import ModelPredict
from unires_jax.evaluation.report import pictures
from unires_jax.evaluation.results import Result, gather
from unires_jax.inference.steps import Compiled

PICTURES = 8
SIDE = 256  # of a picture, pixels

Metrics = dict[str, float]
Pictures = dict[str, np.ndarray]  # RGB uint8


def make_evaluate(
    config: Config, tokenizer: Tokenizer
) -> Callable[[int, dict[str, Any]], tuple[Metrics, Pictures]]:
    """(step, parameters) -> metrics and pictures, for `trainer.fit`.

    The first `eval.watch_images` pictures of `eval.watch`, the same each time. Raises
    DataError now, not at the first evaluation, if that split is not there, and
    ConfigError if none is named.
    """
    if not (config.eval.watch or config.eval.splits):
        raise ConfigError(
            "eval.splits names no split, and a training evaluates one: name it there "
            "or as eval.watch"
        )
    spec, data = config.eval.watch or config.eval.splits[0], config.data
    split = open_split(spec, data.dir, data.cache)
    steps, count = Compiled(config), config.eval.watch_images

    def evaluate_parameters(
        step: int, params: dict[str, Any]
    ) -> tuple[Metrics, Pictures]:
        predict = ModelPredict(steps.bind(params), tokenizer, config)
        shard = hosts.shard()
        rows = gather(evaluate(split, predict, config, images=count, shard=shard))
        return flat_metrics(rows), example_pictures(split, rows)

    return evaluate_parameters


def flat_metrics(rows: list[Result]) -> Metrics:
    """`<level>/<metric>` for curves; what was not scored is left out."""
    block = summarize(rows)
    blocks = {name: block[name] for name in BLOCKS}
    if isinstance(block["no_target"], dict):
        blocks["no_target"] = block["no_target"]
    return {
        f"{name}/{metric}": float(value)
        for name, block in blocks.items()
        for metric, value in block.items()
        if isinstance(value, (int, float))
    }


def example_pictures(split: Split, rows: list[Result]) -> Pictures:
    """An expression of each of the first pictures, objects and parts in turn."""
    examples: Pictures = {}
    targeted = [row for row in rows if row.targeted]
    for image, group in itertools.groupby(targeted, key=lambda row: row.image):
        row = min(group, key=lambda row: row.level != image % 2)
        title = f"{row.iou:.2f} {row.sentence}"
        overlaid = pictures.overlaid(split[image], row, SIDE)
        examples[f"watch/{image}"] = pictures.titled(overlaid, title)
        if len(examples) == PICTURES:
            break
    return examples
