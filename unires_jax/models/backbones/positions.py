"""A table of positions for images of one side, on the grid of another.

Bicubic as PyTorch's interpolate: a = -0.75, align_corners off, no antialias.
"""

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float


def resize_positions(
    table: Float[np.ndarray, "m d"], side: int, prefix: int
) -> Float[np.ndarray, "n d"]:
    """A table [prefix + s*s, d] on a grid of `side` x `side`, its first rows untouched.

    On the host, in float64. A table of no square grid comes back as it is.
    """
    old = round(max(len(table) - prefix, 0) ** 0.5)
    if old in (0, side) or old**2 != len(table) - prefix:
        return table
    weights = _cubic_matrix(old, side)
    grid = table[prefix:].reshape(old, old, -1).astype(np.float64)
    grid = np.einsum("yi,xj,ijd->yxd", weights, weights, grid, optimize=True)
    grid = grid.reshape(side * side, -1).astype(table.dtype)
    return np.concatenate([table[:prefix], grid])


def positions_at(
    table: Float[Array, "m d"], side: int, prefix: int
) -> Float[Array, "n d"]:
    """As `resize_positions`, of a parameter, within a program and in its dtype."""
    old = round((len(table) - prefix) ** 0.5)
    if old == side:
        return table
    weights = jnp.asarray(_cubic_matrix(old, side), table.dtype)
    grid = table[prefix:].reshape(old, old, -1)
    grid = jnp.einsum("yi,ijd->yjd", weights, grid)
    grid = jnp.einsum("xj,yjd->yxd", weights, grid)
    return jnp.concatenate([table[:prefix], grid.reshape(side * side, -1)])


def _cubic_matrix(old: int, new: int) -> Float[np.ndarray, "new old"]:
    """Row i: what each of the `old` samples weighs in sample i of the `new`."""
    at = (np.arange(new) + 0.5) * old / new - 0.5
    first = np.floor(at).astype(int) - 1
    matrix = np.zeros((new, old))
    for tap in range(4):  # four neighbours; those outside repeat the border sample
        index = np.clip(first + tap, 0, old - 1)
        np.add.at(matrix, (np.arange(new), index), _cubic(at - first - tap))
    return matrix


def _cubic(x: Float[np.ndarray, "n"], a: float = -0.75) -> Float[np.ndarray, "n"]:
    x = np.abs(x)
    near = ((a + 2) * x - (a + 3)) * x**2 + 1
    far = a * (((x - 5) * x + 8) * x - 4)
    return np.where(x <= 1, near, np.where(x < 2, far, 0))
