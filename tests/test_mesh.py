"""What is sharded, and how a batch reaches the devices."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from unires_jax import mesh as mesh_lib
from unires_jax.config import MeshConfig
from unires_jax.errors import ConfigError


def test_the_mesh_takes_all_devices() -> None:
    assert mesh_lib.make_mesh(MeshConfig()).shape == {"data": 8, "fsdp": 1}
    assert mesh_lib.make_mesh(MeshConfig(fsdp=4)).shape == {"data": 2, "fsdp": 4}
    assert mesh_lib.make_mesh(MeshConfig(fsdp=-1)).shape == {"data": 1, "fsdp": 8}
    # What is meant for a slice is right on a smaller machine too.
    assert mesh_lib.make_mesh(MeshConfig(fsdp=16)).shape == {"data": 1, "fsdp": 8}


def test_a_wide_mesh_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mesh_lib.make_mesh(MeshConfig(fsdp=8))
    monkeypatch.setattr(mesh_lib, "WIDEST", 4)
    with pytest.warns(UserWarning, match=r"fsdp=-1 .* 8 devices.*fsdp=4"):
        mesh_lib.make_mesh(MeshConfig(fsdp=-1))


def test_fsdp_must_divide_the_devices() -> None:
    with pytest.raises(ConfigError, match=r"fsdp=3.*8 devices"):
        mesh_lib.make_mesh(MeshConfig(fsdp=3))


@pytest.mark.parametrize(
    ("shape", "spec"),
    [
        ((512, 64), P("fsdp", None)),
        ((64, 512), P("fsdp", None)),  # rows, though there are more columns
        ((511, 64), P(None, "fsdp")),  # the first that divides
        ((2048, 64), P(None, "fsdp")),  # a table, by columns
        ((2048, 63), P("fsdp", None)),  # or as it divides
        ((511, 63), P()),
        ((8, 8), P()),  # too small to be worth it
    ],
)
def test_one_axis_that_divides_is_split(shape: tuple[int, ...], spec: P) -> None:
    mesh = mesh_lib.make_mesh(MeshConfig(fsdp=8))
    assert mesh_lib.shard_one_axis(shape, mesh) == spec


def test_without_fsdp_everything_is_whole() -> None:
    mesh = mesh_lib.make_mesh(MeshConfig())
    assert mesh_lib.shard_one_axis((512, 64), mesh) == P()


def test_feed_splits_rows_over_all_devices() -> None:
    mesh = mesh_lib.make_mesh(MeshConfig(fsdp=2))
    rows = np.arange(32).reshape(16, 2)
    fed = mesh_lib.feed({"x": rows}, mesh)["x"]
    np.testing.assert_array_equal(fed, rows)
    assert {s.data.shape for s in fed.addressable_shards} == {(2, 2)}


def test_constrain_batch_needs_a_mesh_and_a_divisible_axis() -> None:
    mesh = mesh_lib.make_mesh(MeshConfig())
    x = jnp.zeros((16, 4))
    assert mesh_lib.constrain_batch(x) is x
    with jax.set_mesh(mesh):
        split = jax.jit(lambda: mesh_lib.constrain_batch(jnp.zeros((16, 4))))()
        odd = jax.jit(lambda: mesh_lib.constrain_batch(jnp.zeros((3, 4))))()
    assert {s.data.shape for s in split.addressable_shards} == {(2, 4)}
    assert odd.shape == (3, 4)


@pytest.mark.parametrize(
    ("fsdp", "rows", "sentences"),
    [(4, 512, 16), (8, 510, 8), (1, 512, 8), (4, 250, 8), (4, 256, 8), (4, 512, 9)],
)
def test_rows_are_looked_up_as_on_one_device(
    fsdp: int, rows: int, sentences: int
) -> None:
    """Whether the table is split by columns, by rows or not, or the ids do not divide.

    The gradient too, in which a row that is asked for twice sums.
    """
    mesh = mesh_lib.make_mesh(MeshConfig(fsdp=fsdp))
    rng = np.random.default_rng(0)
    table = rng.normal(size=(rows, 16)).astype(np.float32)
    ids = rng.integers(0, rows, (sentences, 5), dtype=np.int32)
    ids[0] = [0, rows - 1, 7, 7, 7]
    weights = rng.normal(size=(*ids.shape, 16)).astype(np.float32)

    def total(table: jax.Array, ids: jax.Array) -> jax.Array:
        return (mesh_lib.look_up(table, ids, jnp.float32) * weights).sum()

    expected = jax.grad(lambda t: (t[ids] * weights).sum())(table)
    split = mesh_lib.shard_like_parameters(jnp.asarray(table), mesh)
    held = jax.device_put(table, split)
    with jax.set_mesh(mesh):
        read = jax.jit(lambda t, i: mesh_lib.look_up(t, i, jnp.float32))(held, ids)
        grad = jax.jit(jax.grad(total), out_shardings=split)(held, ids)
    np.testing.assert_array_equal(read, table[ids])
    np.testing.assert_allclose(grad, expected, rtol=1e-5, atol=1e-6)
    assert grad.sharding == split


def test_what_is_gathered_in_blocks_is_said_inside_only() -> None:
    assert not mesh_lib.gathers_in_blocks()
    with mesh_lib.gathering_in_blocks(True):
        assert mesh_lib.gathers_in_blocks()
    assert not mesh_lib.gathers_in_blocks()
