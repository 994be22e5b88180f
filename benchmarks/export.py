"""Latency of the exported graphs beside the live model, and the Predictor's cold start.

    python benchmarks/export.py             # about 4 minutes on 2 cores

B/16 at 352 px, float32, random weights: one picture encoded and 8 expressions of 16
tokens answered. Live is the jitted model as the Predictor calls it; StableHLO is
`jax.export`'s graph called through jax, ONNX runs in onnxruntime with as many threads.
They take turns in one run, and the figures are ratios to live. Cold start is a new
process from `import unires_jax` to the first mask, without and with the compiled
programs of a start before.
"""

import argparse
import functools
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from turns import medians, random_model

from unires_jax import process
from unires_jax.config import Config
from unires_jax.export import command as exporting
from unires_jax.inference.loaded import Loaded
from unires_jax.inference.steps import Compiled

COUNT, LENGTH, REPEATS = 8, 16, 9
COLD = """
import sys, time
start = time.perf_counter()
import unires_jax
from unires_jax.serving.command_line import keep_compiled
keep_compiled(sys.argv[2])
import numpy as np
model = unires_jax.load(sys.argv[1])
model.segment(np.zeros((352, 352, 3), np.uint8), "the wheels of the truck")[0].mask
print(time.perf_counter() - start)
"""


def make_config(tiny: bool) -> Config:
    """B/16, or a small model."""
    config = Config(name="benchmark")
    config.model.image_size = 64 if tiny else 352
    if tiny:
        config.model.vision.depth = config.model.text.depth = 2
    return config


def calls(loaded: Loaded, folder: Path) -> dict[str, Callable[[], Any]]:
    """encode_image and segment, one after the other, of each form."""
    size, rng = loaded.config.model.image_size, np.random.default_rng(0)
    images = rng.integers(0, 256, (1, size, size, 3), dtype=np.uint8)
    extent = np.array([[size, size]], np.int32)
    tokens = rng.integers(0, 1000, (COUNT, LENGTH), dtype=np.int32)
    lengths, index = np.full(COUNT, LENGTH, np.int32), np.zeros(COUNT, np.int32)
    model = Compiled(loaded.config, jax.local_devices()[:1]).bind(loaded.params)

    def live() -> Any:
        features = model.encode_image(images, extent)
        words = model.encode_text(tokens, lengths)
        return jax.block_until_ready(model.decode(features, words, lengths, index))

    def exported(encode: Any, segment: Any) -> Any:
        features = encode(images, extent)
        return jax.block_until_ready(segment(tokens, lengths, index, *features))

    return {
        "live": live,
        "StableHLO": functools.partial(exported, *stablehlo(folder)),
        "ONNX": functools.partial(exported, *onnx(folder)),
    }


def stablehlo(folder: Path) -> list[Any]:
    """Both graphs of the stablehlo export."""
    return [
        jax.jit(jax.export.deserialize((folder / "stablehlo" / f).read_bytes()).call)
        for f in ("encode_image.stablehlo", "segment.stablehlo")
    ]


def onnx(folder: Path) -> list[Any]:
    """Both graphs of the onnx export, in onnxruntime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = len(os.sched_getaffinity(0))

    def load(file: Path) -> Any:
        session = onnxruntime.InferenceSession(
            file, options, providers=["CPUExecutionProvider"]
        )
        names = [x.name for x in session.get_inputs()]
        return lambda *args: session.run(None, dict(zip(names, args, strict=True)))

    return [load(folder / "onnx" / f"{n}.onnx") for n in ("encode_image", "segment")]


def cold_starts(folder: Path) -> list[float]:
    """Seconds to the first mask: no cache, filling it, with it."""
    seconds = []
    for cache in ("", str(folder / "cache"), str(folder / "cache")):
        command = [sys.executable, "-c", COLD, str(folder / "safetensors"), cache]
        run = subprocess.run(command, capture_output=True, text=True, check=True)
        seconds.append(float(run.stdout.split()[-1]))
    return seconds


def main() -> None:
    """Export, time, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tiny", action="store_true", help="a small model, as a check")
    args = parser.parse_args()
    process.start()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        loaded = random_model(make_config(args.tiny))
        exporting.load = lambda *_, **__: loaded  # type: ignore[assignment]
        for kind in ("safetensors", "stablehlo", "onnx"):
            exporting.export("", kind, folder / kind)
        forms = calls(loaded, folder)
        outputs = {form: call() for form, call in forms.items()}
        seconds = medians(forms, REPEATS)
        for form, median in seconds.items():
            apart = np.abs(np.asarray(outputs[form][0]) - outputs["live"][0]).max()
            ratio = median / seconds["live"]
            print(
                f"{form}: {median:.3f} s, {ratio:.2f} of live (target <= 1.1), logits "
                f"within {apart:.1e}",
                flush=True,
            )
        without, _, kept = cold_starts(folder)
        print(f"cold start: {without:.1f} s without, {kept:.1f} s with the cache")


if __name__ == "__main__":
    main()
