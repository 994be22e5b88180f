"""Score a trained UniRES, at the original size of every picture.

    python evaluate.py --workdir=runs/quickstart
    python evaluate.py --workdir=runs/quickstart --splits=partworld:val,partworld:testA
    python evaluate.py --predict=ground_truth --splits=partworld:val

Writes predictions.jsonl, metrics.json and report.html, and prints a table.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

from absl import flags

from unires_jax import app
from unires_jax.config import Config, ConfigError, from_dict

WORKDIR = flags.DEFINE_string("workdir", "", "folder of a training run")
CHECKPOINT = flags.DEFINE_string(
    "checkpoint", "best", "best or last of the workdir, or a checkpoint's path"
)
SPLITS = flags.DEFINE_list(
    "splits", [], "<data set>:<split>, several with commas; default: config.eval.splits"
)
DATA_DIR = flags.DEFINE_string("data_dir", "", "folder of prepared data sets")
OUT = flags.DEFINE_string("out", "", "where to write; default: <workdir>/evaluation")
PREDICT = flags.DEFINE_enum(
    "predict",
    "model",
    ["model", "ground_truth", "empty"],
    "whose masks are scored; ground_truth must print 100.0, empty 0.0",
)
IMAGES = flags.DEFINE_integer("images", None, "only the first pictures of each split")
DERANGE = flags.DEFINE_bool(
    "derange", False, "reading check: score again with each picture's sentences swapped"
)


class Answerer(NamedTuple):
    """Whose masks are scored."""

    config: Config
    predict: Any  # evaluator.Predict
    attend: Any  # report.Attend, or None
    about: dict[str, Any]  # recorded in metrics.json and the report


def main() -> None:
    """Load, open the splits, score."""
    from unires_jax import mesh

    mesh.start_distributed()
    from unires_jax.data.prepared import open_split
    from unires_jax.evaluation import run

    answerer = _model() if PREDICT.value == "model" else _check()
    specs = SPLITS.value or answerer.config.eval.splits
    data_dir = DATA_DIR.value or answerer.config.data.dir
    run.run(
        answerer.config,
        {spec: open_split(spec, data_dir) for spec in specs},
        answerer.predict,
        OUT.value or Path(WORKDIR.value) / "evaluation",
        about=answerer.about,
        images=IMAGES.value,
        no_target_trained=answerer.about.get("no_target_trained", True),
        derange=DERANGE.value,
        attend=answerer.attend,
    )


def _model() -> Answerer:
    """The checkpoint's."""
    from unires_jax.evaluation.attention import make_attend
    from unires_jax.evaluation.evaluator import ModelPredict
    from unires_jax.evaluation.segmenter import Compiled, load

    pick: Any = CHECKPOINT.value
    if pick not in ("best", "last"):
        loaded = load(pick)
    elif WORKDIR.value:
        loaded = load(WORKDIR.value, pick)
    else:
        raise ConfigError(
            "--workdir=<folder of a run> or --checkpoint=<path> is missing"
        )
    config, meta = loaded.config, loaded.meta
    about = {
        "name": config.name,
        "step": int(loaded.folder.name),
        "checkpoint": str(loaded.folder),
        "revision": meta["revision"],
        "no_target_trained": meta["no_target_trained"],
    }
    predict = ModelPredict(
        Compiled(config).bind(loaded.params), loaded.tokenizer, config
    )
    attend = make_attend(loaded.params, loaded.tokenizer, config)
    return Answerer(config, predict, attend, about)


def _check() -> Answerer:
    """Without a model; the grid ceiling is that of the workdir's."""
    from unires_jax.evaluation import evaluator

    config = Config()
    if WORKDIR.value:
        file = Path(WORKDIR.value) / "config.json"
        if not file.is_file():
            raise ConfigError(f"{file}: no such file; --workdir is no training run")
        config = from_dict(json.loads(file.read_text()))
    predict = getattr(evaluator, PREDICT.value)
    return Answerer(config, predict, None, {"name": PREDICT.value})


if __name__ == "__main__":
    app.run(main, takes_config=False)
