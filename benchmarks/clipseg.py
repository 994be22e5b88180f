"""Answering 8 expressions on a picture, beside CLIPSeg (Hugging Face, PyTorch).

    python benchmarks/clipseg.py            # about 5 minutes on 2 cores

Both are ViT-B/16 at 352 px in float32 with random weights, on one thread and on all, in
one run. CLIPSeg is timed as its documentation uses it (the picture once for each
prompt), and with its image tower run once by hand. Ours is timed as users call it: from
pixels and sentences to masks at the picture's own size, no-target decisions and scores.
Text tokens and CLIPSeg's preprocessing are not counted against CLIPSeg.
"""

import argparse
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

SIZE, COUNT, REPEATS = 352, 8, 7
SENTENCES = ["a truck", "its wheels", "the left window of the house", "a red car"] * 2


def ours() -> dict[str, Callable[[], Any]]:
    """`segment` of 8 expressions and of one, the picture looked at anew each time."""
    from turns import random_model

    from unires_jax import process
    from unires_jax.config import Config
    from unires_jax.serving.predictor import Predictor

    process.start()
    config = Config()
    config.model.image_size = SIZE
    model = Predictor(random_model(config))
    picture = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)

    def ask(count: int) -> Any:
        segments = model.segment(picture, SENTENCES[:count])
        return [(s.mask, s.score, s.no_target) for s in segments]

    return {"ours, 8": lambda: ask(COUNT), "ours, 1": lambda: ask(1)}


def clipseg(threads: int) -> dict[str, Callable[[], Any]]:
    """CLIPSeg's forward pass: documented, with one image pass, and one prompt."""
    import torch
    from transformers import CLIPSegConfig, CLIPSegForImageSegmentation

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    config = CLIPSegConfig()
    config.vision_config.patch_size, config.vision_config.image_size = 16, SIZE
    model = CLIPSegForImageSegmentation(config).eval()
    pixels = torch.randn(1, 3, SIZE, SIZE)
    tokens = torch.randint(1, 49000, (COUNT, 16))
    tokens[:, -1] = 49407

    @torch.no_grad()
    def documented(count: int) -> Any:
        repeated = pixels.repeat(count, 1, 1, 1)
        return model(input_ids=tokens[:count], pixel_values=repeated).logits.numpy()

    @torch.no_grad()
    def once(count: int) -> Any:
        vision = model.clip.vision_model(
            pixels, output_hidden_states=True, interpolate_pos_encoding=True
        )
        layers = [vision.hidden_states[i + 1] for i in model.extract_layers]
        words = model.clip.get_text_features(tokens[:count])
        words = getattr(words, "pooler_output", words)
        layers = [x.repeat(count, 1, 1) for x in layers]
        return model.decoder(layers, words).logits.numpy()

    apart = np.abs(documented(COUNT) - once(COUNT)).max()
    assert apart < 1e-3, f"CLIPSeg by hand differs from CLIPSeg by {apart}"
    return {
        "CLIPSeg, 8, documented": lambda: documented(COUNT),
        "CLIPSeg, 8, image tower once": lambda: once(COUNT),
        "CLIPSeg, 1": lambda: documented(1),
    }


def measure(threads: int) -> None:
    """Print the ratios on this many threads (set by the caller's affinity)."""
    from turns import medians

    seconds = medians(ours() | clipseg(threads), REPEATS)
    print(f"{threads} thread{'s' * (threads > 1)}")
    for name, median in seconds.items():
        print(f"  {name}: {median:.3f} s")
    for name, first, second, target in [
        (
            "8, against CLIPSeg as documented",
            "CLIPSeg, 8, documented",
            "ours, 8",
            ">= 11",
        ),
        (
            "8, against one image pass",
            "CLIPSeg, 8, image tower once",
            "ours, 8",
            ">= 1.8",
        ),
        ("1, against CLIPSeg", "CLIPSeg, 1", "ours, 1", ">= 1.8"),
        ("8 against 1", "ours, 8", "ours, 1", "<= 1.3"),
    ]:
        ratio = seconds[first] / seconds[second]
        print(f"  {name}: {ratio:.2f} times (target {target})", flush=True)


def processor() -> str:
    """The processor's name."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [x.partition(":")[2].strip() for x in lines if x.startswith("model name")]
    return names[0] if names else platform.processor()


def main() -> None:
    """Measure on one core, then on all, each in a process of its own."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, help="measure on so many alone")
    args = parser.parse_args()
    if args.threads:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: args.threads])
        measure(args.threads)
        return
    print(processor(), flush=True)
    for threads in sorted({1, len(os.sched_getaffinity(0))}):
        command = [sys.executable, __file__, f"--threads={threads}"]
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
