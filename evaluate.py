"""Score a trained UniRES, at the original size of every picture.

    python evaluate.py --workdir=runs/quickstart
    python evaluate.py --workdir=runs/quickstart --splits=partworld:val,partworld:testA
    python evaluate.py --predict=ground_truth --splits=partworld:val

Writes predictions.jsonl, metrics.json and report.html, and prints a table.
"""

import json
import sys
from pathlib import Path
from typing import Any, NoReturn

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


def main() -> None:
    """Load, open the splits, score."""
    from unires_jax import mesh

    mesh.start_distributed()
    from unires_jax.data.prepared import open_split
    from unires_jax.evaluation import run

    config, predict, about = _model() if PREDICT.value == "model" else _check()
    specs = SPLITS.value or config.eval.splits
    data_dir = DATA_DIR.value or config.data.dir
    run.run(
        config,
        {spec: open_split(spec, data_dir) for spec in specs},
        predict,
        OUT.value or Path(WORKDIR.value) / "evaluation",
        about=about,
        images=IMAGES.value,
        no_target_trained=about.get("no_target_trained", True),
        derange=DERANGE.value,
    )


def _model() -> tuple[Config, Any, dict[str, Any]]:
    """The checkpoint's config, its answers, and what is recorded of it."""
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
        "no_target_trained": meta.get("no_target_trained", config.loss.no_target > 0),
    }
    segmenter = Compiled(config).bind(loaded.params)
    return config, ModelPredict(segmenter, loaded.tokenizer, config), about


def _check() -> tuple[Config, Any, dict[str, Any]]:
    """An answer that needs no model; the grid ceiling is that of the workdir's."""
    from unires_jax.evaluation import evaluator

    config = Config()
    if WORKDIR.value:
        file = Path(WORKDIR.value) / "config.json"
        if not file.is_file():
            raise ConfigError(f"{file}: no such file; --workdir is no training run")
        config = from_dict(json.loads(file.read_text()))
    return config, getattr(evaluator, PREDICT.value), {"name": PREDICT.value}


def _fail(error: Exception, code: int) -> NoReturn:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    try:
        if extra := flags.FLAGS(sys.argv)[1:]:
            raise flags.Error(f"unexpected arguments {extra}; flags start with --")
    except flags.Error as error:
        _fail(error, 2)
    try:
        main()
    except app.user_errors() as error:
        _fail(error, 1)
