"""The jitted step: the same numbers on any mesh, in any number of rounds."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.tiny import tiny_config

from unires_jax import mesh as mesh_lib
from unires_jax.config import Config
from unires_jax.data.batch import Batch
from unires_jax.models.unires import Apply
from unires_jax.training import train_step
from unires_jax.training.recipe import make_recipe

STEPS = 20
LOSS_TOLERANCE = 1e-5  # relative, over all steps (the figure)


def make_config(**changes: Any) -> Config:
    """Wide enough for the image tower to be split over devices."""
    values: dict[str, Any] = {
        "model__image_size": 16,
        "model__vision__width": 64,
        "model__vision__mlp": 64,
        "model__text__vocab": 512,
        "model__text__context": 8,
        "model__group_bias": 0.0,
        "model__mixer_layers": 0,
        "data__lengths": (8,),
        "optim__warmup": 5,
        "optim__ema": 0.9,
        "optim__scratch_rate": 1e-3,
        "train__batch": 16,
        "train__steps": 40,
    }
    return tiny_config(**values | changes)


def make_batch(seed: int, b: int = 16, k: int = 2) -> Batch:
    rng = np.random.default_rng(seed)
    return Batch(
        images=rng.integers(0, 256, (b, 16, 16, 3), dtype=np.uint8),
        extent=rng.integers(8, 17, (b, 2), dtype=np.int32),
        tokens=rng.integers(0, 512, (b, k, 8), dtype=np.int32),
        lengths=rng.integers(2, 9, (b, k), dtype=np.int32),
        masks=rng.integers(0, 256, (b, k, 4, 4), dtype=np.uint8),
        valid=rng.random((b, k)) > 0.3,
        no_target=rng.random((b, k)) > 0.8,
        level=np.zeros((b, k), np.int32),
    )


def run(config: Config, devices: int) -> tuple[np.ndarray, Any]:
    mesh = mesh_lib.make_mesh(config.mesh, jax.devices()[:devices])
    recipe = make_recipe(config, mesh)
    state = recipe.init()
    losses = []
    for i in range(STEPS):
        state, metrics = recipe.train_step(state, mesh_lib.feed(make_batch(i), mesh))
        losses.append(float(metrics["loss"]))
    return np.array(losses), state


@pytest.fixture(scope="module")
def reference() -> tuple[np.ndarray, Any]:
    return run(make_config(), 1)


@pytest.mark.slow
def test_gathering_in_blocks_trains_alike(reference: tuple[np.ndarray, Any]) -> None:
    in_blocks = {"mesh__gather_in_blocks": True, "model__remat": "full"}
    losses, state = run(make_config(mesh__fsdp=4, **in_blocks), 8)
    np.testing.assert_allclose(losses, reference[0], rtol=LOSS_TOLERANCE)
    assert not state.params["text"]["embedding"].sharding.is_fully_replicated


@pytest.mark.slow
def test_muon_on_eight_devices_trains_as_on_one() -> None:
    alone, _ = run(make_config(optim__method="muon"), 1)
    eight, _ = run(make_config(mesh__fsdp=8, optim__method="muon"), 8)
    np.testing.assert_allclose(eight, alone, rtol=LOSS_TOLERANCE)
    assert alone[-1] < alone[0]


@pytest.mark.parametrize(("fsdp", "rounds"), [(1, 1), (4, 2), (8, 1)])
def test_eight_devices_train_as_one(
    reference: tuple[np.ndarray, Any], fsdp: int, rounds: int
) -> None:
    losses, state = run(make_config(mesh__fsdp=fsdp, train__accumulation=rounds), 8)
    np.testing.assert_allclose(losses, reference[0], rtol=LOSS_TOLERANCE)
    assert losses[-1] < losses[0]
    kernel = state.params["vision"]["patch_embed"]["kernel"]
    assert kernel.sharding.is_fully_replicated == (fsdp == 1)
    moments = jax.tree.leaves(state.opt_state[1].mu["vision"]["patch_embed"])
    assert moments[0].sharding == kernel.sharding


def test_the_average_is_its_definition() -> None:
    params = {"x": jnp.array([1.0])}
    ema = {"x": jnp.array([0.0])}
    for step, value in enumerate([1.0, 3.0, -2.0]):
        params = {"x": jnp.array([value])}
        before = ema["x"][0]
        ema = train_step.average(ema, params, jnp.int32(step), 0.2)
        d = min(0.2, (1 + step) / (10 + step))
        np.testing.assert_allclose(ema["x"], d * before + (1 - d) * value, rtol=1e-6)
    assert train_step.average({}, params, jnp.int32(0), 0.0) == {}


def test_what_is_not_valid_or_has_no_target_teaches_no_mask() -> None:
    config = make_config()
    params = Apply(config.model).init(jax.random.key(0))
    batch = make_batch(0)
    empty = ~batch.valid | batch.no_target
    masks = np.where(empty[..., None, None], 255 - batch.masks, batch.masks)
    tokens = np.where(batch.valid[..., None], batch.tokens, 1)
    changed = batch._replace(masks=masks, tokens=tokens)
    other = batch._replace(no_target=~batch.no_target)
    apply = Apply(config.model)
    loss_of = jax.jit(lambda p, b: train_step.accumulate(apply, config, p, b))
    result, same, other_loss = (
        loss_of(params, jax.tree.map(jnp.asarray, b)) for b in (batch, changed, other)
    )
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7),
        result,
        same,
    )
    grads = [g["no_target_head"]["out"]["bias"] for g, _ in (result, other_loss)]
    assert grads[0] != grads[1]


def test_a_frozen_text_tower_does_not_move() -> None:
    config = make_config(optim__text_rate=0.0, clip="a pretrained start")
    mesh = mesh_lib.make_mesh(config.mesh, jax.devices()[:1])
    recipe = make_recipe(config, mesh)
    state = recipe.init()
    before = jax.device_get(state.params)
    for i in range(2):
        state, metrics = recipe.train_step(state, mesh_lib.feed(make_batch(i), mesh))
    assert metrics["grad_norm/text"] == 0
    jax.tree.map(np.testing.assert_array_equal, before["text"], state.params["text"])
    moved = state.params["head"]["embed"]["kernel"]
    assert np.abs(before["head"]["embed"]["kernel"] - moved).max() > 0


def test_cosine_shows_collapse() -> None:
    rng = np.random.default_rng(0)
    spread = jnp.asarray(rng.normal(size=(2, 4, 64)), jnp.float32)
    same = jnp.broadcast_to(spread[:, :1], spread.shape)
    np.testing.assert_allclose(train_step.mean_cosine(same), 1, atol=1e-4)
    unit = spread / jnp.linalg.norm(spread, axis=-1, keepdims=True)
    pairs = [unit[0, i] @ unit[0, j] for i in range(4) for j in range(4) if i != j]
    cosine = train_step.mean_cosine(spread)[0]
    np.testing.assert_allclose(cosine, np.mean(pairs), atol=1e-5)
