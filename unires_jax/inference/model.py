"""A trained model, loaded, and its steps, compiled."""

import functools
import logging
import os
from collections.abc import Sequence
from typing import Any, Literal

import jax
import numpy as np

from unires_jax import hosts
from unires_jax.checkpoint import find_checkpoint, load_params, read_meta, saved_config
from unires_jax.config import Config, MeshConfig, preprocessing
from unires_jax.data.tokenizer import Tokenizer
from unires_jax.errors import ConfigError
from unires_jax.inference import calibration, exported, places
from unires_jax.inference.loaded import Loaded
from unires_jax.mesh import batch_sharding, make_mesh, replicated
from unires_jax.models.unires import Apply

log = logging.getLogger(__name__)


def load(
    path: str | os.PathLike[str],
    pick: Literal["best", "last"] = "best",
    weights: Literal["ema", "params"] = "ema",
) -> Loaded:
    """Read a workdir's best or last checkpoint, the folder of one step, or an export.

    `path` may also be "bundled", the model that comes with the package, or a hub id,
    `<owner>/<name>[@<revision>]`, of an export. `weights` are the averaged ones, where
    the run has them, or the raw ones. Raises CheckpointError if there is none, it is
    foreign, or its arrays do not fit the architecture it names; ConfigError for raw
    weights of an export of averaged ones.
    """
    path = places.find(path)
    if exported.is_export(path):
        export = exported.read(path)
        if weights == "params" and export.meta.get("weights") == "ema":
            raise ConfigError(f"{path} holds no raw weights; export the run again")
        return export
    folder = find_checkpoint(path, pick)
    meta = read_meta(folder)
    config = saved_config(meta, folder)
    params, _ = load_params(folder, weights, like=Apply(config.model).abstract)
    tokenizer = Tokenizer(meta["tokenizer"], preprocessing(config.model).text)
    worth = calibration.read(folder, config.model, params)
    return Loaded(folder, config, tokenizer, params, meta, worth)


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
