"""Layers: their parameters, types, and the forms in which they are traced."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.extend import core

from unires_jax.config import VisionConfig
from unires_jax.models import layers
from unires_jax.models.forms import FAST, PLAIN, use
from unires_jax.models.keys import Keys


def _random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def _softmax(x: np.ndarray) -> np.ndarray:
    x = np.exp(x - x.max(-1, keepdims=True))
    return x / x.sum(-1, keepdims=True)


def test_attention_reads_keys() -> None:
    """And gives the weights of what it reads on request."""
    module = layers.Attention(8, 2, keys=Keys(0))
    queries, keys = _random(2, 5, 8), _random(2, 3, 8)
    q, k, v = (
        (x @ getattr(module, name).kernel[...]).reshape(2, -1, 2, 4).swapaxes(1, 2)
        for name, x in [("query", queries), ("key", keys), ("value", keys)]
    )
    shares = _softmax(q @ k.swapaxes(2, 3) / np.sqrt(4))  # [b, h, q, k]
    expected = (shares @ v).swapaxes(1, 2).reshape(2, 5, 8)
    expected = expected @ np.asarray(module.out.kernel[...])
    arguments = jnp.asarray(queries), jnp.asarray(keys)
    mixed, weights = module(*arguments, return_weights=True)
    np.testing.assert_allclose(mixed, expected, atol=1e-5)
    np.testing.assert_allclose(weights, shares, atol=1e-5)
    without, nothing = module(*arguments)
    np.testing.assert_array_equal(without, mixed)
    assert nothing is None


def test_layer_norm_applies_its_parameters_and_eps() -> None:
    x, scale, bias = _random(4, 6, 32), _random(32, seed=1), _random(32, seed=2)
    module = layers.LayerNorm(32, eps=0.5, keys=Keys(0))
    module.scale[...], module.bias[...] = scale, bias
    centred = x - x.mean(-1, keepdims=True)
    expected = centred / np.sqrt(x.var(-1, keepdims=True) + 0.5) * scale + bias
    np.testing.assert_allclose(module(jnp.asarray(x)), expected, atol=2e-6)


def test_gradients_are_the_same_on_a_batch_split_over_devices() -> None:
    block = layers.FeedForward(16, 32, activation="quick_gelu", keys=Keys(0))
    attention = layers.Attention(16, 4, keys=Keys(1))
    norm = layers.LayerNorm(16, keys=Keys(2))
    graph, state = nnx.split((block, attention, norm))

    def total(arguments: Any) -> Any:
        state, x, bias = arguments
        block, attention, norm = nnx.merge(graph, state)
        y = norm(x)
        x = x + attention(y, y, group_bias=bias, groups=3)[0]
        y = block(norm(x))
        return (y * jnp.cos(jnp.arange(y.size, dtype=y.dtype)).reshape(y.shape)).sum()

    state = nnx.to_pure_dict(state)
    x, bias = jnp.asarray(_random(8, 12, 16)), jnp.asarray(_random(4))
    gradients = jax.jit(jax.grad(total))
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    spec = jax.sharding.PartitionSpec("data")
    split = jax.device_put(x, jax.sharding.NamedSharding(mesh, spec))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
        gradients((state, split, bias)),
        gradients((state, x, bias)),
    )


@pytest.mark.parametrize(
    "build",
    [
        lambda keys: layers.Attention(8, 2, zero_init_out=True, keys=keys),
        lambda keys: layers.FeedForward(8, 16, zero_init_out=True, keys=keys),
    ],
)
def test_zero_initialised_branches_start_silent_but_learn(
    build: Callable[[Keys], Any],
) -> None:
    module = build(Keys(0))
    x = jnp.asarray(_random(1, 3, 8))
    graph, state = nnx.split(module)

    def output(state: Any) -> Any:
        module = nnx.merge(graph, state)
        return module(x, x)[0] if isinstance(module, layers.Attention) else module(x)

    assert not output(state).any()
    gradients = jax.grad(lambda s: output(s).sum())(state)
    assert any(g.any() for g in jax.tree.leaves(gradients))


def test_bfloat16_computes_in_bfloat16_over_float32_parameters() -> None:
    module = layers.Attention(16, 4, dtype=jnp.bfloat16, keys=Keys(0))
    x = jnp.asarray(_random(2, 5, 16))
    mixed, weights = module(x, x, return_weights=True)
    assert mixed.dtype == jnp.bfloat16 and weights.dtype == jnp.float32
    leaves = jax.tree.leaves(nnx.state(module, nnx.Param))
    assert {leaf.dtype for leaf in leaves} == {jnp.dtype("float32")}
    exact, _ = layers.Attention(16, 4, keys=Keys(0))(x, x)
    # bfloat16 keeps 8 bits: outputs of unit size agree to a few 1/256.
    np.testing.assert_allclose(mixed.astype(jnp.float32), exact, atol=0.03)


@pytest.mark.parametrize("groups", [0, 2])
def test_layers_are_traced_in_the_form_in_use(groups: int) -> None:
    """And are the same in each: 1e-5 of values of some units."""
    x, mask = jnp.asarray(_random(2, 6, 8)), jnp.asarray(_random(2, 6, 6) > -1)
    keys = Keys(0)
    norm, mix = layers.LayerNorm(8, keys=keys), layers.Attention(8, 2, keys=keys)
    mlp = layers.FeedForward(8, 16, keys=keys)
    norm.scale[...] = jnp.asarray(_random(8, seed=3))
    bias = jnp.array([0.5, -2.0]) if groups else None

    def run() -> Any:
        y = norm(x)
        return mlp(mix(y, y, mask=mask, group_bias=bias, groups=groups)[0])

    def program() -> str:
        return str(jax.make_jaxpr(lambda: run())())  # jax keeps what it has traced

    outputs, programs = {}, {}
    for name, form in (("fast", FAST), ("plain", PLAIN)):
        with use(form):
            outputs[name], programs[name] = run(), program()
    np.testing.assert_allclose(outputs["plain"], outputs["fast"], 1e-5, 1e-5)
    for word in ("custom_vjp", "tanh"):
        assert word in programs["fast"] and word not in programs["plain"]
    assert "logistic" in programs["plain"]
    assert program() == programs["fast"]  # the default


def products(remat: str) -> int:
    """How many a block's forward and backward pass have."""

    def count(jaxpr: core.Jaxpr) -> int:
        inner = (core.jaxprs_in_params(e.params) for e in jaxpr.eqns)
        below = sum(count(x) for several in inner for x in several)
        return below + sum(e.primitive.name == "dot_general" for e in jaxpr.eqns)

    config = VisionConfig(width=16, heads=2, mlp=32)
    block = layers.Block(config, eps=1e-5, keys=Keys(0))
    grad = jax.grad(lambda x: layers.run_layer(block, x, remat)[0].sum())
    return count(jax.make_jaxpr(grad)(jnp.zeros((2, 8, 16))).jaxpr)


def test_a_policy_computes_again_what_it_says() -> None:
    """All but the last product; with "dots" the two of attention alone.

    Dense layers of the fast forms have a gradient of their own, in which jax's policies
    see no product.
    """
    with use(FAST):
        once = products("none")
        assert products("full") == once + 7
        assert products("dots") == once + 2
    with use(PLAIN):
        assert products("none") <= products("dots") < products("full")
