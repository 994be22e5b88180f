"""Layers against their definitions in float64 numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from unires_jax.models import layers


def _random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def _softmax(x: np.ndarray) -> np.ndarray:
    x = np.exp(x - x.max(-1, keepdims=True))
    return x / x.sum(-1, keepdims=True)


def _attend(q, k, v, mask=None, group_bias=None, groups=0) -> np.ndarray:
    """The definition, one batch row, head and query at a time."""
    q, k, v = (np.asarray(x, np.float64) for x in (q, k, v))
    out = np.zeros_like(q)
    for b, i, h in np.ndindex(*q.shape[:3]):
        logits = k[b, :, h] @ q[b, i, h] / np.sqrt(q.shape[-1])
        if group_bias is not None and i < q.shape[1] - groups:
            logits[len(logits) - groups :] += group_bias[h]
        if mask is not None:
            row = mask[b % len(mask), i % mask.shape[1]]
            logits = np.where(row, logits, -np.inf)
        out[b, i, h] = _softmax(logits) @ v[b, :, h]
    return out


def test_attention_is_softmax_of_scaled_products():
    q, k, v = _random(2, 5, 3, 4), _random(2, 7, 3, 4, seed=1), _random(2, 7, 3, 4)
    np.testing.assert_allclose(
        layers.attend(*map(jnp.asarray, (q, k, v))), _attend(q, k, v), atol=1e-6
    )


@pytest.mark.parametrize("shape", [(2, 1, 7), (1, 5, 7), (2, 5, 7)])
def test_masked_keys_weigh_nothing(shape):
    q, k, v = _random(2, 5, 3, 4), _random(2, 7, 3, 4, seed=1), _random(2, 7, 3, 4)
    mask = _random(*shape, seed=2) > 0
    mask[..., 0] = True
    got = layers.attend(*map(jnp.asarray, (q, k, v, mask)))
    np.testing.assert_allclose(got, _attend(q, k, v, mask), atol=1e-6)


def test_query_without_keys_gets_the_mean_value():
    q, k, v = _random(1, 2, 1, 4), _random(1, 3, 1, 4), _random(1, 3, 1, 4)
    mask = jnp.zeros((1, 1, 3), bool)
    got = layers.attend(*map(jnp.asarray, (q, k, v)), mask)
    np.testing.assert_allclose(got[0, :, 0], np.tile(v.mean(1)[0, 0], (2, 1)), 1e-5)


def test_group_bias_acts_from_patch_queries_on_group_keys_only():
    x = _random(2, 6, 3, 4)
    bias = np.array([-1.0, 0.5, 2.0], np.float32)
    got = layers.attend(*[jnp.asarray(x)] * 3, group_bias=jnp.asarray(bias), groups=2)
    expected = _attend(x, x, x, group_bias=bias, groups=2)
    np.testing.assert_allclose(got, expected, atol=1e-6)


def test_attention_module_reads_keys_of_another_width():
    module = layers.Attention(8, 2, key_width=6, rngs=nnx.Rngs(0))
    queries, keys = _random(2, 5, 8), _random(2, 3, 6)
    project = {
        name: x @ getattr(module, name).kernel[...]
        for name, x in [("query", queries), ("key", keys), ("value", keys)]
    }
    heads = [x.reshape(2, -1, 2, 4) for x in project.values()]
    expected = _attend(*heads).reshape(2, 5, 8) @ np.asarray(module.out.kernel[...])
    got = module(jnp.asarray(queries), jnp.asarray(keys))
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_layer_norm_is_its_definition():
    x = 3 + 5 * _random(4, 6, 32)
    module = layers.LayerNorm(32, rngs=nnx.Rngs(0))
    module.scale[...], module.bias[...] = _random(32, seed=1), _random(32, seed=2)
    centred = x - x.mean(-1, keepdims=True)
    expected = centred / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    expected = expected * _random(32, seed=1) + _random(32, seed=2)
    np.testing.assert_allclose(module(jnp.asarray(x)), expected, atol=2e-6)


def test_activations_are_their_definitions():
    x = np.linspace(-12, 12, 4001, dtype=np.float32)
    torch = pytest.importorskip("torch")
    exact = torch.nn.functional.gelu(torch.tensor(x, dtype=torch.float64)).numpy()
    np.testing.assert_allclose(layers.gelu(jnp.asarray(x)), exact, atol=2e-6)
    quick = x / (1 + np.exp(-1.702 * x.astype(np.float64)))
    # tanh saturates below -9.1, where the exact value is still -1e-6.
    np.testing.assert_allclose(layers.quick_gelu(jnp.asarray(x)), quick, atol=2e-6)


@pytest.mark.parametrize(
    "build",
    [
        lambda rngs: layers.Attention(8, 2, zero_init_out=True, rngs=rngs),
        lambda rngs: layers.FeedForward(8, 16, zero_init_out=True, rngs=rngs),
    ],
)
def test_zero_initialised_branches_start_silent_but_learn(build):
    module = build(nnx.Rngs(0))
    x = jnp.asarray(_random(1, 3, 8))
    graph, state = nnx.split(module)

    def output(state):
        module = nnx.merge(graph, state)
        return module(x, x) if isinstance(module, layers.Attention) else module(x)

    assert not output(state).any()
    gradients = jax.grad(lambda s: output(s).sum())(state)
    assert any(g.any() for g in jax.tree.leaves(gradients))


def test_bfloat16_computes_in_bfloat16_over_float32_parameters():
    module = layers.Attention(16, 4, dtype=jnp.bfloat16, rngs=nnx.Rngs(0))
    x = jnp.asarray(_random(2, 5, 16))
    assert module(x, x).dtype == jnp.bfloat16
    leaves = jax.tree.leaves(nnx.state(module, nnx.Param))
    assert {leaf.dtype for leaf in leaves} == {jnp.dtype("float32")}
    exact = layers.Attention(16, 4, rngs=nnx.Rngs(0))(x, x)
    # bfloat16 keeps 8 bits: outputs of unit size agree to a few 1/256.
    np.testing.assert_allclose(module(x, x).astype(jnp.float32), exact, atol=0.03)
