"""The jitted step: the same numbers on any mesh, in any number of rounds."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from unires_jax import mesh as mesh_lib
from unires_jax.config import (
    Config,
    DataConfig,
    MeshConfig,
    ModelConfig,
    OptimConfig,
    TextConfig,
    TrainConfig,
    VisionConfig,
)
from unires_jax.errors import ConfigError
from unires_jax.training import train_step
from unires_jax.training.train_step import Rows

STEPS = 20
LOSS_TOLERANCE = 1e-5  # relative, over all steps (the figure)


def make_config(devices_fsdp: int = 1, rounds: int = 1, **optim: Any) -> Config:
    return Config(
        model=ModelConfig(
            image_size=16,
            vision=VisionConfig(patch=8, width=64, depth=2, heads=2, mlp=64),
            text=TextConfig(vocab=32, context=8, width=16, depth=1, heads=2, mlp=16),
            width=16,
            heads=2,
            low_groups=3,
            high_groups=2,
            group_bias=0.0,
            stage_layers=1,
            mixer_layers=0,
            mask_channels=4,
            stem_channels=4,
        ),
        data=DataConfig(lengths=(8,)),
        optim=OptimConfig(**{"warmup": 5, "ema": 0.9, "scratch_rate": 1e-3} | optim),
        train=TrainConfig(batch=16, steps=40, accumulation=rounds),
        mesh=MeshConfig(fsdp=devices_fsdp),
    )


def make_rows(seed: int, b: int = 16, k: int = 2) -> Rows:
    rng = np.random.default_rng(seed)
    return Rows(
        images=rng.integers(0, 256, (b, 16, 16, 3), dtype=np.uint8),
        extent=rng.integers(8, 17, (b, 2), dtype=np.int32),
        tokens=rng.integers(0, 32, (b, k, 8), dtype=np.int32),
        lengths=rng.integers(2, 9, (b, k), dtype=np.int32),
        masks=rng.integers(0, 256, (b, k, 4, 4), dtype=np.uint8),
        valid=rng.random((b, k)) > 0.3,
        no_target=rng.random((b, k)) > 0.8,
        level=np.zeros((b, k), np.int32),
    )


def run(config: Config, devices: int) -> tuple[np.ndarray, Any]:
    mesh = mesh_lib.make_mesh(config.mesh, jax.devices()[:devices])
    state = train_step.init_state(config, mesh)
    step = train_step.make_train_step(config, mesh)
    losses = []
    for i in range(STEPS):
        state, metrics = step(state, mesh_lib.feed(make_rows(i), mesh))
        losses.append(float(metrics["loss"]))
    return np.array(losses), state


@pytest.fixture(scope="module")
def reference() -> tuple[np.ndarray, Any]:
    return run(make_config(), 1)


def test_muon_on_eight_devices_trains_as_on_one() -> None:
    one, _ = run(make_config(method="muon"), 1)
    eight, _ = run(make_config(8, method="muon"), 8)
    np.testing.assert_allclose(eight, one, rtol=LOSS_TOLERANCE)
    assert one[-1] < one[0]


@pytest.mark.parametrize(("fsdp", "rounds"), [(1, 1), (4, 2), (8, 1)])
def test_eight_devices_train_as_one(
    reference: tuple[np.ndarray, Any], fsdp: int, rounds: int
) -> None:
    losses, state = run(make_config(fsdp, rounds), 8)
    np.testing.assert_allclose(losses, reference[0], rtol=LOSS_TOLERANCE)
    assert losses[-1] < losses[0]
    kernel = state.params["vision"]["patch_embed"]["kernel"]
    assert kernel.sharding.is_fully_replicated == (fsdp == 1)
    moments = jax.tree.leaves(state.opt_state[1].mu["vision"]["patch_embed"])
    assert moments[0].sharding == kernel.sharding


def test_a_batch_must_divide_over_the_devices() -> None:
    config = make_config(rounds=4)
    mesh = mesh_lib.make_mesh(config.mesh)
    with pytest.raises(ConfigError, match=r"train\.batch=16.*8 devices"):
        train_step.make_train_step(config, mesh)


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


def loss_of(rows: Rows, config: Config, params: Any) -> tuple[Any, Any]:
    apply = train_step.Apply(config.model)
    return jax.jit(lambda p, r: train_step.accumulate(apply, config, p, r))(
        params, jax.tree.map(jnp.asarray, rows)
    )


def test_what_is_not_valid_or_has_no_target_teaches_no_mask() -> None:
    config = make_config()
    params = train_step.Apply(config.model).init(jax.random.key(0))
    rows = make_rows(0)
    empty = ~rows.valid | rows.no_target
    other = np.where(empty[..., None, None], 255 - rows.masks, rows.masks)
    tokens = np.where(rows.valid[..., None], rows.tokens, 1)
    changed = rows._replace(masks=other, tokens=tokens)
    one, two = (loss_of(r, config, params) for r in (rows, changed))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), one, two
    )
    other_loss = loss_of(rows._replace(no_target=~rows.no_target), config, params)
    grads = [g["no_target_head"]["out"]["bias"] for g, _ in (one, other_loss)]
    assert grads[0] != grads[1]


def test_a_frozen_text_tower_does_not_move() -> None:
    config = make_config(text_rate=0.0)
    config = dataclasses.replace(config, clip="given")
    mesh = mesh_lib.make_mesh(config.mesh, jax.devices()[:1])
    state = train_step.init_state(config, mesh)
    before = jax.device_get(state.params)
    step = train_step.make_train_step(config, mesh)
    for i in range(2):
        state, metrics = step(state, mesh_lib.feed(make_rows(i), mesh))
    assert metrics["grad_norm/text"] == 0
    jax.tree.map(np.testing.assert_array_equal, before["text"], state.params["text"])
    moved = state.params["head"]["mix"]["kernel"]
    assert np.abs(before["head"]["mix"]["kernel"] - moved).max() > 0


def test_cosine_shows_collapse() -> None:
    rng = np.random.default_rng(0)
    spread = jnp.asarray(rng.normal(size=(2, 4, 64)), jnp.float32)
    same = jnp.broadcast_to(spread[:, :1], spread.shape)
    np.testing.assert_allclose(train_step.mean_cosine(same), 1, atol=1e-4)
    unit = spread / jnp.linalg.norm(spread, axis=-1, keepdims=True)
    pairs = [unit[0, i] @ unit[0, j] for i in range(4) for j in range(4) if i != j]
    np.testing.assert_allclose(
        train_step.mean_cosine(spread)[0], np.mean(pairs), atol=1e-5
    )
