"""Score referring segmentation by the protocol of your choice.

A trained UniRES:

    python evaluate.py --workdir=runs/quickstart
    python evaluate.py --workdir=runs/full --protocol=lavt --splits=refcoco_m:val

Any model's masks, from a file (a line per expression: its key, and its mask as COCO RLE
or PNG; missing expressions count as empty):

    python evaluate.py --predictions=preds.jsonl --splits=refcoco/refcoco_unc:val

Two evaluations, or two such files, side by side, with a 95 % interval of the difference
and a page of the expressions where they differ most:

    python evaluate.py --compare runs/one/evaluation runs/two/evaluation

Checks that need no model: masks of the ground truth must score 100.0, empty ones 0.0:

    python evaluate.py --predict=ground_truth --splits=partworld:val

Protocols (numbers of different ones are not comparable; every table names its own):

    native    original size, every sentence, logit > 0                 mIoU, oIoU, P@
    cris      original size, probability > .35, ties fail              IoU, Pr@
    lavt      480 x 480, overlapping polygons are background           mIoU, oIoU, P@
    rela      480 x 480, no-target expressions are scored              gIoU, cIoU, Pr@
    xdecoder  original size, first sentence of an annotation, float32  mIoU, cIoU, P@
    mmdet     original size, first sentence of an annotation           mIoU, cIoU
    lisa      original size, empty union scores 1                      gIoU, cIoU

Writes predictions.jsonl, metrics.json and report.html (--compare: comparison.json and
comparison.html), and prints a table.
"""

import json
import sys
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from absl import flags

from unires_jax import app
from unires_jax.config import Config, from_dict
from unires_jax.errors import ConfigError
from unires_jax.evaluation.protocols import PROTOCOLS, Protocol, get

WORKDIR = flags.DEFINE_string("workdir", "", "folder of a training run")
CHECKPOINT = flags.DEFINE_string(
    "checkpoint", "best", "best or last of the workdir, or a checkpoint's path"
)
PROTOCOL = flags.DEFINE_enum(
    "protocol",
    None,
    list(PROTOCOLS),
    f"whose rules: {', '.join(PROTOCOLS)}; default: native (--compare: the files' own)",
)
PREDICTIONS = flags.DEFINE_string(
    "predictions", "", "score the masks of this predictions.jsonl instead of a model's"
)
COMPARE = flags.DEFINE_list(
    "compare", [], "A B: two evaluation folders or predictions files"
)
SPLITS = flags.DEFINE_list(
    "splits", [], "<data set>:<split>, several with commas; default: config.eval.splits"
)
DATA_DIR = flags.DEFINE_string("data_dir", "", "folder of prepared data sets")
OUT = flags.DEFINE_string(
    "out",
    "",
    "where to write; default: <workdir>/evaluation, <predictions>_<protocol> beside "
    "that file, or comparison",
)
PREDICT = flags.DEFINE_enum(
    "predict",
    "model",
    ["model", "ground_truth", "empty"],
    "whose masks are scored; ground_truth must print 100.0, empty 0.0",
)
IMAGES = flags.DEFINE_integer(
    "images", None, "only the first pictures of each split", lower_bound=1
)
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
    """Score a model, a file, or two files against each other."""
    protocol = get(PROTOCOL.value or "native")
    if DERANGE.value and (protocol.name != "native" or COMPARE.present):
        raise ConfigError("--derange is a check of the native protocol, of one model")
    if COMPARE.present:
        _compare()
    elif PREDICTIONS.value:
        _file(protocol)
    else:
        _answers(protocol)


def _answers(protocol: Protocol) -> None:
    """Load, open the splits, score."""
    from unires_jax import hosts

    hosts.join_cluster()
    from unires_jax.evaluation import command as run

    answerer = _model(protocol) if PREDICT.value == "model" else _check(protocol)
    run.run(
        answerer.config,
        _splits(SPLITS.value or answerer.config.eval.splits, answerer.config),
        answerer.predict,
        OUT.value or Path(WORKDIR.value) / "evaluation",
        about=answerer.about,
        protocol=protocol,
        images=IMAGES.value,
        no_target_trained=answerer.about.get("no_target_trained", True),
        derange=DERANGE.value,
        attend=answerer.attend,
    )


def _splits(specs: Any, config: Config) -> dict[str, Any]:
    from unires_jax.data.prepared import open_split

    data_dir = DATA_DIR.value or config.data.dir
    return {spec: open_split(spec, data_dir) for spec in specs}


def _file(protocol: Protocol) -> None:
    """Any model's masks."""
    from unires_jax.evaluation import command as run
    from unires_jax.evaluation import predictions

    if not SPLITS.value:
        raise ConfigError(
            "--splits=<data set>:<split> is missing: what the file answers"
        )
    found, config = predictions.read(PREDICTIONS.value), Config()
    out = OUT.value or found.path.with_name(f"{found.path.stem}_{protocol.name}")
    run.run_file(
        config,
        _splits(SPLITS.value, config),
        found,
        out,
        protocol=protocol,
        images=IMAGES.value,
        derange=DERANGE.value,
    )


def _compare() -> None:
    """Two files or folders."""
    from unires_jax.evaluation import compare, predictions
    from unires_jax.evaluation.report import comparison_page as comparison

    if len(COMPARE.value) != 2:
        raise ConfigError("--compare takes two folders or files: --compare A B")
    sides, config = [predictions.read(p) for p in COMPARE.value], Config()
    protocol = compare.protocol_of(sides, PROTOCOL.value)
    splits = _splits(SPLITS.value or _evaluated(sides[0].path), config)
    a, b = (compare.load(x, splits, config, protocol, IMAGES.value) for x in sides)
    found = {n: compare.compare(split, a[n], b[n]) for n, split in splits.items()}
    about = {"protocol": f"protocol {protocol.name}"}
    if any(compare.binary_input(x, protocol) for x in sides):
        about["input"] = "binary input"
    names = (COMPARE.value[0], COMPARE.value[1])
    comparison.write(found, names, OUT.value or "comparison", about)


def _evaluated(file: Path) -> list[str]:
    """The splits that an evaluation's folder says it scored."""
    try:
        return list(json.loads(file.with_name("metrics.json").read_text()))
    except (OSError, ValueError):
        raise ConfigError(
            "--splits=<data set>:<split> is missing: no metrics.json beside "
            f"{file} tells what was scored"
        ) from None


def _model(protocol: Protocol) -> Answerer:
    """The checkpoint's."""
    from unires_jax.evaluation.evaluator import ModelPredict
    from unires_jax.evaluation.report.attention import make_attend
    from unires_jax.inference.model import Compiled, load

    pick: Any = CHECKPOINT.value
    if pick not in ("best", "last"):
        loaded = load(pick)
    elif WORKDIR.value:
        loaded = load(WORKDIR.value, pick)
    else:
        raise ConfigError(
            "--workdir=<folder of a run>, --checkpoint=<path> or --predictions=<file> "
            "is missing"
        )
    config, meta = loaded.config, loaded.meta
    about = {
        "name": config.name,
        "step": int(loaded.folder.name),
        "checkpoint": str(loaded.folder),
        "revision": meta["revision"],
        "no_target_trained": meta.get("no_target_trained", False),
    }
    steps = Compiled(config).bind(loaded.params)
    predict = ModelPredict(steps, loaded.tokenizer, config, protocol)
    attend = make_attend(loaded.params, loaded.tokenizer, config)
    return Answerer(config, predict, attend, about)


def _check(protocol: Protocol) -> Answerer:
    """Without a model; the grid ceiling is that of the workdir's."""
    from unires_jax.evaluation import evaluator

    config = Config()
    if WORKDIR.value:
        file = Path(WORKDIR.value) / "config.json"
        if not file.is_file():
            raise ConfigError(f"{file}: no such file; --workdir is no training run")
        config = from_dict(json.loads(file.read_text()))
    predict: Any = evaluator.empty
    if PREDICT.value == "ground_truth":
        predict = partial(evaluator.ground_truth, protocol=protocol)
    return Answerer(config, predict, None, {"name": PREDICT.value})


def _joined(argv: list[str]) -> list[str]:
    """`--compare A B` as the one argument that absl takes."""
    if "--compare" not in argv:
        return argv
    at = argv.index("--compare")
    sides = [a for a in argv[at + 1 : at + 3] if not a.startswith("--")]
    rest = argv[at + 1 + len(sides) :]
    return [*argv[:at], f"--compare={','.join(sides)}", *rest]


if __name__ == "__main__":
    sys.argv = _joined(sys.argv)
    app.run(main, takes_config=False)
