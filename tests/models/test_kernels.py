"""The kernels of TPU and GPU against the textbook form, without either.

The TPU's run in Pallas' interpreter, in which rows that no array has are NaN. cuDNN's
is replaced by jax's own attention, over the same padded arrays.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.pallas import tpu as pltpu

from unires_jax import mesh as mesh_lib
from unires_jax.config import MeshConfig
from unires_jax.models import fast, gpu, plain, tpu
from unires_jax.models.forms import CPU, FAST, GPU, TPU, for_platform, forms

Attend = Callable[..., jax.Array]  # of queries, keys, values, mask, bias, groups

# Absolute and relative, of values and gradients around 1; bfloat16 keeps 8 bits. The
# gradient of a bias sums over all patches, and is held to five times as much.
TOLERANCE = {"float32": 2e-6, "bfloat16": 2e-2}


@pytest.fixture
def interpreted(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """TPU kernels run here, in small blocks; memory that nobody wrote holds NaN."""
    monkeypatch.setattr(tpu, "ROWS", 16)
    monkeypatch.setattr(tpu, "SHORTEST", 16)
    with pltpu.force_tpu_interpret_mode():
        yield


def _random(*shape: int, seed: int = 0) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def _inputs(b: int, h: int, l: int, c: int) -> list[jax.Array]:  # noqa: E741
    return [*(_random(b, h, l, c, seed=i) for i in range(3)), 3 * _random(h, seed=3)]


def _value_and_gradients(attend: Attend, inputs: Any, groups: int, dtype: Any) -> Any:
    """Of a sum that weighs every output differently; computed in `dtype`."""
    weights = _random(*inputs[0].shape, seed=9)

    def total(q: Any, k: Any, v: Any, bias: Any) -> Any:
        qkv = (x.astype(dtype) for x in (q, k, v))
        out = attend(*qkv, None, bias if groups else None, groups)
        return (out.astype(jnp.float32) * weights).sum(), out

    gradient = jax.grad(total, argnums=(0, 1, 2, 3), has_aux=True)
    return jax.jit(gradient)(*inputs)


def _assert_plain(attend: Attend, inputs: Any, groups: int, dtype: str) -> None:
    rounded = [x.astype(dtype).astype(jnp.float32) for x in inputs]
    got = _value_and_gradients(attend, rounded, groups, dtype)
    expected = _value_and_gradients(plain.attend, rounded, groups, "float32")
    (*gradients, of_bias), out = got
    (*plain_gradients, plain_of_bias), plain_out = expected
    _assert_close([out, *gradients], [plain_out, *plain_gradients], TOLERANCE[dtype])
    _assert_close(of_bias, plain_of_bias, 5 * TOLERANCE[dtype])


def _assert_close(got: Any, expected: Any, limit: float = TOLERANCE["float32"]) -> None:
    close = partial(np.testing.assert_allclose, rtol=limit, atol=limit)
    jax.tree.map(close, got, expected)


def _never(*_: Any) -> jax.Array:
    raise AssertionError("the kernel was to take this")


@pytest.mark.parametrize(
    ("shape", "groups", "dtype"),
    [
        ((2, 2, 41, 64), 8, "float32"),  # CLIP's and SigLIP's heads, an odd end
        ((1, 2, 41, 64), 8, "bfloat16"),
        ((1, 4, 32, 32), 0, "float32"),  # the mixer's heads, whole blocks
        ((1, 1, 17, 72), 5, "float32"),  # SigLIP So400m's heads
    ],
)
@pytest.mark.usefixtures("interpreted")
def test_the_tpu_kernel_is_the_plain_attention(
    shape: tuple[int, ...], groups: int, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fast, "attend", _never)
    _assert_plain(tpu.attend, _inputs(*shape), groups, dtype)


@pytest.mark.usefixtures("interpreted")
def test_the_tpu_kernel_hides_groups_at_minus_infinity() -> None:
    x = _random(1, 2, 30, 64)
    inputs = [x, x, x, jnp.array([-np.inf, 0.5])]
    gradients, got = _value_and_gradients(tpu.attend, inputs, 6, "float32")
    _assert_close(got[:, :1, :24], plain.attend(*[x[:, :1, :24]] * 3))
    assert all(np.isfinite(x).all() for x in gradients)
    assert gradients[3][0] == 0 and gradients[3][1] != 0


@pytest.mark.parametrize(
    ("shape", "groups", "dtype"),
    [
        ((2, 2, 41, 64), 8, "float32"),
        ((1, 2, 41, 64), 8, "bfloat16"),
        ((1, 2, 40, 64), 8, "float32"),
        ((1, 4, 41, 32), 0, "float32"),
    ],
)
def test_what_cudnn_is_given_is_the_plain_attention(
    shape: tuple[int, ...], groups: int, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = []

    def attention(*arrays: jax.Array, **options: Any) -> jax.Array:
        given.extend(arrays)
        return original(*arrays, **options)

    original = jax.nn.dot_product_attention
    monkeypatch.setattr(jax.nn, "dot_product_attention", attention)

    def attend(q: Any, k: Any, v: Any, _: None, bias: Any, groups: int) -> jax.Array:
        return gpu.attend_by("xla", q, k, v, bias, groups)

    _assert_plain(attend, _inputs(*shape), groups, dtype)
    assert given and all(x.shape[1] % 2 == 0 == x.shape[3] % 8 for x in given)


def test_cross_attention_by_cudnn_is_the_plain_one() -> None:
    q, k, v = _random(1, 2, 9, 8), _random(1, 2, 5, 8, seed=1), _random(1, 2, 5, 8)
    got = gpu.attend_by("xla", q, k, v)
    _assert_close(got, plain.attend(q, k, v))


@pytest.mark.parametrize("form", [TPU, GPU])
def test_what_a_kernel_does_not_take_is_done_by_the_fast_form(form: Any) -> None:
    q, k, v, bias = _inputs(1, 2, 12, 8)
    mask = _random(1, 12, 12) > -1
    arguments = (q, k, v, mask, bias, 3)
    got, expected = form.attend(*arguments), fast.attend(*arguments)
    np.testing.assert_array_equal(got, expected)
    long = [_random(1, 3, 260, 64)] * 3  # of three heads no two vectors are made
    np.testing.assert_array_equal(form.attend(*long), fast.attend(*long))


@pytest.mark.usefixtures("interpreted")
def test_each_device_runs_the_tpu_kernel_on_its_own_pictures() -> None:
    mesh = mesh_lib.make_mesh(MeshConfig(fsdp=4))
    split, whole = mesh_lib.batch_sharding(mesh), mesh_lib.replicated(mesh)
    *qkv, bias = _inputs(8, 2, 32, 64)
    inputs = [*(jax.device_put(x, split) for x in qkv), jax.device_put(bias, whole)]

    def total(*inputs: Any) -> Any:
        out = tpu.attend(*inputs[:3], None, inputs[3], 6)
        return out.sum(), out

    step = jax.jit(jax.grad(total, argnums=(0, 1, 2, 3), has_aux=True))
    with jax.set_mesh(mesh):
        program = step.lower(*inputs).compile()
    *gradients, of_bias = program.output_shardings[0]
    for sharding in (*gradients, program.output_shardings[1]):
        assert sharding.is_equivalent_to(split, 4)
    assert of_bias.is_equivalent_to(whole, 1)
    assert "all-gather" not in program.as_text()


def test_every_platform_has_its_forms() -> None:
    assert for_platform("cpu") is forms() is CPU
    assert for_platform("else") is FAST
    assert for_platform("tpu") is TPU
    assert for_platform("gpu") is for_platform("cuda") is GPU
