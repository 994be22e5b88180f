"""Published weights on disk: a folder, a .safetensors file, or a hub id."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open

from unires_jax import documents, files
from unires_jax.errors import WeightsError, shorten
from unires_jax.files import require_regular


def read_config_json(path: str, architecture: str) -> tuple[Path, dict[str, Any]]:
    """The config.json beside the weights and its content, with both towers in it.

    Raises WeightsError when the file is missing or is not of such a model.
    """
    file = config_file(path)
    try:
        content = documents.read_object(file)
        towers = [content[name] for name in ("vision_config", "text_config")]
        if not all(isinstance(tower, dict) for tower in towers):
            raise TypeError("one of them is no object")
    except (ValueError, KeyError, TypeError) as error:
        raise WeightsError(
            f"{file}: expected the config.json of a {architecture} with vision_config "
            f"and text_config ({error!r}). Take it from the repository of the weights."
        ) from error
    return file, dict(content)


def config_file(path: str) -> Path:
    """Where the config.json of weights belongs: in their folder, or beside the file."""
    place = local(path)
    return (place if place.is_dir() else place.parent) / "config.json"


def read_tensors(path: str) -> Iterator[tuple[str, np.ndarray]]:
    """Names and tensors of a file, or of the folder's file or shards.

    Raises WeightsError naming the file that is missing or damaged.
    """
    for file in _files(local(path)):
        if not file.exists():
            raise WeightsError(f"{file}: no such file{_beside(file.parent)}.")
        try:
            require_regular(file)
            with safe_open(file, "np") as opened:
                for name in sorted(opened.keys()):
                    yield name, opened.get_tensor(name)
        except Exception as error:  # of types that numpy does not have, too
            raise WeightsError(
                f"{file}: not a readable safetensors file ({error}); fetch it again."
            ) from error


def _beside(folder: Path) -> str:
    """What a folder holds where the weights are missed."""
    names = sorted(p.name for p in folder.glob("*"))[:8] if folder.is_dir() else []
    return (
        f"; {folder} holds {', '.join(map(repr, names)) or 'nothing'}, and weights are "
        "read from model.safetensors or its shards (transformers' save_pretrained "
        "writes them), or from the .safetensors file that is named; fetch it again"
    )


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    index = path / "model.safetensors.index.json"
    if not index.exists():
        return [path / "model.safetensors"]
    try:
        shards = set(documents.read(index)["weight_map"].values())
        outside = [s for s in shards if not files.stays_inside(s)]
        if outside:
            raise ValueError(f"{shorten(repr(outside))} lead out of the folder")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(
            f"{index}: expected JSON with a weight_map ({error!r}); fetch it again."
        ) from error
    return [path / shard for shard in sorted(shards)]


def local(path: str) -> Path:
    """The path itself if it exists, else the hub's repository of that id.

    Raises WeightsError for what is neither.
    """
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
