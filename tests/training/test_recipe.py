"""What a run compiles, made once, without a device being touched."""

from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from helpers.abstract_batch import abstract_batch
from helpers.tiny_run import assert_same, run_config

from unires_jax.checkpoint import Checkpoints
from unires_jax.config import Config, ModelConfig
from unires_jax.errors import ConfigError
from unires_jax.mesh import make_mesh
from unires_jax.models.unires import Apply
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
