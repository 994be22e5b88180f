"""Where a run starts: its own checkpoint, another's weights, a backbone's, scratch."""

from typing import Any, NamedTuple

import jax
import numpy as np

from unires_jax.checkpoint import Checkpoints, Meta, read_meta, saved_config
from unires_jax.config import Config, has_product_head, settings, training_model
from unires_jax.errors import ConfigError
from unires_jax.files import Location
from unires_jax.inference.model import load
from unires_jax.models.backbones import towers_of
from unires_jax.models.backbones.positions import resize_positions
from unires_jax.models.backbones.published import check_config, load_towers
from unires_jax.models.efficientnet_weights import load_efficientnet
from unires_jax.parameters import check_shapes
from unires_jax.training.recipe import Recipe
from unires_jax.training.train_step import TrainState

Tree = dict[Any, Any]

# What may change between two starts of one run: the place it runs in and what it says.
# `train.steps` may too, so that a run can be prolonged (its cosine then differs).
MAY_CHANGE = (
    "name",
    "data.dir",
    "data.cache",
    "data.workers",
    "data.max_bad_share",
    "model.remat",
    "train.steps",
    "train.accumulation",
    "train.log_every",
    "train.picture_every",
    "train.eval_every",
    "train.checkpoint_every",
    "train.keep",  # and keep_every
    "eval.",
    "mesh.",
)


# What the shapes of weights do not show, or would show at length.
UNSEEN = (
    "model.stem",
    "model.heads",
    "model.vision.heads",
    "model.vision.activation",
    "model.text.heads",
    "model.text.activation",
)

# What says which mask head a model has, and what shapes it has there.
HEAD = (
    "model.mask_head",
    "model.figure_only",
    "model.mask_stride",
    "model.pixel_layers",
    "model.stem_to_patches",
)


class Progress(NamedTuple):
    """How far a run has come with its data; kept in each checkpoint's meta."""

    batch: int = 0  # the next global batch
    no_target_trained: bool = False  # whether an expression denoted nothing so far
    stem_sha256: str = ""  # of the file whose weights the stem's network started from


def start(
    recipe: Recipe, checkpoints: Checkpoints, about: Meta
) -> tuple[TrainState, Progress]:
    """The state to go on from, sharded over the mesh, and the progress it stands for.

    Raises CheckpointError or WeightsError for weights that do not fit, ConfigError for
    a workdir that holds a run of another config or other data.
    """
    config = recipe.config
    # 1. This workdir's own run, from its last complete step.
    if folder := checkpoints.latest:
        meta = read_meta(folder)
        check_same_run(config, about, meta, folder)
        kept = {name: meta[name] for name in Progress._fields if name in meta}
        progress = Progress()._replace(**kept)
        return checkpoints.restore(recipe.state), progress
    # 2. The weights of another run, with a fresh optimizer.
    if config.init_from:
        return recipe.init(take_over(recipe)), Progress()
    # 3. The published weights of backbone and stem; the rest from the seed.
    if config.clip or config.stem:
        params, digest = published(recipe)
        return recipe.init(params), Progress(stem_sha256=digest)
    # 4. Scratch.
    return recipe.init(), Progress()


def check_same_run(config: Config, about: Meta, meta: Meta, folder: Location) -> None:
    """Raise ConfigError unless resuming `meta` goes on with the same arithmetic."""
    old, new = settings(saved_config(meta, folder)), settings(config)
    faults = [
        f"{name}: the run has {old[name]!r}, now {new[name]!r}"
        for name in new
        if old[name] != new[name] and not name.startswith(MAY_CHANGE)
    ]
    if not faults and meta["data"] != about["data"]:
        faults = [f"data: the run has {meta['data']}, now {about['data']}"]
    if not faults and meta["tokenizer"] != about["tokenizer"]:
        faults = ["data.tokenizer: its content has changed"]
    if faults:
        raise ConfigError(
            f"{folder.parent.parent} holds a run that differs; set these back, or "
            "take another --workdir (with --config.init_from to keep the weights):\n  "
            + "\n  ".join(faults)
        )


def take_over(recipe: Recipe) -> Tree:
    """The best (averaged) parameters of `config.init_from`, fitted to this model.

    It is whatever `inference.model.load` reads: a run, a step, an export, a hub id. The
    vision position table is resized to this resolution as a backbone's is; the text one
    is cut, or prolonged with fresh rows. Raises CheckpointError listing what does not
    fit, ConfigError for other heads or activations, which no shape shows.
    """
    config, model = recipe.config, recipe.config.model
    loaded = load(config.init_from)
    params, folder = loaded.params, loaded.folder
    _check_arithmetic(config, loaded.config, folder)
    if "vision" in params and "text" in params:
        side = training_model(model).image_size // model.vision.patch
        prefix = towers_of(model).vision.prefix
        table = resize_positions(params["vision"]["positions"], side, prefix)
        params["vision"]["positions"] = table
        table, context = params["text"]["positions"], model.text.context
        if len(table) < context:
            fresh = _fresh(recipe)["text"]["positions"]
            table = np.concatenate([table, fresh[len(table) :]])
        params["text"]["positions"] = table[:context]
    check_shapes(params, recipe.apply.abstract, folder)
    return params


def _check_arithmetic(config: Config, saved: Config, folder: Location) -> None:
    """Raise ConfigError where weights would be used by other arithmetic.

    What shapes do not show, and another mask head, which they would show at length.
    """
    old, new = settings(saved), settings(config)
    names = [*UNSEEN]
    if has_product_head(saved.model) != has_product_head(config.model):
        names += HEAD
    faults = [
        f"{name}={new[name]!r}, the weights were trained with {old[name]!r}"
        for name in names
        if old[name] != new[name]
    ]
    if faults:
        raise ConfigError(
            f"init_from={folder} does not fit the config:\n  " + "\n  ".join(faults)
        )


def published(recipe: Recipe) -> tuple[Tree, str]:
    """Fresh parameters, with the towers of `config.clip` and the stem of `config.stem`.

    And the SHA-256 of the stem's file, "" without. Raises ConfigError if the backbone's
    config.json disagrees with the model, WeightsError listing every tensor that does
    not fit, or as `load_efficientnet` does; all before anything is compiled.
    """
    config, like, digest = recipe.config, recipe.apply.abstract, ""
    files: Tree = {}
    if config.clip:
        towers = towers_of(config.model)
        check_config(towers, config.clip, config.model)
        files["vision"], files["text"] = load_towers(
            towers, config.clip, like["vision"], like["text"]
        )
    if config.stem:
        tower, digest = load_efficientnet(
            config.model.stem, config.stem, like["stem"]["tower"]
        )
        files["stem"] = {"tower": tower}
    params = _fresh(recipe)
    for name, tree in files.items():
        params[name] = params[name] | tree
    return params, digest


def _fresh(recipe: Recipe) -> Tree:
    """Parameters drawn from the seed, as host arrays."""
    key = jax.random.key(recipe.config.seed)
    return jax.device_get(jax.jit(recipe.apply.init)(key))
