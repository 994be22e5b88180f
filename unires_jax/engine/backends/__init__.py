"""Which models stand behind the engine's roles, and how one is loaded.

A model is named `<backend>:<folder or hub id>`: "sam2:facebook/sam2.1-hiera-tiny".
Nothing is imported before `load`.
"""

import dataclasses
import importlib
from typing import Any

from unires_jax.engine.roles import ROLES, ModelError
from unires_jax.errors import UsageError

Device = str  # "cpu", "cuda", "cuda:1"; "auto": the first accelerator, or the CPU


@dataclasses.dataclass(frozen=True)
class Entry:
    """A row of BACKENDS."""

    module: str  # below this package
    cls: str
    roles: tuple[str, ...]
    checkpoint: str  # the usual one, a hub id; "" where there is none
    licence: str  # of that checkpoint's weights


# The first of a role is its default.
BACKENDS: dict[str, Entry] = {
    "florence2": Entry(
        *("florence", "Florence2", ("captioner", "grounder")),
        *("florence-community/Florence-2-base", "MIT"),
    ),
    "qwen3_vl": Entry(
        *("qwen_vl", "QwenVL", ("captioner",)),
        *("Qwen/Qwen3-VL-4B-Instruct", "Apache-2.0"),
    ),
    "qwen3_vl_pixels": Entry(
        *("qwen_vl", "QwenVLInPixels", ("captioner",)),
        *("Qwen/Qwen3-VL-4B-Instruct", "Apache-2.0"),
    ),
    "clip": Entry(
        *("clip", "Clip", ("scorer",)),
        *("openai/clip-vit-large-patch14-336", "MIT"),
    ),
    "siglip2": Entry(
        *("siglip", "Siglip2", ("scorer",)),
        *("google/siglip2-base-patch16-naflex", "Apache-2.0"),
    ),
    "predictor": Entry(
        *("predictor", "PredictorGrounder", ("grounder",)),
        *("", "Apache-2.0"),
    ),
    "causal_lm": Entry(
        *("causal_lm", "CausalLM", ("vocabulary",)),
        *("Qwen/Qwen3-4B-Instruct-2507", "Apache-2.0"),
    ),
}


def load(spec: str, role: str, device: Device = "auto", dtype: str = "auto") -> Any:
    """The backend of `<name>:<folder or hub id>`, ready to answer for a role.

    Raises UsageError for a name or role that does not exist, ModelError for a model
    that is not there, lacks a tensor, or needs a library that is not installed.
    """
    name, _, checkpoint = spec.partition(":")
    entry = BACKENDS.get(name)
    able = [n for n, e in BACKENDS.items() if role in e.roles]
    if entry is None or role not in entry.roles:
        raise UsageError(f"{spec!r}: no {role}; there are {', '.join(able)}")
    try:
        module = importlib.import_module(f"{__name__}.{entry.module}")
    except ImportError as error:
        raise ModelError(f"{spec}: {error}; pip install 'unires_jax[engine]'") from None
    backend = getattr(module, entry.cls)(
        checkpoint or entry.checkpoint, device=device, dtype=dtype
    )
    assert isinstance(backend, ROLES[role])
    return backend
