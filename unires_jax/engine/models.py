"""The models of one stage, once in a process: those of the next take their place."""

import functools
import multiprocessing
import os
import sys
import threading
from collections.abc import Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from unires_jax.engine import backends
from unires_jax.engine.roles import ModelError
from unires_jax.engine.settings import ModelSettings
from unires_jax.engine.stages import Stage
from unires_jax.prepare import workers

_loading = threading.Lock()  # Beam's workers are threads


def specs(stage: Stage, settings: ModelSettings) -> dict[str, str]:
    """The model of each role that the stage has and the settings fill."""
    named = {role: getattr(settings, role) for role in stage.roles}
    return {role: spec for role, spec in named.items() if spec}


def require_named(stages: Iterable[Stage], settings: ModelSettings) -> None:
    """Raise for a model that is none, of any stage, before the first one works.

    UsageError and ModelError as `backends.require_named`; no model is loaded.
    """
    for stage in stages:
        for role, spec in specs(stage, settings).items():
            backends.require_named(spec, role)


def load(stage: Stage, settings: ModelSettings) -> Mapping[str, Any]:
    """The stage's models by role, ready, with one thread on the CPU.

    Raises UsageError and ModelError as `backends.load`.
    """
    wanted = tuple(specs(stage, settings).items())
    with _loading:
        return _loaded(wanted, settings.device, settings.dtype)


def fingerprints(stage: Stage, settings: ModelSettings) -> dict[str, str]:
    """What names the files of each of the stage's models; none is loaded.

    Raises as `backends.fingerprint`.
    """
    wanted = specs(stage, settings)
    return {role: backends.fingerprint(spec, role) for role, spec in wanted.items()}


def require_loading(
    stage: Stage, settings: ModelSettings, *, apart: bool = False
) -> None:
    """Raise unless the stage's models load, as `load` does.

    They are loaded here, or `apart`, in a process that ends with its answer, so that
    workers find the memory free.
    """
    if not apart or not specs(stage, settings):
        load(stage, settings)
        return
    context = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(1, context) as pool:
            pool.submit(require_loading, stage, settings).result()
    except BrokenProcessPool:
        raise ModelError(
            f"the models of {stage.name} do not load: their process was killed (out "
            "of memory?)"
        ) from None


@functools.lru_cache(maxsize=1)
def _loaded(
    wanted: tuple[tuple[str, str], ...], device: str, dtype: str
) -> dict[str, Any]:
    if device == "auto":
        take_accelerator(workers.number())
    models = {role: backends.load(s, role, device, dtype) for role, s in wanted}
    # Sums of several threads differ in their last bits, and workers share the cores.
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)
    return models


def take_accelerator(number: int) -> None:
    """Leave this process one of a machine's GPUs, before a library looks at them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    present = (p.name.removeprefix("nvidia") for p in Path("/dev").glob("nvidia[0-9]*"))
    devices = sorted(present, key=int) if named is None else named.split(",")
    if len(devices) > 1:
        os.environ["CUDA_VISIBLE_DEVICES"] = devices[number % len(devices)]
