"""How a published model is loaded: whole, from a folder or the hub, or not at all."""

import contextlib
import hashlib
import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError

from unires_jax.engine.roles import ModelError, OutOfMemory

_CHUNK = 1 << 20
_FILES = ("*.json", "*.jinja", "*.safetensors", "*.txt")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def find(place: str) -> Path:
    """The folder of a model: itself, or the hub's snapshot.

    Raises ModelError for a folder that is not there, and for an id that the hub or
    its cache does not give.
    """
    if os.path.isdir(place):
        return Path(place)
    if place.startswith((".", "/", "~")) or place.count("/") != 1:
        raise ModelError(f"{place}: no such folder, and no hub id (<owner>/<name>)")
    try:
        return Path(snapshot_download(place, allow_patterns=list(_FILES)))
    except (OSError, ValueError, HFValidationError) as error:
        raise ModelError(
            f"{place}: no such folder, and the hub does not give it "
            f"({type(error).__name__}: {error})"
        ) from None


def fingerprint(folder: Path) -> str:
    """Of config.json and the weight files: 12 hex digits of SHA-256."""
    digest = hashlib.sha256()
    for path in sorted([folder / "config.json", *folder.glob("*.safetensors")]):
        digest.update(path.name.encode())
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    return digest.hexdigest()[:12]


def choose_device(device: str) -> torch.device:
    """The device of a setting; "auto": the first accelerator, or the CPU.

    Raises ModelError for one that is not there.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ModelError(f"device {device!r}: {str(error).splitlines()[0]}") from None
    return torch.device(device)


def choose_dtype(dtype: str, device: torch.device) -> torch.dtype:
    """The dtype of a setting; "auto": bfloat16 on an accelerator, float32 on the CPU.

    Raises ModelError for another word.
    """
    if dtype == "auto":
        return torch.float32 if device.type == "cpu" else torch.bfloat16
    if dtype not in DTYPES:
        raise ModelError(f"dtype {dtype!r}: expected auto, {', '.join(DTYPES)}")
    return DTYPES[dtype]


def load_model(cls: Any, folder: Path, device: torch.device, dtype: torch.dtype) -> Any:
    """A model of transformers in evaluation mode.

    Raises ModelError for a tensor that is missing or of another shape (transformers
    would draw it at random), and for files that are not its class's.
    """
    _require_no_broken_torchvision()
    try:
        model, info = cls.from_pretrained(
            folder,
            dtype=dtype,
            output_loading_info=True,
            local_files_only=True,
            use_safetensors=True,
        )
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise ModelError(f"{folder}: no {cls.__name__} ({error})") from None
    absent = sorted({*info["missing_keys"], *map(str, info["mismatched_keys"])})
    if absent:
        raise ModelError(
            f"{folder}: {len(absent)} tensors of {cls.__name__} are missing or of "
            f"another shape, {absent[0]} first; is it another model's folder?"
        )
    return model.to(device).eval()


def _require_no_broken_torchvision() -> None:
    """torchvision is not needed; one that does not load breaks every processor."""
    if importlib.util.find_spec("torchvision") is None:
        return
    try:
        importlib.import_module("torchvision")
    except Exception as error:
        raise ModelError(
            f"torchvision is installed and does not load ({error}); the engine does "
            "not need it: pip uninstall torchvision"
        ) from None


@contextlib.contextmanager
def told_when_full() -> Iterator[None]:
    """Raise OutOfMemory where torch has no room."""
    try:
        with torch.inference_mode():
            yield
    except torch.OutOfMemoryError as error:
        raise OutOfMemory(str(error).splitlines()[0]) from None
    except RuntimeError as error:  # of the CPU
        if "not enough memory" not in str(error):
            raise
        raise OutOfMemory(str(error).splitlines()[0]) from None
