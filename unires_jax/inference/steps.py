"""UniRES' three steps, compiled for any parameters: training, evaluation, exports."""

import functools
import logging
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from unires_jax import hosts
from unires_jax.config import Config, MeshConfig
from unires_jax.mesh import batch_sharding, make_mesh, replicated
from unires_jax.models.unires import Apply

log = logging.getLogger(__name__)


class Compiled:
    """UniRES' three steps, jitted once for any parameters, on this process's devices.

    Images and expressions are split over all of them if `config.eval` divides evenly,
    else the first does the work; or over `devices`. No step waits for another process.
    """

    def __init__(self, config: Config, devices: Sequence[Any] = ()):
        sizes = (config.eval.batch, config.eval.expressions)
        if not devices:
            devices = jax.local_devices()
            if any(size % len(devices) for size in sizes):
                if hosts.is_main():
                    log.warning(
                        "evaluation runs on one of %d devices, whose number must "
                        "divide eval.batch=%d and eval.expressions=%d",
                        *(len(devices), *sizes),
                    )
                devices = devices[:1]
        self.mesh = make_mesh(MeshConfig(), list(devices))
        apply = Apply(config.model)
        self.encode_image = jax.jit(apply.encode_image)
        self.encode_text = jax.jit(apply.encode_text)
        self.decode = jax.jit(apply.decode)

    def bind(self, params: dict[str, Any]) -> "BoundSegmenter":
        """The steps with parameters copied to this process's devices.

        With several processes all must call it: sharded parameters are gathered.
        """
        whole = hosts.gather_arrays(params)
        return BoundSegmenter(self, jax.device_put(whole, replicated(self.mesh)))


class BoundSegmenter:
    """An `answer.Segmenter`, which says what the steps take and give."""

    def __init__(self, steps: Compiled, params: dict[str, Any]):
        self._steps, self._params = steps, params
        self._sharding = batch_sharding(steps.mesh)
        self.encode_image = functools.partial(self._call, steps.encode_image)
        self.encode_text = functools.partial(self._call, steps.encode_text)
        self.decode = functools.partial(self._call, steps.decode)

    def _call(self, step: Any, *args: Any) -> Any:
        # The mesh is set here because each calling thread has a setting of its own.
        with jax.set_mesh(self._steps.mesh):
            inputs = [
                jax.device_put(x, self._sharding) if isinstance(x, np.ndarray) else x
                for x in args
            ]
            return step(self._params, *inputs)
