"""Which models stand behind the engine's roles, and how one is loaded.

A model is named `<backend>:<folder or hub id>`: "sam2:facebook/sam2.1-hiera-tiny".
Nothing is imported before `load`.
"""

import dataclasses
import importlib
import importlib.util
from pathlib import Path
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
    # Below this package, a module whose `fingerprint_of(checkpoint)` names its files.
    names: str = "folders"


_APACHE = "Apache-2.0"
_SAM = "SAM License"  # royalty-free, to be passed on, not for military use; gated
# The first of a role is its default.
BACKENDS: dict[str, Entry] = {
    "sam2": Entry(
        *("sam2", "Sam2", ("segmenter",)),
        *("facebook/sam2.1-hiera-large", _APACHE),
    ),
    "sam": Entry(
        *("sam", "Sam", ("segmenter",)),
        *("facebook/sam-vit-huge", _APACHE),
    ),
    "sam_hq": Entry(
        *("sam", "SamHQ", ("segmenter",)),
        *("syscv-community/sam-hq-vit-huge", _APACHE),
    ),
    "sam3_tracker": Entry(
        *("sam3", "Sam3Tracker", ("segmenter",)),
        *("facebook/sam3", _SAM),
    ),
    "owlv2": Entry(
        *("owl", "Owlv2", ("part_finder",)),
        *("google/owlv2-base-patch16-ensemble", _APACHE),
    ),
    "grounding_dino": Entry(
        *("grounding_dino", "GroundingDino", ("part_finder",)),
        *("IDEA-Research/grounding-dino-tiny", _APACHE),
    ),
    "mm_grounding_dino": Entry(
        *("grounding_dino", "MMGroundingDino", ("part_finder",)),
        *("openmmlab-community/mm_grounding_dino_tiny_o365v1_goldg_v3det", _APACHE),
    ),
    "predictor": Entry(
        *("predictor", "PredictorGrounder", ("grounder",)),
        *("", _APACHE, "predictor"),  # the model that comes with the package
    ),
    "sam3": Entry(
        *("sam3", "Sam3", ("part_finder", "grounder")),
        *("facebook/sam3", _SAM),
    ),
    "clipseg": Entry(
        *("clipseg", "ClipSeg", ("part_finder", "grounder")),
        *("CIDAS/clipseg-rd64-refined", _APACHE),
    ),
    "florence2": Entry(
        *("florence", "Florence2", ("captioner", "grounder")),
        *("florence-community/Florence-2-base", "MIT"),
    ),
    "qwen3_vl": Entry(
        *("qwen_vl", "QwenVL", ("captioner",)),
        *("Qwen/Qwen3-VL-4B-Instruct", _APACHE),
    ),
    "qwen3_vl_pixels": Entry(
        *("qwen_vl", "QwenVLInPixels", ("captioner",)),
        *("Qwen/Qwen3-VL-4B-Instruct", _APACHE),
    ),
    "clip": Entry(
        *("clip", "Clip", ("scorer",)),
        *("openai/clip-vit-large-patch14-336", "MIT"),
    ),
    "siglip2": Entry(
        *("siglip", "Siglip2", ("scorer",)),
        *("google/siglip2-base-patch16-naflex", _APACHE),
    ),
    "shipped": Entry(
        *("shipped", "Shipped", ("vocabulary",)),
        *("", "names, as facts", "shipped"),
    ),
    "causal_lm": Entry(
        *("causal_lm", "CausalLM", ("vocabulary",)),
        *("Qwen/Qwen3-4B-Instruct-2507", _APACHE),
    ),
    "exact": Entry("exact", "Exact", tuple(ROLES), "", "", "exact"),
}


def require_named(spec: str, role: str) -> Entry:
    """The row of `<name>:<folder or hub id>`.

    Raises UsageError for a name or role that does not exist, ModelError for a path of
    nothing. What a folder holds, and what the hub does, is seen by `load`.
    """
    name, _, place = spec.partition(":")
    entry = BACKENDS.get(name)
    if entry is None or role not in entry.roles:
        able = [n for n, e in BACKENDS.items() if role in e.roles]
        raise UsageError(f"{spec!r}: no {role}; there are {', '.join(able)}")
    path = Path(place.partition("?")[0]).expanduser()  # `exact` has options behind it
    if place.startswith((".", "/", "~")) and not path.exists():
        raise ModelError(f"{spec}: no such folder, and no such file")
    return entry


def load(spec: str, role: str, device: Device = "auto", dtype: str = "auto") -> Any:
    """The backend of `<name>:<folder or hub id>`, ready to answer for a role.

    Raises UsageError for a name or role that does not exist, ModelError for a model
    that is not there, lacks a tensor, or needs a library that is not installed.
    """
    entry, checkpoint = require_named(spec, role), spec.partition(":")[2]
    try:
        module = importlib.import_module(f"{__name__}.{entry.module}")
    except ImportError as error:
        why = torchvision_fault() or f"{error}; pip install 'unires_jax[engine]'"
        raise ModelError(f"{spec}: {why}") from None
    backend = getattr(module, entry.cls)(
        checkpoint or entry.checkpoint, device=device, dtype=dtype
    )
    assert isinstance(backend, ROLES[role])
    return backend


def fingerprint(spec: str, role: str) -> str:
    """What names the files of a model, as the backend itself has it; none is loaded.

    Raises UsageError and ModelError as `load`, as far as its files show.
    """
    entry, checkpoint = require_named(spec, role), spec.partition(":")[2]
    module = importlib.import_module(f"{__name__}.{entry.names}")
    return str(module.fingerprint_of(checkpoint or entry.checkpoint))


def torchvision_fault() -> str:
    """Why an installed torchvision does not load, and the remedy; "": it is not that.

    The engine does not need it, but a broken one breaks all models of transformers.
    """
    if not all(map(importlib.util.find_spec, ("torchvision", "torch"))):
        return ""
    try:
        importlib.import_module("torchvision")
    except Exception as error:  # whatever a library's own start raises
        return (
            f"torchvision is installed and does not load ({error}); the engine does "
            "not need it: pip uninstall torchvision"
        )
    return ""
