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
    for b, h, i in np.ndindex(*q.shape[:3]):
        logits = k[b, h] @ q[b, h, i] / np.sqrt(q.shape[-1])
        if group_bias is not None and i < q.shape[2] - groups:
            logits[len(logits) - groups :] += group_bias[h]
        if mask is not None:
            row = mask[b % len(mask), i % mask.shape[1]]
            logits = np.where(row, logits, -np.inf)
        out[b, h, i] = _softmax(logits) @ v[b, h]
    return out


def test_attention_is_softmax_of_scaled_products():
    q, k, v = _random(2, 3, 5, 4), _random(2, 3, 7, 4, seed=1), _random(2, 3, 7, 4)
    np.testing.assert_allclose(
        layers.attend(*map(jnp.asarray, (q, k, v))), _attend(q, k, v), atol=1e-6
    )


@pytest.mark.parametrize("shape", [(2, 1, 7), (1, 5, 7), (2, 5, 7)])
def test_masked_keys_weigh_nothing(shape):
    q, k, v = _random(2, 3, 5, 4), _random(2, 3, 7, 4, seed=1), _random(2, 3, 7, 4)
    mask = _random(*shape, seed=2) > 0
    mask[..., 0] = True
    got = layers.attend(*map(jnp.asarray, (q, k, v, mask)))
    np.testing.assert_allclose(got, _attend(q, k, v, mask), atol=1e-6)


def test_query_without_keys_gets_the_mean_value():
    q, k, v = _random(1, 1, 2, 4), _random(1, 1, 3, 4), _random(1, 1, 3, 4)
    mask = jnp.zeros((1, 1, 3), bool)
    got = layers.attend(*map(jnp.asarray, (q, k, v)), mask)
    np.testing.assert_allclose(got[0, 0], np.tile(v.mean(2)[0, 0], (2, 1)), 1e-5)


def test_group_bias_acts_from_patch_queries_on_group_keys_only():
    x = _random(2, 3, 6, 4)
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
    heads = [x.reshape(2, -1, 2, 4).swapaxes(1, 2) for x in project.values()]
    expected = _attend(*heads).swapaxes(1, 2).reshape(2, 5, 8)
    expected = expected @ np.asarray(module.out.kernel[...])
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


def _gradients(function, *arguments):
    """Of a sum that weighs every output differently."""

    def total(arguments):
        y = function(*arguments)
        return (y * jnp.cos(jnp.arange(y.size, dtype=y.dtype)).reshape(y.shape)).sum()

    return jax.jit(jax.grad(total))(arguments)


def _assert_same(got, expected):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
        got,
        expected,
    )


@pytest.mark.parametrize("lead", [(7,), (3, 5), (2, 3, 4)])
@pytest.mark.parametrize("biased", [True, False])
def test_dense_gradient_is_that_of_the_plain_form(lead, biased):
    x, kernel = _random(*lead, 6), _random(6, 9, seed=1)
    bias = _random(9, seed=2) if biased else None
    plain = lambda x, w, b: x @ w if b is None else x @ w + b  # noqa: E731
    arguments = jax.tree.map(jnp.asarray, (x, kernel, bias))
    _assert_same(_gradients(layers.dense, *arguments), _gradients(plain, *arguments))


@pytest.mark.parametrize("lead", [(7,), (3, 5), (2, 3, 4)])
def test_layer_norm_gradient_is_that_of_the_plain_form(lead):
    def plain(x, scale, bias):
        centred = x - x.mean(-1, keepdims=True)
        variance = jnp.square(centred).mean(-1, keepdims=True)
        return centred / jnp.sqrt(variance + 1e-5) * scale + bias

    x = 2 + 3 * _random(*lead, 6)
    arguments = [jnp.asarray(a) for a in (x, _random(6, seed=1), _random(6, seed=2))]
    norm = lambda x, s, b: layers.layer_norm(x, s, b, 1e-5)  # noqa: E731
    _assert_same(_gradients(norm, *arguments), _gradients(plain, *arguments))


def test_bias_of_minus_infinity_has_finite_gradients():
    x = jnp.asarray(_random(1, 2, 6, 4))
    bias = jnp.array([-np.inf, 0.5])
    got = _gradients(lambda x, b: layers.attend(x, x, x, None, b, 2), x, bias)
    assert all(np.isfinite(g).all() for g in got)
    assert got[1][0] == 0 and got[1][1] != 0


def test_gradients_are_the_same_on_a_batch_split_over_devices():
    block = layers.FeedForward(16, 32, activation="quick_gelu", rngs=nnx.Rngs(0))
    attention = layers.Attention(16, 4, rngs=nnx.Rngs(1))
    norm = layers.LayerNorm(16, rngs=nnx.Rngs(2))
    graph, state = nnx.split((block, attention, norm))

    def run(state, x, bias):
        block, attention, norm = nnx.merge(graph, state)
        y = norm(x)
        x = x + attention(y, y, group_bias=bias, groups=3)
        return block(norm(x))

    state = nnx.to_pure_dict(state)
    x, bias = jnp.asarray(_random(8, 12, 16)), jnp.asarray(_random(4))
    whole = _gradients(run, state, x, bias)
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    spec = jax.sharding.PartitionSpec("data")
    split = jax.device_put(x, jax.sharding.NamedSharding(mesh, spec))
    _assert_same(_gradients(run, state, split, bias), whole)


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


@pytest.mark.parametrize("groups", [0, 2])
def test_plain_form_gives_the_same(groups):
    """Every layer of a block, for exporters: 1e-5 of values of some units."""
    x, mask = jnp.asarray(_random(2, 6, 8)), jnp.asarray(_random(2, 6, 6) > -1)
    rngs = nnx.Rngs(0)
    norm, mix = layers.LayerNorm(8, rngs=rngs), layers.Attention(8, 2, rngs=rngs)
    mlp = layers.FeedForward(8, 16, rngs=rngs)
    norm.scale[...] = jnp.asarray(_random(8, seed=3))
    bias = jnp.array([0.5, -2.0]) if groups else None

    def run():
        y = norm(x)
        return mlp(mix(y, y, mask=mask, group_bias=bias, groups=groups))

    fast = run()
    with layers.plain_form():
        plain = run()
        text = str(jax.make_jaxpr(lambda: norm(x))())
    assert "custom_vjp" not in text
    assert "custom_vjp" in str(jax.make_jaxpr(lambda: norm(x))())
    np.testing.assert_allclose(plain, fast, rtol=1e-5, atol=1e-5)
