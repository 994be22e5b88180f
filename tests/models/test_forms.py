"""Plain and fast operations: their definitions in float64, and each other."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from unires_jax.export import onnx_graphs
from unires_jax.models import plain
from unires_jax.models.forms import CPU, FAST, PLAIN, Forms, forms, use

each_form = pytest.mark.parametrize(
    "form", [PLAIN, FAST, onnx_graphs.FORMS], ids=["plain", "fast", "onnx"]
)


def _random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def _attend(
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    mask: np.ndarray | None = None,
    group_bias: np.ndarray | None = None,
    groups: int = 0,
) -> np.ndarray:
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
        shares = np.exp(logits - logits.max())
        out[b, h, i] = shares / shares.sum() @ v[b, h]
    return out


@each_form
def test_attention_is_softmax_of_scaled_products(form: Forms) -> None:
    q, k, v = _random(2, 3, 5, 4), _random(2, 3, 7, 4, seed=1), _random(2, 3, 7, 4)
    got = form.attend(*map(jnp.asarray, (q, k, v)))
    np.testing.assert_allclose(got, _attend(q, k, v), atol=1e-6)


@each_form
@pytest.mark.parametrize("shape", [(2, 1, 7), (1, 5, 7), (2, 5, 7)])
def test_masked_keys_weigh_nothing(form: Forms, shape: tuple[int, ...]) -> None:
    q, k, v = _random(2, 3, 5, 4), _random(2, 3, 7, 4, seed=1), _random(2, 3, 7, 4)
    mask = _random(*shape, seed=2) > 0
    mask[..., 0] = True
    got = form.attend(*map(jnp.asarray, (q, k, v, mask)))
    np.testing.assert_allclose(got, _attend(q, k, v, mask), atol=1e-6)


@each_form
def test_query_without_keys_gets_the_mean_value(form: Forms) -> None:
    q, k, v = _random(1, 1, 2, 4), _random(1, 1, 3, 4), _random(1, 1, 3, 4)
    mask = jnp.zeros((1, 1, 3), bool)
    got = form.attend(*map(jnp.asarray, (q, k, v)), mask)
    np.testing.assert_allclose(got[0, 0], np.tile(v.mean(2)[0, 0], (2, 1)), 1e-5)


@each_form
def test_group_bias_acts_from_patch_queries_on_group_keys_only(form: Forms) -> None:
    x = _random(2, 3, 6, 4)
    bias = np.array([-1.0, 0.5, 2.0], np.float32)
    got = form.attend(*[jnp.asarray(x)] * 3, group_bias=jnp.asarray(bias), groups=2)
    expected = _attend(x, x, x, group_bias=bias, groups=2)
    np.testing.assert_allclose(got, expected, atol=1e-6)


@each_form
def test_group_bias_of_minus_infinity_hides_the_groups(form: Forms) -> None:
    x, bias = jnp.asarray(_random(1, 2, 6, 4)), jnp.full(2, -jnp.inf)
    got = form.attend(x, x, x, group_bias=bias, groups=2)
    alone = form.attend(*[x[:, :, :4]] * 3)
    np.testing.assert_array_equal(got[:, :, :4], alone)


def test_attention_weights_are_what_attention_takes() -> None:
    q, k = _random(2, 3, 5, 4), _random(2, 3, 7, 4, seed=1)
    v = np.broadcast_to(np.eye(7, dtype=np.float32), (2, 3, 7, 7))
    mask = _random(2, 5, 7, seed=2) > 0
    mask[..., 0] = True
    got = plain.attention_weights(*map(jnp.asarray, (q, k, mask)))
    padded = [np.pad(x, ((0, 0),) * 3 + ((0, 3),)) for x in (q, k)]
    padded[0] *= np.sqrt(7 / 4)  # the padding changes no product, but the scale
    np.testing.assert_allclose(got, _attend(*padded, v, mask), atol=1e-6)


@each_form
def test_layer_norm_is_its_definition(form: Forms) -> None:
    x = 3 + 5 * _random(4, 6, 32)
    scale, bias = _random(32, seed=1), _random(32, seed=2)
    got = form.layer_norm(*map(jnp.asarray, (x, scale, bias)), 1e-5)
    centred = x - x.mean(-1, keepdims=True)
    expected = centred / np.sqrt(x.var(-1, keepdims=True) + 1e-5) * scale + bias
    np.testing.assert_allclose(got, expected, atol=2e-6)


@each_form
@pytest.mark.parametrize("biased", [True, False])
def test_dense_is_its_definition(form: Forms, biased: bool) -> None:
    x, kernel, bias = _random(3, 5, 6), _random(6, 9, seed=1), _random(9, seed=2)
    got = form.dense(*map(jnp.asarray, (x, kernel)), jnp.asarray(bias * biased))
    expected = x.astype(np.float64) @ kernel + bias * biased
    np.testing.assert_allclose(got, expected, atol=1e-5)
    if not biased:
        none = form.dense(jnp.asarray(x), jnp.asarray(kernel), None)
        np.testing.assert_array_equal(none, got)


@each_form
def test_quick_gelu_is_its_definition(form: Forms) -> None:
    x = np.linspace(-12, 12, 4001, dtype=np.float32)
    expected = x / (1 + np.exp(-1.702 * x.astype(np.float64)))
    # tanh saturates below -9.1, where the exact value is still -1e-6.
    np.testing.assert_allclose(form.quick_gelu(jnp.asarray(x)), expected, atol=2e-6)


@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_gelus_are_their_definitions(approximate: str) -> None:
    torch = pytest.importorskip("torch")
    x = np.linspace(-12, 12, 4001, dtype=np.float32)
    exact = torch.nn.functional.gelu(
        torch.tensor(x, dtype=torch.float64), approximate=approximate
    )
    function = {"none": plain.gelu, "tanh": plain.gelu_tanh}[approximate]
    np.testing.assert_allclose(function(jnp.asarray(x)), exact.numpy(), atol=2e-6)


def _gradients(function: Callable[..., Any], *arguments: Any) -> Any:
    """Of a sum that weighs every output differently."""

    def total(arguments: Any) -> Any:
        y = function(*arguments)
        return (y * jnp.cos(jnp.arange(y.size, dtype=y.dtype)).reshape(y.shape)).sum()

    return jax.jit(jax.grad(total))(arguments)


def _assert_forms_agree(operation: Callable[[Forms], Any], *arguments: Any) -> None:
    """Values within 1e-5, gradients within 1e-4 and 1e-5, of values of some units."""
    arguments = jax.tree.map(jnp.asarray, arguments)
    values = [operation(form)(*arguments) for form in (FAST, PLAIN)]
    np.testing.assert_allclose(*values, rtol=1e-5, atol=1e-5)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
        *[_gradients(operation(form), *arguments) for form in (FAST, PLAIN)],
    )


@pytest.mark.parametrize("lead", [(7,), (3, 5), (2, 3, 4)])
@pytest.mark.parametrize("biased", [True, False])
def test_fast_dense_is_the_plain_one(lead: tuple[int, ...], biased: bool) -> None:
    bias = _random(9, seed=2) if biased else None
    x, kernel = _random(*lead, 6), _random(6, 9, seed=1)
    _assert_forms_agree(lambda form: form.dense, x, kernel, bias)


@pytest.mark.parametrize("lead", [(7,), (3, 5), (2, 3, 4)])
def test_fast_layer_norm_is_the_plain_one(lead: tuple[int, ...]) -> None:
    _assert_forms_agree(
        lambda form: lambda x, scale, bias: form.layer_norm(x, scale, bias, 1e-5),
        2 + 3 * _random(*lead, 6),
        _random(6, seed=1),
        _random(6, seed=2),
    )


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("groups", [0, 2])
def test_fast_attention_is_the_plain_one(masked: bool, groups: int) -> None:
    q, k, v = (_random(2, 3, 6, 4, seed=seed) for seed in range(3))
    mask = jnp.asarray(_random(2, 6, 6, seed=3) > -1) if masked else None
    if not groups:
        attend = lambda form: lambda *qkv: form.attend(*qkv, mask)  # noqa: E731
        _assert_forms_agree(attend, q, k, v)
        return
    bias = np.array([-1.0, 0.5, 2.0], np.float32)
    _assert_forms_agree(
        lambda form: lambda q, k, v, bias: form.attend(q, k, v, mask, bias, groups),
        *(q, k, v, bias),
    )


def test_fast_quick_gelu_is_the_plain_one() -> None:
    _assert_forms_agree(lambda form: form.quick_gelu, 4 * _random(50))


@each_form
def test_bias_of_minus_infinity_has_finite_gradients(form: Forms) -> None:
    x = jnp.asarray(_random(1, 2, 6, 4))
    bias = jnp.array([-np.inf, 0.5])
    got = _gradients(lambda x, b: form.attend(x, x, x, None, b, 2), x, bias)
    assert all(np.isfinite(g).all() for g in got)
    assert got[1][0] == 0 and got[1][1] != 0


def test_forms_are_the_fast_ones_but_where_others_are_used() -> None:
    assert forms() is CPU
    with use(PLAIN):
        assert forms() is PLAIN
        with use(onnx_graphs.FORMS):
            assert forms() is onnx_graphs.FORMS
        assert forms() is PLAIN
    with pytest.raises(KeyError), use(PLAIN):
        raise KeyError
    assert forms() is CPU
