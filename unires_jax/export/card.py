"""The model card of an export: what it was trained on, what it reached, its limits."""

import json

from unires_jax import __version__
from unires_jax.data.records import LEVELS
from unires_jax.errors import CheckpointError
from unires_jax.files import Location
from unires_jax.inference import exported
from unires_jax.inference.loaded import Loaded
from unires_jax.models.backbones import towers_of

_LIMITS = """\
It answers any sentence, also about things it was never taught; a score is no
probability of being right. It learned the words and the look of its training data and
the biases in them. It was not tested for any use in which an error could hurt someone.
"""


def model_card(loaded: Loaded, needs: str) -> str:
    """Markdown, from what the checkpoint and an evaluation beside it say.

    `needs` are the packages that its run.py takes beside the usual ones.

    Raises CheckpointError for an evaluation/metrics.json that is none.
    """
    config, meta = loaded.config, loaded.meta
    size = config.model.image_size
    data = ", ".join(f"{name} ({v})" for name, v in meta.get("data", {}).items())
    head = loaded.no_target_trained
    title = towers_of(config.model).title
    start = config.clip and f"{title} weights {config.clip}"
    start = start or (config.init_from and "another run's weights") or "scratch"
    return f"""\
# {config.name}

UniRES: masks from sentences, for objects and their parts. Written by unires_jax
{__version__} from step {meta.get("step", loaded.folder.name)}, code revision
{meta.get("revision") or "unknown"}.

    python run.py picture.jpg "the red truck" "wheels of the red truck"

run.py needs no unires_jax: numpy, pillow, opencv-python-headless, tokenizers, \
{needs}.

- Trained on: {data or "not recorded"}, from {start}.
- Pictures are letterboxed to {size} x {size} pixels; a sentence has at most \
{config.model.text.context} tokens.
- The decision that nothing is meant was {"" if head else "not "}trained.

## Measured

{_metrics(loaded)}
## Limits

{_LIMITS}
## Licence

Code: Apache-2.0. The weights carry the terms of the data and of the weights they were
trained from, named above.
"""


def _metrics(loaded: Loaded) -> str:
    """What evaluate.py wrote in the run's folder, or what an export's card says."""
    for folder in (loaded.folder, *loaded.folder.parents[:2]):
        file = folder / "evaluation" / "metrics.json"
        if file.is_file():
            return _table(file)
    card = loaded.folder / "README.md"
    text = card.read_text(encoding="utf-8") if exported.is_export(loaded.folder) else ""
    _, heading, after = text.partition("## Measured\n\n")
    if heading:
        return after.partition("\n## Limits")[0]
    return "Nothing was measured: no evaluation lay in the run's folder.\n"


def _table(file: Location) -> str:
    lines = [
        "| split | protocol | level | mIoU | oIoU | expressions | of step |",
        "|---" * 7 + "|",
    ]
    try:
        for split, numbers in json.loads(file.read_text(encoding="utf-8")).items():
            about = numbers["about"]
            for level in (*LEVELS, "pooled"):
                row = numbers.get(level)
                if row and row["count"]:
                    lines.append(
                        f"| {split} | {about['protocol']} | {level} | "
                        f"{100 * row['mIoU']:.1f} | {100 * row['oIoU']:.1f} | "
                        f"{row['count']} | {about.get('step', 'unknown')} |"
                    )
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{file}: not as evaluate.py writes it ({type(error).__name__}: {error}); "
            "evaluate again, or move it away"
        ) from None
    return "\n".join(lines) + "\n"
