"""The model card of an export: what it was trained on, what it reached, its limits."""

import contextlib
import json
from collections.abc import Iterator
from typing import Any

from unires_jax import __version__, documents
from unires_jax.config import training_model
from unires_jax.data.records import LEVELS
from unires_jax.errors import CheckpointError
from unires_jax.files import Location
from unires_jax.inference import exported
from unires_jax.inference.loaded import Loaded
from unires_jax.models.backbones import towers_of

_LIMITS = """\
It answers any sentence, also about things it was never taught. It learned the words and
the look of its training data and the biases in them. It was not tested for any use in
which an error could hurt someone.
"""

_UNCALIBRATED = """\
It was not calibrated: a score is no probability of being right, and nothing tells that
a picture is unlike those of the training. `unires calibrate` measures both.
"""


def model_card(loaded: Loaded, needs: str) -> str:
    """Markdown, from what the checkpoint and an evaluation beside it say.

    It begins with what the Hub reads, as YAML. `needs` are the packages that its run.py
    takes beside the usual ones.

    Raises CheckpointError for an evaluation/metrics.json that is none.
    """
    config, meta = loaded.config, loaded.meta
    size, trained = config.model.image_size, training_model(config.model).image_size
    smaller = f", in training to {trained} x {trained}" if trained != size else ""
    data = ", ".join(f"{name} ({v})" for name, v in meta.get("data", {}).items())
    head = loaded.no_target_trained
    title = towers_of(config.model).title
    start = config.clip and f"{title} weights {config.clip}"
    start = start or (config.init_from and "another run's weights") or "scratch"
    return f"""\
{_front_matter(loaded)}
# {config.name}

UniRES: masks from sentences, for objects and their parts. Written by unires_jax
{__version__} from step {meta.get("step", loaded.folder.name)}, code revision
{meta.get("revision") or "unknown"}.

    python run.py picture.jpg "the red truck" "wheels of the red truck"

run.py needs no unires_jax: numpy, pillow, opencv-python-headless, tokenizers, \
{needs}.

- Trained on: {loaded.trained_on or "not recorded"}, from {start}.
- Splits, and what they held: {data or "not recorded"}.
- Pictures are letterboxed to {size} x {size} pixels{smaller}; a sentence has at \
most {config.model.text.context} tokens.
- The decision that nothing is meant was {"" if head else "not "}trained.

## Measured

{_metrics(loaded)}
## When to believe it

{_worth(loaded)}
## Limits

{_LIMITS}
## Licence

Code: Apache-2.0. The weights carry the terms of the data and of the weights they were
trained from, named above.
"""


def _front_matter(loaded: Loaded) -> str:
    """The Hub's fields between two lines of dashes; JSON is YAML."""
    fields: dict[str, Any] = {
        "library_name": "unires_jax",
        "pipeline_tag": "image-segmentation",
        "license": "other",  # the data's and the weights', named below
        "license_name": "see-the-card",
        "tags": ["referring-expression-segmentation", "jax", "flax"],
        "datasets": sorted({n.partition(":")[0] for n in loaded.meta.get("data", {})}),
    }
    if file := _evaluation(loaded):
        results = _results(file)
        fields["model-index"] = [{"name": loaded.config.name, "results": results}]
    lines = [f"{name}: {json.dumps(value)}" for name, value in fields.items()]
    return "\n".join(["---", *lines, "---"])


def _results(file: Location) -> list[dict[str, Any]]:
    """The Hub's model-index: a row for each split, its protocol in every name."""
    rows = []
    with _as_written(file):
        for split, numbers in documents.read_object(file).items():
            protocol = numbers["about"]["protocol"]
            measured = {
                f"{level} mIoU": row["mIoU"]
                for level in (*LEVELS, "pooled")
                if (row := numbers.get(level)) and row["count"]
            } | _decided(numbers)
            metrics = [
                {
                    "type": name.split()[-1].lower(),
                    "name": f"{name} ({protocol})",
                    "value": round(100 * value, 1),
                }
                for name, value in measured.items()
            ]
            rows.append(
                {
                    "task": {"type": "image-segmentation"},
                    "dataset": {"name": split, "type": split.partition(":")[0]},
                    "metrics": metrics,
                }
            )
    return rows


def _decided(numbers: dict[str, Any]) -> dict[str, float]:
    """How often it is right that nothing is meant, and that something is."""
    row = numbers.get("no_target")
    if not isinstance(row, dict):  # a word for why it was not decided
        return {}
    return {n: row[n] for n in ("N-acc", "T-acc") if isinstance(row.get(n), float)}


def _evaluation(loaded: Loaded) -> Location | None:
    """What evaluate.py wrote in the run's folder, of answers at this side."""
    name = "evaluation" + (f"_{loaded.other_side}" if loaded.other_side else "")
    for folder in (loaded.folder, *loaded.folder.parents[:2]):
        file = folder / name / "metrics.json"
        if file.is_file():
            return file
    return None


def _metrics(loaded: Loaded) -> str:
    """What evaluate.py measured, or what an export's card says."""
    if file := _evaluation(loaded):
        return _table(file)
    card, text = loaded.folder / "README.md", ""
    if exported.is_export(loaded.folder) and not loaded.other_side:
        text = card.read_text(encoding="utf-8")
    _, heading, after = text.partition("## Measured\n\n")
    if heading:
        return after.partition("\n## ")[0]
    return "Nothing was measured: no evaluation lay in the run's folder.\n"


def _worth(loaded: Loaded) -> str:
    """What its numbers mean, and what was measured of them."""
    if (worth := loaded.calibration) is None:
        return _UNCALIBRATED
    lines = ["| data | pictures | unlike | score | before | nothing | before |"]
    lines.append("|---" * 7 + "|")
    for name, row in worth.checks.items():
        errors = [row.get("error", {}).get(x) for x in ("score", "nothing")]
        cells = [f"{100 * e[x]:.1f}" if e else "-" for e in errors for x in _BOTH]
        unlike = f"{100 * row['unlike']:.1f}"
        lines.append(f"| {name} | {row['pictures']} | {unlike} | {' | '.join(cells)} |")
    aurocs = [
        f"\nPictures of the first row against {name}: AUROC {row['auroc']:.4f}.\n"
        for name, row in worth.checks.items()
        if "auroc" in row
    ]
    return f"""\
A score is the probability that the mask is right: that it has an IoU of at least one
half with what is meant. It was fitted on {", ".join(worth.fitted_on)} and holds for \
pictures like those; of others, which it tells by the model's own features, scores mean
nothing. In percent: pictures told to be unlike (of the first row each was compared with
the others), and the expected calibration errors (15 bins of equal mass) of the score
and of the probability that nothing is meant:

{chr(10).join(lines)}
{"".join(aurocs)}"""


_BOTH = ("after", "before")  # of an error: calibrated, and as the model gives it


def _table(file: Location) -> str:
    lines = [
        "| split | protocol | level | mIoU | bIoU | oIoU | expressions | of step |",
        "|---" * 8 + "|",
    ]
    decisions = ""
    with _as_written(file):
        for split, numbers in documents.read_object(file).items():
            about = numbers["about"]
            for level in (*LEVELS, "pooled"):
                row = numbers.get(level)
                if row and row["count"]:
                    edges = row.get("boundary_mIoU")  # of `native` alone
                    lines.append(
                        f"| {split} | {about['protocol']} | {level} | "
                        f"{100 * row['mIoU']:.1f} | "
                        f"{'-' if edges is None else f'{100 * edges:.1f}'} | "
                        f"{100 * row['oIoU']:.1f} | "
                        f"{row['count']} | {about.get('step', 'unknown')} |"
                    )
            if decided := _decided(numbers):
                words = ", ".join(f"{n} {100 * x:.1f}" for n, x in decided.items())
                decisions += f"- {split}: {words}\n"
    if decisions:
        decisions = (
            "\nOf sentences that mean nothing in the picture, N-acc are told so; of "
            f"the others, T-acc are answered:\n\n{decisions}"
        )
    return "\n".join(lines) + "\n" + decisions


@contextlib.contextmanager
def _as_written(file: Location) -> Iterator[None]:
    """Raise CheckpointError where metrics.json is not evaluate.py's."""
    try:
        yield
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        TypeError,
        ValueError,
    ) as error:
        raise CheckpointError(
            f"{file}: not as evaluate.py writes it ({type(error).__name__}: {error}); "
            "evaluate again, or move it away"
        ) from None
