"""The model card of an export: what it was trained on, what it reached, its limits."""

import json
from typing import Any

from unires_jax import __version__
from unires_jax.evaluation.segmenter import Loaded

_RUN = {
    "orbax": "jax, orbax-checkpoint",
    "safetensors": "jax, safetensors, ml_dtypes",
    "stablehlo": "jax",
    "onnx": "onnxruntime",
}
_LIMITS = """\
It answers any sentence, also about things it was never taught; a score is no
probability of being right. It learned the words and the look of its training data and
the biases in them. It was not tested for any use in which an error could hurt someone.
"""


def model_card(loaded: Loaded, kind: str) -> str:
    """Markdown, from what the checkpoint says of itself."""
    config, meta = loaded.config, loaded.meta
    size = config.model.image_size
    data = ", ".join(f"{name} ({v})" for name, v in meta.get("data", {}).items())
    start = config.clip and f"CLIP weights {config.clip}"
    start = start or (config.init_from and "another run's weights") or "scratch"
    head = meta.get("no_target_trained", False)
    return f"""\
# {config.name}

UniRES: masks from sentences, for objects and their parts. Written by unires_jax
{__version__} from step {meta.get("step", loaded.folder.name)}, code revision
{meta.get("revision") or "unknown"}.

    python run.py picture.jpg "the red truck" "wheels of the red truck"

run.py needs no unires_jax: numpy, pillow, opencv-python-headless, tokenizers, \
{_RUN[kind]}.

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
    for folder in (loaded.folder, *loaded.folder.parents[:2]):
        file = folder / "evaluation" / "metrics.json"
        if file.is_file():
            return _table(json.loads(file.read_text()))
    kept = loaded.folder / "README.md"  # an export of an export keeps its table
    if kept.is_file() and "## Measured\n" in kept.read_text():
        return (
            kept.read_text().split("## Measured\n")[1].split("## Limits")[0].strip("\n")
            + "\n"
        )
    return "Nothing was measured: no evaluation lay in the run's folder.\n"


def _table(found: dict[str, Any]) -> str:
    lines = [
        "| split | protocol | level | mIoU | oIoU | expressions |",
        "|---" * 6 + "|",
    ]
    for split, numbers in found.items():
        protocol = numbers["about"]["protocol"]
        for level in ("object", "part", "pooled"):
            row = numbers.get(level)
            if row and row["count"]:
                lines.append(
                    f"| {split} | {protocol} | {level} | {100 * row['mIoU']:.1f} | "
                    f"{100 * row['oIoU']:.1f} | {row['count']} |"
                )
    return "\n".join(lines) + "\n"
