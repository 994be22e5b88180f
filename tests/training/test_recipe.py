"""What a run compiles, made once, without a device being touched."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from helpers.abstract_batch import abstract_batch
from helpers.tiny_run import assert_same, run_config

from unires_jax.checkpoint import Checkpoints
from unires_jax.config import Config, ModelConfig
from unires_jax.errors import ConfigError, TrainingError
from unires_jax.mesh import make_mesh
from unires_jax.models.unires import Apply
from unires_jax.training import dry_run
from unires_jax.training import recipe as recipe_lib
from unires_jax.training.recipe import Recipe, make_recipe
from unires_jax.training.start import start


@pytest.fixture
def config() -> Config:
    return run_config(Path(), model__width=64, mesh__fsdp=4)


class NoCheckpoints(Checkpoints):
    """Those of a fresh workdir."""

    latest = None

    def __init__(self) -> None:
        pass


def make(config: Config) -> Recipe:
    return make_recipe(config, make_mesh(config.mesh))


def test_it_is_made_and_lowered_without_an_array(config: Config) -> None:
    arrays = {id(x) for x in jax.live_arrays()}
    recipe = make(config)
    with jax.set_mesh(recipe.mesh):
        lowered = recipe.step.lower(recipe.state, abstract_batch(config))
    recipe.init.lower()
    assert not [x for x in jax.live_arrays() if id(x) not in arrays]
    # The compiler was asked for the parameters' shards, not for the whole.
    kernel = recipe.state.params["text"]["embedding"]
    assert not kernel.sharding.is_fully_replicated
    assert lowered.in_avals[0][0].params["text"]["embedding"].shape == kernel.shape


def test_a_model_is_traced_once(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    models, trace = [], Apply.__init__

    def counted(apply: Apply, model: ModelConfig) -> None:
        models.append(model)
        trace(apply, model)

    monkeypatch.setattr(Apply, "__init__", counted)
    start(make(config), NoCheckpoints(), {})
    assert models == [config.model]


def test_the_first_state_is_what_it_says(config: Config) -> None:
    recipe = make(config)
    state = recipe.init()
    same = jax.tree.map(
        lambda x, like: (
            (x.shape, x.dtype) == (like.shape, like.dtype)
            and x.sharding.is_equivalent_to(like.sharding, x.ndim)
        ),
        state,
        recipe.state,
    )
    assert jax.tree.all(same)
    assert_same(state.ema, state.params)
    assert_same(recipe.init(jax.device_get(state.params)), state)
    config.seed += 1
    others = make(config).init().params
    assert jnp.any(others["text"]["embedding"] != state.params["text"]["embedding"])


def test_a_batch_must_divide_over_the_devices(config: Config) -> None:
    config.train.accumulation = 4
    with pytest.raises(ConfigError, match=r"train\.batch=8.*4 rounds.*8 devices"):
        make(config)


def test_too_little_memory_names_what_saves_some(config: Config) -> None:
    def full(*_: Any) -> None:
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory, 9 GiB")

    recipe = dataclasses.replace(make(config), step=full)
    settings = r"accumulation, now 1.*remat=full, now none.*fsdp, now 4.*9 GiB"
    full.lower = full  # type: ignore[attr-defined]  # as TPU's compiler does
    for act in (recipe.train_step, recipe.compile):
        with pytest.raises(TrainingError, match=settings):
            act(recipe.state, abstract_batch(config))


def test_the_batch_of_the_step_is_known_without_data(config: Config) -> None:
    mesh = make_mesh(config.mesh)
    batch = recipe_lib.abstract_batch(config, mesh, config.data.lengths[0])
    shapes = jax.tree.map(lambda x: (x.shape, x.dtype), batch)
    assert shapes == jax.tree.map(lambda x: (x.shape, x.dtype), abstract_batch(config))
    assert batch.images.sharding.shard_shape(batch.images.shape)[0] == 1


def test_a_dry_run_counts_what_a_device_holds(config: Config) -> None:
    recipe = make(config)
    lines = dry_run.describe(recipe).splitlines()
    assert lines[0].startswith("tiny on 8 devices (cpu): data 2 x fsdp 4")
    (table,) = (line.split() for line in lines if line.startswith("text.embedding"))
    vocab, width = config.model.text.vocab, config.model.text.width
    held = f"{vocab * width // 4 * 4 / 1e6:.3f}"
    assert table[1:] == [f"({vocab},", f"{width})", "-,", "fsdp", "1", held]
    # Of fewer devices each holds more: the count is of the shards.
    alone = make_recipe(config, make_mesh(config.mesh, jax.devices()[:1]))
    assert dry_run.device_bytes(alone.state) > dry_run.device_bytes(recipe.state)
    assert "batch: 8 pictures in 1 rounds, 1 a device and round" in lines
    assert "  images uint8 (8, 16, 16, 3): (1, 16, 16, 3) each" in lines
