"""A tiny model with weights drawn at random, as a checkpoint would give it.

Also the page's server around it, on a free port of this machine.
"""

import contextlib
import dataclasses
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from unires_jax.config import Config, DataConfig, ModelConfig, TextConfig, VisionConfig
from unires_jax.data.tokenizer import train_bpe
from unires_jax.inference.answer import Segmenter
from unires_jax.inference.loaded import Loaded
from unires_jax.inference.segment import Segment
from unires_jax.models.unires import Apply
from unires_jax.serving.page import command as demo
from unires_jax.serving.page.desk import Desk
from unires_jax.serving.predictor import EncodedImage, ImageLike, Predictor

WORDS = ["the red car on the left", "wheels of the truck", "big dog head", "a house"]


def tiny_config() -> Config:
    """All parts of the model, each as small as can be."""
    return Config(
        name="tiny",
        model=ModelConfig(
            image_size=32,
            vision=VisionConfig(patch=8, width=16, depth=2, heads=2, mlp=16),
            text=TextConfig(vocab=600, context=16, width=16, depth=1, heads=2, mlp=16),
            width=16,
            heads=2,
            stage_layers=1,
            low_groups=3,
            high_groups=2,
            mask_channels=4,
            stem_channels=4,
        ),
        data=DataConfig(lengths=(8, 16)),
    )


def make_loaded(
    folder: Path, config: Config, seed: int = 0, scale: float = 0.5
) -> Loaded:
    """What `model.load` would give; random weights, so that masks are not empty."""
    rng = np.random.default_rng(seed)
    params = jax.tree.map(
        lambda x: rng.normal(0, scale, x.shape).astype(np.float32),
        Apply(config.model).abstract,
    )
    tokenizer = train_bpe(WORDS, folder / "tokenizer.json", 600)
    meta = {
        "config": {},
        "revision": "none",
        "versions": {},
        "data": {},
        "no_target_trained": True,
    }
    return Loaded(folder, config, tokenizer, params, meta)


class Counting(Predictor):
    """The Predictor, and how often it looked at a picture and ran the decoder."""

    looked = decoded = 0

    def __init__(self, loaded: Loaded):
        super().__init__(loaded)
        steps = CountedSteps(self, self.answerer.segmenter)
        self.answerer = dataclasses.replace(self.answerer, segmenter=steps)

    def encode_image(self, image: ImageLike) -> EncodedImage:
        self.looked += 1
        return super().encode_image(image)


class CountedSteps:
    """The model's steps; the decoder's calls are counted."""

    def __init__(self, counter: Counting, steps: Segmenter):
        self._counter, self._steps = counter, steps
        self.encode_image, self.encode_text = steps.encode_image, steps.encode_text

    def decode(self, *args: Any) -> tuple[Any, Any]:
        self._counter.decoded += 1
        return self._steps.decode(*args)


class Slow(Predictor):
    """The Predictor, which answers once it may."""

    def __init__(self, loaded: Loaded):
        super().__init__(loaded)
        self.may = threading.Event()

    def segment(self, *args: Any) -> list[Segment]:
        assert self.may.wait(60)
        return super().segment(*args)


@contextlib.contextmanager
def page_of(desk: Desk) -> Iterator[tuple[str, Path]]:
    """The page's address and its folder, while its server runs."""
    from unires_jax.serving.page.server import make_server

    listener = demo.listen("127.0.0.1", 0)
    with tempfile.TemporaryDirectory() as name, demo.writing_to(Path(name)):
        server = make_server(desk, Path(name))
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        while not server.started and thread.is_alive():
            time.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}", Path(name)
        finally:
            server.should_exit = True
            thread.join()
