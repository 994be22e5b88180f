"""A trained model, loaded: from a workdir, an export, or the hub."""

import os
from typing import Literal

from unires_jax.config import preprocessing
from unires_jax.data.tokenizer import Tokenizer
from unires_jax.errors import ConfigError
from unires_jax.inference import calibration, exported, places
from unires_jax.inference.loaded import Loaded
from unires_jax.inference.traces import abstract


def load(
    path: str | os.PathLike[str],
    pick: Literal["best", "last"] = "best",
    weights: Literal["ema", "params"] = "ema",
    image_size: int = 0,
) -> Loaded:
    """Read a workdir's best or last checkpoint, the folder of one step, or an export.

    `path` may also be "bundled", the model that comes with the package, or a hub id,
    `<owner>/<name>[@<revision>]`, of an export. `weights` are the averaged ones, where
    the run has them, or the raw ones. `image_size` is the side of the pictures it will
    answer at, in pixels; 0: its own. Raises CheckpointError if there is none, it is
    foreign, or its arrays do not fit the architecture it names; ConfigError for raw
    weights of an export of averaged ones, and as `Loaded.answering_at`.
    """
    loaded = _read(path, pick, weights)
    return loaded.answering_at(image_size) if image_size else loaded


def _read(
    path: str | os.PathLike[str],
    pick: Literal["best", "last"],
    weights: Literal["ema", "params"],
) -> Loaded:
    """The model at the side it has."""
    path = places.find(path)
    if exported.is_export(path):
        export = exported.read(path)
        if weights == "params" and export.meta.get("weights") == "ema":
            raise ConfigError(f"{path} holds no raw weights; export the run again")
        return export
    from unires_jax import checkpoint  # with orbax, which an export does not need

    folder = checkpoint.find_checkpoint(path, pick)
    meta = checkpoint.read_meta(folder)
    config = checkpoint.saved_config(meta, folder)
    like = abstract(config.model)
    params, _ = checkpoint.load_params(folder, weights, like=like)
    tokenizer = Tokenizer(meta["tokenizer"], preprocessing(config.model).text)
    worth = calibration.read(folder, config.model, params)
    return Loaded(folder, config, tokenizer, params, meta, worth)
