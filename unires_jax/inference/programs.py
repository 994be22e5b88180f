"""The model on one device: its steps, compiled once for each size of their inputs."""

import threading
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import SingleDeviceSharding
from jaxtyping import Int32, UInt8

from unires_jax import parameters
from unires_jax.config import ModelConfig
from unires_jax.inference import traces
from unires_jax.models.features import ImageFeatures


class Programs:
    """An `answer.Segmenter`, which says what the steps take and give.

    Threads may share it: those that ask for a size while it is compiled wait for that.
    """

    def __init__(
        self, config: ModelConfig, params: dict[str, Any], device: Any
    ) -> None:
        """Of a tree of parameters, which is copied to the device."""
        self._config, self._device = config, device
        self._params = jax.device_put(parameters.flatten(params), device)
        self._programs: dict[Any, Callable[..., Any]] = {}
        self._locks: dict[Any, threading.Lock] = {}

    def encode_image(
        self, images: UInt8[np.ndarray, "b s s 3"], extent: Int32[np.ndarray, "b 2"]
    ) -> ImageFeatures:
        """Features of letterboxed pictures."""
        return ImageFeatures(*self._run("encode_image", images, extent))

    def encode_text(
        self, tokens: Int32[np.ndarray, "e l"], lengths: Int32[np.ndarray, "e"]
    ) -> Any:
        """Words."""
        return self._run("encode_text", tokens, lengths)

    def decode(
        self,
        features: ImageFeatures,
        words: Any,
        lengths: Int32[np.ndarray, "e"],
        image_index: Int32[np.ndarray, "e"],
    ) -> tuple[Any, Any]:
        """Mask logits [e, g, g] and no-target logits [e]."""
        logits, no_target = self._run(
            "decode", tuple(features), words, lengths, image_index
        )
        return logits, no_target

    def _run(self, name: str, *inputs: Any) -> Any:
        on_device = jax.device_put(inputs, self._device)
        key = name, tuple((x.shape, str(x.dtype)) for x in jax.tree.leaves(on_device))
        program = self._programs.get(key)
        if program is None:
            with self._locks.setdefault(key, threading.Lock()):
                program = self._programs.get(key) or self._compiled(name, on_device)
                self._programs[key] = program
        return program(self._params, *on_device)

    def _compiled(self, name: str, inputs: tuple[Any, ...]) -> Callable[..., Any]:
        place = SingleDeviceSharding(self._device)
        shapes = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place),
            (self._params, *inputs),
        )
        step = traces.step(self._config, name, self._params, inputs, self._device)
        return jax.jit(step).lower(*shapes).compile()
