"""CLIP weights from Hugging Face safetensors into our towers. Host arrays only.

Reads a folder (`config.json` beside `model.safetensors`, or shards with their index),
a single file, or a hub id. The import is strict: every tensor of the file is placed, or
named below as not ours, and every parameter of the towers is filled.
"""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from safetensors import SafetensorError, safe_open

from unires_jax import parameters
from unires_jax.config import TextConfig, VisionConfig
from unires_jax.errors import WeightsError
from unires_jax.models.layers import ACTIVATIONS

Tree = dict[Any, Any]  # nested dicts of arrays, or of anything with a shape
Transform = Callable[[np.ndarray, tuple[int, ...]], np.ndarray]


def read_clip_config(path: str) -> tuple[VisionConfig, TextConfig]:
    """Tower sizes and activations from the checkpoint's config.json.

    Fields absent there take transformers' defaults, which are those of ViT-B/32.
    `eos_token_id` is not read: OpenAI's files carry a wrong one (2), and EOS is found
    by length. Raises WeightsError when the file is missing or is not CLIP's.
    """
    file = _local(path)
    file = (file if file.is_dir() else file.parent) / "config.json"
    try:
        config = json.loads(file.read_text())
        vision, text = config["vision_config"], config["text_config"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(
            f"{file}: expected the config.json of a CLIPModel with vision_config and "
            f"text_config ({error!r}). Take it from the repository of the weights."
        ) from error
    _check_towers(file, vision, text)
    return (
        VisionConfig(patch=vision.get("patch_size", 32), **_sizes(vision, 768, 12)),
        TextConfig(
            vocab=text.get("vocab_size", 49408),
            context=text.get("max_position_embeddings", 77),
            **_sizes(text, 512, 8),
        ),
    )


def _sizes(tower: dict[str, Any], width: int, heads: int) -> dict[str, Any]:
    return {
        "width": tower.get("hidden_size", width),
        "depth": tower.get("num_hidden_layers", 12),
        "heads": tower.get("num_attention_heads", heads),
        "mlp": tower.get("intermediate_size", 4 * width),
        "activation": tower.get("hidden_act", "quick_gelu"),
    }


def _check_towers(file: Path, *towers: dict[str, Any]) -> None:
    for tower in towers:
        activation = tower.get("hidden_act", "quick_gelu")
        eps = tower.get("layer_norm_eps", 1e-5)
        if activation not in ACTIVATIONS or not np.isclose(eps, 1e-5):
            raise WeightsError(
                f"{file}: hidden_act={activation!r}, layer_norm_eps={eps}; this "
                f"implementation has {sorted(ACTIVATIONS)} and 1e-5."
            )


def load_clip(path: str, vision: Tree, text: Tree) -> tuple[Tree, Tree]:
    """Parameter trees of both towers, float32 numpy arrays.

    `vision` and `text` are the pure dicts of the towers' parameters, concrete or
    abstract: they say which shapes are wanted. The position table of the image tower is
    interpolated to the grid asked for, that of the text tower cut to its context.
    Raises WeightsError listing every unmatched, missing or misshapen tensor.
    """
    towers = {"vision": vision, "text": text}
    shapes = {name: leaf.shape for name, leaf in parameters.flatten(towers).items()}
    placed, faults = _place(_tensors(_local(path)), shapes)
    faults += [f"missing: {name} {shapes[name]}" for name in shapes.keys() - placed]
    if faults:
        raise WeightsError(
            f"{path}: these CLIP weights do not fit the model; compare its config.json "
            "with model.vision and model.text:\n  " + "\n  ".join(sorted(faults))
        )
    filled = parameters.unflatten(placed, towers)
    return filled["vision"], filled["text"]


def resize_positions(table: Float[np.ndarray, "m d"], side: int) -> np.ndarray:
    """A position table [1 + s*s, d] on a grid of `side` x `side`, CLS untouched.

    Bicubic as PyTorch's interpolate: a = -0.75, align_corners off, no antialias.
    """
    old = round((len(table) - 1) ** 0.5)
    if old == side:
        return table
    weights = _cubic_matrix(old, side)
    grid = table[1:].reshape(old, old, -1).astype(np.float64)
    grid = np.einsum("yi,xj,ijd->yxd", weights, weights, grid, optimize=True)
    grid = grid.reshape(side * side, -1).astype(table.dtype)
    return np.concatenate([table[:1], grid])


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


def _keep(x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return x


def _kernel(x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return x.T


def _patch_kernel(x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A convolution kernel [d, 3, p, p] as the dense one on patches, [p*p*3, d]."""
    return x.transpose(2, 3, 1, 0).reshape(-1, x.shape[0]) if x.ndim == 4 else x


def _grid_positions(x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    square = x.ndim == 2 and round((len(x) - 1) ** 0.5) ** 2 == len(x) - 1 > 0
    return resize_positions(x, round((shape[0] - 1) ** 0.5)) if square else x


def _cut_positions(x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return x[: shape[0]]


def _norm(source: str, target: str) -> list[tuple[str, str, Transform]]:
    return [
        (source + r"\.weight", target + ".scale", _keep),
        (source + r"\.bias", target + ".bias", _keep),
    ]


def _dense(source: str, target: str) -> list[tuple[str, str, Transform]]:
    return [
        (source + r"\.weight", target + ".kernel", _kernel),
        (source + r"\.bias", target + ".bias", _keep),
    ]


_LAYER = r"(vision|text)_model\.encoder\.layers\.(\d+)\."
_IMAGE = r"vision_model\.embeddings\."
_WORDS = r"text_model\.embeddings\."
RULES: list[tuple[str, str, Transform]] = [
    (_IMAGE + r"class_embedding", "vision.cls", _keep),
    (_IMAGE + r"patch_embedding\.weight", "vision.patch_embed.kernel", _patch_kernel),
    (_IMAGE + r"position_embedding\.weight", "vision.positions", _grid_positions),
    *_norm(r"vision_model\.pre_layrnorm", "vision.ln_pre"),
    *_norm(r"vision_model\.post_layernorm", "vision.ln_post"),
    (_WORDS + r"token_embedding\.weight", "text.embedding", _keep),
    (_WORDS + r"position_embedding\.weight", "text.positions", _cut_positions),
    *_norm(r"text_model\.final_layer_norm", "text.ln_final"),
    *_norm(_LAYER + r"layer_norm([12])", r"\1.blocks.\2.ln\3"),
    *_dense(_LAYER + r"self_attn\.q_proj", r"\1.blocks.\2.attention.query"),
    *_dense(_LAYER + r"self_attn\.k_proj", r"\1.blocks.\2.attention.key"),
    *_dense(_LAYER + r"self_attn\.v_proj", r"\1.blocks.\2.attention.value"),
    *_dense(_LAYER + r"self_attn\.out_proj", r"\1.blocks.\2.attention.out"),
    *_dense(_LAYER + r"mlp\.fc1", r"\1.blocks.\2.mlp.up"),
    *_dense(_LAYER + r"mlp\.fc2", r"\1.blocks.\2.mlp.down"),
]
# CLIP's contrastive head, and index buffers that old files carry.
NOT_OURS = (
    r"logit_scale|(visual|text)_projection\.weight|"
    r"(vision|text)_model\.embeddings\.position_ids"
)


def _place(
    tensors: Iterator[tuple[str, np.ndarray]], shapes: dict[str, tuple[int, ...]]
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Tensors under our names, and the faults of those that have no place."""
    placed: dict[str, np.ndarray] = {}
    faults = []
    for name, tensor in tensors:
        if re.fullmatch(NOT_OURS, name):
            continue
        target, transform = _rule(name)
        if target not in shapes:
            faults.append(f"unmatched: {name} {tensor.shape}")
            continue
        shape = shapes[target]
        placed[target] = transform(tensor.astype(np.float32), shape)
        if placed[target].shape != shape:
            faults.append(
                f"misshapen: {name} {tensor.shape}; {target} is {shape}, from a tensor "
                f"that becomes {placed[target].shape}"
            )
    return placed, faults


def _rule(name: str) -> tuple[str, Transform]:
    for pattern, target, transform in RULES:
        match = re.fullmatch(pattern, name)
        if match:
            return match.expand(target), transform
    return "", _keep


def _tensors(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Names and tensors of a file, or of the folder's file or shards."""
    for file in _files(path):
        try:
            with safe_open(file, "np") as opened:
                for name in sorted(opened.keys()):
                    yield name, opened.get_tensor(name)
        except (OSError, SafetensorError) as error:
            raise WeightsError(
                f"{file}: not a readable safetensors file ({error}); fetch it again."
            ) from error


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    index = path / "model.safetensors.index.json"
    if not index.exists():
        return [path / "model.safetensors"]
    try:
        shards = set(json.loads(index.read_text())["weight_map"].values())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(
            f"{index}: expected JSON with a weight_map ({error!r}); fetch it again."
        ) from error
    return [path / shard for shard in sorted(shards)]


def _local(path: str) -> Path:
    """The path itself if it exists, else the hub's repository of that id."""
    if Path(path).exists():
        return Path(path)
    from huggingface_hub import snapshot_download

    try:
        folder = snapshot_download(
            path, allow_patterns=["config.json", "model*.safetensors", "*.index.json"]
        )
    except (OSError, ValueError) as error:
        raise WeightsError(
            f"{path}: neither a local folder or .safetensors file, nor a hub id that "
            f"can be fetched ({error})."
        ) from error
    return Path(folder)
