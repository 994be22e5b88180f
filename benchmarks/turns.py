"""What benchmarks of the model share: random weights, and calls timed in turns."""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from unires_jax.config import Config
from unires_jax.data.tokenizer import train_bpe
from unires_jax.inference.loaded import Loaded
from unires_jax.models.unires import Apply


def random_model(config: Config) -> Loaded:
    """A model of random weights, as if loaded from a run; it knows 1024 tokens."""
    config.model.text.vocab = 1024
    params = jax.jit(Apply(config.model).init)(jax.random.key(0))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tokenizer = train_bpe(["a truck"], folder / "tokenizer.json", 1024)
    meta = {"no_target_trained": True}
    return Loaded(folder, config, tokenizer, jax.device_get(params), meta)


def medians(calls: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Median seconds of each call after one that compiles; turns spread the noise."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    for _ in range(repeats):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(each) for name, each in seconds.items()}
