"""Every config file is loaded, checked, and its first step traced at full size."""

import runpy
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from helpers.paths import ROOT

from unires_jax import app, mesh
from unires_jax.config import Config, mask_grid, validate
from unires_jax.training import train_step
from unires_jax.training.train_step import Rows

CONFIGS = sorted((ROOT / "configs").glob("*.py"))


def abstract_rows(config: Config) -> Rows:
    """Shapes of a global batch."""
    b, k = config.train.batch, config.data.expressions
    size, length = config.model.image_size, config.data.lengths[0]
    grid = mask_grid(config.model)

    def array(dtype: type, *shape: int) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(shape, dtype)

    return Rows(
        images=array(jnp.uint8, b, size, size, 3),
        extent=array(jnp.int32, b, 2),
        tokens=array(jnp.int32, b, k, length),
        lengths=array(jnp.int32, b, k),
        masks=array(jnp.uint8, b, k, grid, grid),
        valid=array(jnp.bool_, b, k),
        no_target=array(jnp.bool_, b, k),
        level=array(jnp.int32, b, k),
    )


def trace(config: Config) -> None:
    validate(config)
    devices = mesh.make_mesh(config.mesh)
    state = train_step.abstract_state(config, devices)
    with jax.set_mesh(devices):
        step = train_step.jit_step(config, devices)
        after, metrics = step.eval_shape(state, abstract_rows(config))
    assert jax.tree.map(jnp.shape, after) == jax.tree.map(jnp.shape, state)
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
    return names + [f"{f}.py:{name}" for f in ("unires", "zero_shot") for name in sizes]


@pytest.mark.slow
@pytest.mark.parametrize("name", arguments())
def test_a_step_of_each_argument_traces(name: str) -> None:
    trace(app.load_config(str(CONFIGS[0].parent / name)))
