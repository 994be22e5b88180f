"""Every config file is loaded, checked, and its first step traced at full size."""

import runpy
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from helpers.abstract_batch import abstract_batch
from helpers.paths import ROOT

from unires_jax import app
from unires_jax.config import Config, validate
from unires_jax.mesh import make_mesh
from unires_jax.training.recipe import make_recipe

FILES = sorted((ROOT / "configs").glob("*.py"))
CONFIGS = [path for path in FILES if path.stem != "engine"]  # of another command


def trace(config: Config) -> None:
    validate(config)
    recipe = make_recipe(config, make_mesh(config.mesh))
    with jax.set_mesh(recipe.mesh):
        state, metrics = recipe.step.eval_shape(recipe.state, abstract_batch(config))
    assert jax.tree.map(jnp.shape, state) == jax.tree.map(jnp.shape, recipe.state)
    assert metrics["loss"].shape == ()


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_a_step_of_the_config_traces(path: Path) -> None:
    trace(app.load_config(str(path)))


@pytest.mark.parametrize("file", ["unires", "finetune"])
def test_a_step_on_siglip2_traces(file: str) -> None:
    config = app.load_config(str(CONFIGS[0].parent / f"{file}.py:siglip2_b16"))
    model = config.model
    assert model.backbone == "siglip2" and model.text.vocab == 256000
    assert model.image_size // model.vision.patch == 32
    trace(config)


def arguments() -> list[str]:
    folder = CONFIGS[0].parent
    quickstart = runpy.run_path(str(folder / "quickstart.py"))["ABLATIONS"]
    sizes = runpy.run_path(str(folder / "unires.py"))["SIZES"]
    names = [f"quickstart.py:{name}" for name in quickstart]
    settings = runpy.run_path(str(folder / "finetune.py"))["SETTINGS"]
    names += [f"finetune.py:{name}" for name in settings]
    names += [f"finetune.py:{name},siglip2_b16" for name in settings]
    photographs = ("people", "things", "both", "mine", "people_full")
    names += [f"photographs.py:{name}" for name in photographs]
    return names + [f"{f}.py:{name}" for f in ("unires", "zero_shot") for name in sizes]


@pytest.mark.slow
@pytest.mark.parametrize("name", arguments())
def test_a_step_of_each_argument_traces(name: str) -> None:
    trace(app.load_config(str(CONFIGS[0].parent / name)))
