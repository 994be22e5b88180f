"""The Predictor watched: how often its model runs, and when it may answer."""

import dataclasses
import threading
from typing import Any

from unires_jax.inference.answer import Segmenter
from unires_jax.inference.loaded import Loaded
from unires_jax.inference.segment import Segment
from unires_jax.serving.predictor import EncodedImage, ImageLike, Predictor


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
    """The Predictor, which answers once it may; what the page opens with at once."""

    def __init__(self, loaded: Loaded):
        super().__init__(loaded)
        self.may, self._open = threading.Event(), False

    def segment(self, *args: Any) -> list[Segment]:
        assert not self._open or self.may.wait(60)
        self._open = True
        return super().segment(*args)
