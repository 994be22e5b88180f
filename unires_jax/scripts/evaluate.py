"""Score referring segmentation by the protocol of your choice.

A trained UniRES:

    python evaluate.py --workdir=runs/quickstart        # or: unires evaluate
    python evaluate.py --workdir=runs/full --protocol=lavt --splits=refcoco_m:val
    python evaluate.py --checkpoint=exported --splits=refcoco_m:val --out=scores

Any model's masks, from a file (a line per expression: its key, and its mask as COCO RLE
or PNG; missing expressions count as empty):

    python evaluate.py --predictions=preds.jsonl --splits=refcoco/refcoco_unc:val

Another model, asked the same (its weights are read from a folder or the hub; needs
`pip install 'unires_jax[engine,train]'`, but for `predictor`):

    python evaluate.py --baseline=florence2:florence-community/Florence-2-base \
        --splits=refcoco/refcoco_unc:val

Two evaluations, or two such files, side by side, with a 95 % interval of the difference
and a page of the expressions where they differ most:

    python evaluate.py --compare runs/one/evaluation runs/two/evaluation

Checks that need no model: masks of the ground truth must score 100.0, empty ones 0.0
(where every expression has a target). The floor that a model must beat is the mean mask
of the same sentence in training, whatever the picture:

    python evaluate.py --predict=ground_truth --splits=partworld:val
    python evaluate.py --predict=mean_mask --splits=partworld:val

Protocols (numbers of different ones are not comparable; every table names its own):

    native    original size, every sentence, logit > 0           mIoU, bIoU, oIoU, P@
    cris      original size, probability > .35, ties fail              IoU, Pr@
    lavt      480 x 480, overlapping polygons are background           mIoU, oIoU, P@
    rela      480 x 480, no-target expressions are scored              gIoU, cIoU, Pr@
    xdecoder  original size, first sentence of an annotation, float32  mIoU, cIoU, P@
    mmdet     original size, first sentence of an annotation           mIoU, cIoU
    lisa      original size, empty union scores 1                      gIoU, cIoU

bIoU is the mean Boundary IoU: that of the bands along both masks' edges, .02 of the
picture's diagonal deep. An expression without a target counts in N-acc and T-acc alone
(native), by the model's decision (rela), or as any other does (the rest); the table
says how many there are.

Writes predictions.jsonl, metrics.json and report.html (--compare: comparison.json and
comparison.html), and prints a table.
"""

import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from absl import flags

from unires_jax import app, documents
from unires_jax.config import Config
from unires_jax.errors import ConfigError, DataError
from unires_jax.evaluation.protocols import PROTOCOLS, Protocol, get
from unires_jax.files import Location, locate

SENTENCES = 32  # a baseline is asked at once; halved where memory ends
WORKDIR = flags.DEFINE_string("workdir", "", "folder of a training run")
CHECKPOINT = flags.DEFINE_string(
    "checkpoint",
    "best",
    "best or last of the workdir; or a step, an export, bundled, a hub id",
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
BASELINE = flags.DEFINE_string(
    "baseline",
    "",
    "score another model: <name>:<folder or hub id>; a wrong name lists those there "
    "are. predictor:<run> is a model of ours, by its masks alone",
)
DEVICE = flags.DEFINE_string(
    "device", "auto", "of a baseline: cpu, cuda:1; auto: the first accelerator, or cpu"
)
DTYPE = flags.DEFINE_enum(
    "dtype",
    "auto",
    ["auto", "float32", "bfloat16"],
    "of a baseline's weights; auto: bfloat16 on an accelerator",
)
COMPARE = flags.DEFINE_multi_string(
    "compare", [], "A B: two evaluation folders or predictions files"
)
SPLITS = flags.DEFINE_list(
    "splits", [], "<data set>:<split>, several with commas; default: config.eval.splits"
)
DATA_DIR = flags.DEFINE_string("data_dir", "", "folder of prepared data sets")
OUT = flags.DEFINE_string(
    "out",
    "",
    "where to write; default: <workdir>/evaluation (<workdir>/evaluation_<protocol> of "
    "another than native; both with _<side> of an --image_size), "
    "baselines/<name>_<model>/evaluation, "
    "<predictions>_<protocol> beside that file, or comparison",
)
OVERWRITE = flags.DEFINE_bool(
    "overwrite", False, "write where the evaluation of something else lies"
)
PREDICT = flags.DEFINE_enum(
    "predict",
    "model",
    ["model", "ground_truth", "empty", "mean_mask"],
    "whose masks are scored; ground_truth must print 100.0, empty 0.0; mean_mask is "
    "the floor: the mean mask of the same sentence in the data set's train split",
)
IMAGES = flags.DEFINE_integer(
    "images", None, "only the first pictures of each split", lower_bound=1
)
IMAGE_SIZE = flags.DEFINE_integer(
    "image_size",
    None,
    "side of the pictures a model of ours answers at, pixels, a multiple of its patch; "
    "default: its own",
    lower_bound=1,
)
DERANGE = flags.DEFINE_bool(
    "derange", False, "reading check: score again with each picture's sentences swapped"
)


def main() -> None:
    """Score a model, a file, or two files against each other."""
    protocol = get(PROTOCOL.value or "native")
    if DERANGE.value and (protocol.name != "native" or COMPARE.present):
        raise ConfigError("--derange is a check of the native protocol, of one model")
    if IMAGE_SIZE.present and not _asks_a_model():
        raise ConfigError("--image_size is a model's of ours, asked by this command")
    if BASELINE.value:
        _baseline(protocol)
    elif DEVICE.present or DTYPE.present:
        raise ConfigError("--device and --dtype are a --baseline's")
    elif COMPARE.present:
        _compare()
    elif PREDICTIONS.value:
        _file(protocol)
    else:
        _subject(protocol)


def _asks_a_model() -> bool:
    """Whether one of ours answers."""
    others = BASELINE.value or PREDICTIONS.value or COMPARE.present
    return PREDICT.value == "model" and not others


def _subject(protocol: Protocol) -> None:
    """A model, or a check without one."""
    app.join_cluster()
    from unires_jax.evaluation import command

    if PREDICT.value == "mean_mask":
        splits = _splits(SPLITS.value, Config())
        trained = sorted({f"{name.rpartition(':')[0]}:train" for name in splits})
        subject = command.mean_mask(_splits(trained, Config()))
        _run(subject, splits, locate("baselines") / "mean_mask", protocol)
        return
    if PREDICT.value == "model":
        path, pick = _checkpoint()
        subject = command.trained_model(path, pick, protocol, IMAGE_SIZE.value or 0)
    else:
        name: Any = PREDICT.value
        subject = command.without_model(name, WORKDIR.value, protocol)
    splits = _splits(SPLITS.value or subject.config.eval.splits, subject.config)
    _run(subject, splits, locate(WORKDIR.value), protocol)


def _baseline(protocol: Protocol) -> None:
    """Another model behind the grounder's role of the data engine."""
    # Torch shares the accelerator with jax, which would take three quarters of it.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    _require_alone()
    app.join_cluster()
    from unires_jax.engine import backends
    from unires_jax.engine.halving import halving
    from unires_jax.evaluation import command

    splits = _splits(SPLITS.value, Config())
    spec = BASELINE.value
    model = backends.load(spec, "grounder", DEVICE.value, DTYPE.value)

    def ground(image: Any, sentences: Sequence[str]) -> list[Any]:
        return halving(partial(model.ground, image), sentences, SENTENCES)

    about = {"name": spec, "checkpoint": model.fingerprint, "licence": model.licence}
    name, _, place = spec.partition(":")
    folder = "_".join(filter(None, [name, Path(place).name]))
    subject = command.other_model(ground, about)
    _run(subject, splits, locate("baselines") / folder, protocol)


def _require_alone() -> None:
    """Raise ConfigError where --baseline is not the one thing that is scored."""
    others = (WORKDIR, CHECKPOINT, PREDICT, PREDICTIONS, COMPARE)
    if given := [f"--{flag.name}" for flag in others if flag.present]:
        raise ConfigError(f"--baseline names the model; leave out {', '.join(given)}")


def _run(
    subject: Any, splits: dict[str, Any], folder: Location, protocol: Protocol
) -> None:
    """Score a subject; `folder` is where the default of --out lies."""
    from unires_jax.evaluation import command

    command.run(
        subject,
        splits,
        OUT.value or folder / _folder(protocol),
        protocol=protocol,
        images=IMAGES.value,
        derange=DERANGE.value,
        overwrite=OVERWRITE.value,
    )


def _folder(protocol: Protocol) -> str:
    """What its folder in a workdir is called."""
    name = "" if protocol.name == "native" else f"_{protocol.name}"
    side = f"_{IMAGE_SIZE.value}" if IMAGE_SIZE.present else ""
    return f"evaluation{name}{side}"


def _checkpoint() -> tuple[str, Any]:
    """Its path, and which of a workdir's."""
    if CHECKPOINT.value not in ("best", "last"):
        return CHECKPOINT.value, "best"
    if WORKDIR.value:
        return WORKDIR.value, CHECKPOINT.value
    raise ConfigError(
        "--workdir=<folder of a run>, --checkpoint=<path> or --predictions=<file> is "
        "missing"
    )


def _splits(names: Any, config: Config) -> dict[str, Any]:
    from unires_jax.data.prepared import open_split, rejoined

    data_dir, cache = DATA_DIR.value or config.data.dir, config.data.cache
    if not (specs := rejoined(names)):
        raise ConfigError("no split is named; give --splits=<data set>:<split>")
    return {name: open_split(name, data_dir, cache) for name in specs}


def _file(protocol: Protocol) -> None:
    """Any model's masks."""
    from unires_jax.evaluation import command, predictions

    if not SPLITS.value:
        raise ConfigError(
            "--splits=<data set>:<split> is missing: what the file answers"
        )
    file = predictions.read(PREDICTIONS.value)
    out = OUT.value or file.path.with_name(f"{file.path.stem}_{protocol.name}")
    command.run_file(
        _splits(SPLITS.value, Config()),
        file,
        out,
        protocol=protocol,
        images=IMAGES.value,
        derange=DERANGE.value,
        overwrite=OVERWRITE.value,
    )


def _compare() -> None:
    """Two files or folders."""
    from unires_jax.evaluation import compare, predictions
    from unires_jax.evaluation.report import comparison_page

    sides = _pair(COMPARE.value)
    if len(sides) != 2:
        raise ConfigError("--compare takes two folders or files: --compare A B")
    files = [predictions.read(path) for path in sides]
    protocol = compare.protocol_of(files, PROTOCOL.value)
    splits = _splits(SPLITS.value or _evaluated(files[0].path), Config())
    a, b = (compare.load(x, splits, protocol, IMAGES.value) for x in files)
    compared = {n: compare.compare(split, a[n], b[n]) for n, split in splits.items()}
    about = {"protocol": f"protocol {protocol.name}"}
    if any(compare.binary_input(x, protocol) for x in files):
        about["input"] = "binary input"
    names = (sides[0], sides[1])
    out = OUT.value or "comparison"
    comparison_page.write(compared, names, out, about, OVERWRITE.value)


def _evaluated(file: Location) -> list[str]:
    """The splits that an evaluation's folder says it scored."""
    try:
        return list(documents.read_object(file.with_name("metrics.json")))
    except DataError:
        raise ConfigError(
            "--splits=<data set>:<split> is missing: no metrics.json beside "
            f"{file} tells what was scored"
        ) from None


def _joined(argv: list[str]) -> list[str]:
    """`--compare A B` as absl takes a flag that is repeated."""
    if "--compare" not in argv:
        return argv
    at = argv.index("--compare")
    paths = [a for a in argv[at + 1 : at + 3] if not a.startswith("--")]
    after = argv[at + 1 + len(paths) :]
    return [*argv[:at], *(f"--compare={path}" for path in paths or [""]), *after]


def _pair(values: list[str]) -> list[str]:
    """The two of `--compare A B` or `--compare=A,B`; folders may have commas too."""
    if len(values) != 1:
        return values
    words = values[0].split(",")
    pairs = [[",".join(words[:i]), ",".join(words[i:])] for i in range(1, len(words))]
    there = [pair for pair in pairs if all(locate(path).exists() for path in pair)]
    return (there or pairs or [values])[0]


def run() -> None:
    """Answer the command line."""
    sys.argv = _joined(sys.argv)
    app.run(main, takes_config=False)
