"""The rows of a weight table: which tensor of a file fills which parameter, and how.

Host arrays only.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

# Takes a tensor and the shape wanted of it. What it cannot bring into that shape it
# leaves in another, which is then reported.
Transform = Callable[[np.ndarray, tuple[int, ...]], np.ndarray]
Rule = tuple[str, str, Transform]  # pattern of a whole name, our dotted name, transform


def keep(x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The tensor as it is."""
    return x


def transpose(x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A linear layer's weight [o, i] as a kernel [i, o]."""
    return x.T


def patch_kernel(x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The kernel [p*p*3, d] of flat patches, from a convolution's [d, 3, p, p].

    Or from a linear layer's [d, p*p*3], which reads patches in our order.
    """
    return x.transpose(2, 3, 1, 0).reshape(-1, x.shape[0]) if x.ndim == 4 else x.T


def grid_positions(prefix: int) -> Transform:
    """A position table, interpolated to another grid but for its first rows."""

    def resized(x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        side = round((shape[0] - prefix) ** 0.5)
        return resize_positions(x, side, prefix) if x.ndim == 2 else x

    return resized


def resize_positions(
    table: Float[np.ndarray, "m d"], side: int, prefix: int
) -> Float[np.ndarray, "n d"]:
    """A table [prefix + s*s, d] on a grid of `side` x `side`, its first rows untouched.

    Bicubic as PyTorch's interpolate: a = -0.75, align_corners off, no antialias. A
    table of no square grid comes back as it is.
    """
    old = round(max(len(table) - prefix, 0) ** 0.5)
    if old in (0, side) or old**2 != len(table) - prefix:
        return table
    weights = _cubic_matrix(old, side)
    grid = table[prefix:].reshape(old, old, -1).astype(np.float64)
    grid = np.einsum("yi,xj,ijd->yxd", weights, weights, grid, optimize=True)
    grid = grid.reshape(side * side, -1).astype(table.dtype)
    return np.concatenate([table[:prefix], grid])


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


def first_rows(x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """As many rows as wanted: positions of a shorter context."""
    return x[: shape[0]]


def norm(source: str, target: str) -> list[Rule]:
    """Both tensors of a layer norm."""
    return [
        (source + r"\.weight", target + ".scale", keep),
        (source + r"\.bias", target + ".bias", keep),
    ]


def dense(source: str, target: str) -> list[Rule]:
    """Both tensors of a linear layer."""
    return [
        (source + r"\.weight", target + ".kernel", transpose),
        (source + r"\.bias", target + ".bias", keep),
    ]


_IMAGE = r"vision_model\.embeddings\."
_WORDS = r"text_model\.embeddings\."
_LAYER = r"(vision|text)_model\.encoder\.layers\.(\d+)\."


def two_towers(prefix: int) -> list[Rule]:
    """What transformers names alike in its models of two towers.

    `prefix` as in `ImageTower`.
    """
    return [
        (
            _IMAGE + r"patch_embedding\.weight",
            "vision.patch_embed.kernel",
            patch_kernel,
        ),
        (_IMAGE + r"patch_embedding\.bias", "vision.patch_embed.bias", keep),
        (
            _IMAGE + r"position_embedding\.weight",
            "vision.positions",
            grid_positions(prefix),
        ),
        *norm(r"vision_model\.post_layernorm", "vision.ln_post"),
        (_WORDS + r"token_embedding\.weight", "text.embedding", keep),
        (_WORDS + r"position_embedding\.weight", "text.positions", first_rows),
        *norm(r"text_model\.final_layer_norm", "text.ln_final"),
        *norm(_LAYER + r"layer_norm([12])", r"\1.blocks.\2.ln\3"),
        *dense(_LAYER + r"self_attn\.q_proj", r"\1.blocks.\2.attention.query"),
        *dense(_LAYER + r"self_attn\.k_proj", r"\1.blocks.\2.attention.key"),
        *dense(_LAYER + r"self_attn\.v_proj", r"\1.blocks.\2.attention.value"),
        *dense(_LAYER + r"self_attn\.out_proj", r"\1.blocks.\2.attention.out"),
        *dense(_LAYER + r"mlp\.fc1", r"\1.blocks.\2.mlp.up"),
        *dense(_LAYER + r"mlp\.fc2", r"\1.blocks.\2.mlp.down"),
    ]
