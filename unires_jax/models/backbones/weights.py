"""The rows of a weight table: which tensor of a file fills which parameter, and how.

Host arrays only.
"""

from collections.abc import Callable

import numpy as np

from unires_jax.models.backbones.positions import resize_positions

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
