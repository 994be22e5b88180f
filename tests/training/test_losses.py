"""Losses against numbers worked by hand."""

import jax.numpy as jnp
import numpy as np
import pytest

from unires_jax.config import LossConfig
from unires_jax.training import losses


def rows(values: list[list[float]]) -> jnp.ndarray:
    return jnp.asarray([values], jnp.float32)


def test_valid_cells_share_the_edge_of_the_picture() -> None:
    cells = np.asarray(losses.valid_cells(jnp.array([[16, 12]]), 32, 4))[0]
    np.testing.assert_allclose(cells[:, 0], [1, 1, 0, 0])
    np.testing.assert_allclose(cells[0], [1, 0.5, 0, 0])
    assert cells.sum() == 3


def test_bce_balances_positives_up_to_the_cap() -> None:
    logits, target = rows([[2.0, -1.0], [0.5, 0.0]]), rows([[1.0, 0.0], [0.0, 0.0]])
    ones = jnp.ones_like(logits)
    soft = lambda x: np.log1p(np.exp(x))  # noqa: E731
    negative = soft(-1.0) + soft(0.5) + soft(0.0)
    for cap in (10.0, 2.0):
        weight = min(3.0, cap)  # three negatives to one positive
        expected = (weight * soft(-2.0) + negative) / (weight + 3)
        loss = losses.mask_bce(logits, target, ones, cap)
        np.testing.assert_allclose(loss, [expected], rtol=1e-5)


def test_padding_cells_weigh_nothing() -> None:
    target = rows([[1.0, 0.0], [0.0, 1.0]])
    cells = rows([[1.0, 1.0], [1.0, 0.0]])
    calm, wild = rows([[1.0, 1.0], [1.0, 0.0]]), rows([[1.0, 1.0], [1.0, -50.0]])
    for loss in (
        lambda x: losses.mask_bce(x, target, cells, 10.0),
        lambda x: losses.mask_dice(x, target, cells, 1e-3),
    ):
        np.testing.assert_allclose(loss(calm), loss(wild), rtol=1e-6)


def test_dice() -> None:
    target = rows([[1.0, 0.0], [1.0, 0.0]])
    ones = jnp.ones_like(target)
    perfect = 60 * (2 * target - 1)
    np.testing.assert_allclose(
        losses.mask_dice(perfect, target, ones, 1e-3), [0], atol=1e-6
    )
    half = jnp.zeros_like(target)  # 1/2 everywhere: 2 * 1 / (2 + 2)
    loss = losses.mask_dice(half, target, ones, 1e-3)
    np.testing.assert_allclose(loss, [1 - 2.001 / 4.001], rtol=1e-5)


@pytest.mark.parametrize(("logit", "none", "small"), [(5, 1, 1), (5, 0, 0), (-5, 0, 1)])
def test_no_target(logit: float, none: int, small: int) -> None:
    loss = losses.no_target_bce(jnp.array([float(logit)]), jnp.array([bool(none)]))
    assert (loss[0] < 0.01) == bool(small)


def test_what_denotes_nothing_weighs_as_said_and_has_no_mask() -> None:
    logits, none = jnp.array([1.0, 1.0]), jnp.array([True, False])
    plain = losses.no_target_bce(logits, none)
    weighed = losses.no_target_bce(logits, none, 3.0)
    np.testing.assert_allclose(weighed, plain * jnp.array([3.0, 1.0]))


def test_row_losses_are_per_row() -> None:
    rng = np.random.default_rng(0)
    logits = jnp.asarray(rng.normal(size=(3, 4, 4)), jnp.float32)
    target = jnp.asarray(rng.random((3, 4, 4)) > 0.5, jnp.float32)
    none = jnp.array([False, True, False])
    arguments = (logits, logits[:, 0, 0], target, jnp.ones_like(logits), none)
    whole = losses.row_losses(*arguments, LossConfig())
    for i in range(3):
        row = losses.row_losses(*(x[i : i + 1] for x in arguments), LossConfig())
        for name in whole:
            np.testing.assert_allclose(whole[name][i], row[name][0], rtol=1e-5)
