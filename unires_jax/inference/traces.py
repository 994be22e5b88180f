"""What tracing a model gives, kept on disk: the next start traces nothing.

Tracing takes longer than importing jax does, and takes flax. Its results are the shapes
of the parameters and, for inputs of given shapes, each step as StableHLO. They follow
from our code, the libraries, jax's settings, the config and the device's kind; a file
is named by a hash of all of these. The files lie beside jax's compiled programs, where
it keeps any on this machine, and may be removed at any time. They are trusted as those
are, which hold machine code: the folder must be one that no stranger can write to.
Source: ours.
"""

import contextlib
import functools
import hashlib
import importlib.metadata
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
from jax import export

import unires_jax
from unires_jax import parameters
from unires_jax.config import ModelConfig, from_dict, to_dict
from unires_jax.files import write_whole
from unires_jax.models.features import ImageFeatures

FOLDER = "unires_traces"  # in that of jax's compiled programs
# What decides a trace of ours, in the package.
SOURCES = ("config.py", "mesh.py", "parameters.py", "inference/traces.py", "models")
LIBRARIES = ("jax", "jaxlib", "flax")
# Devices whose steps are kept: kernels of others may not export, and nobody tried.
PLATFORMS = ("cpu",)
_DIGEST = hashlib.sha256().digest_size

Flat = dict[str, Any]  # parameters, or their shapes, by dotted name


def abstract(config: ModelConfig) -> dict[str, Any]:
    """The tree of parameters that a config asks for, as ShapeDtypeStructs."""

    def trace() -> bytes:
        flat = parameters.flatten(_apply(_text(config)).abstract)
        return json.dumps(
            {n: (x.shape, str(x.dtype)) for n, x in flat.items()}
        ).encode()

    what = f"parameters {_text(config)} {_settings()}"
    shapes = json.loads(_kept(what, trace))
    flat = {n: jax.ShapeDtypeStruct(shape, kind) for n, (shape, kind) in shapes.items()}
    return parameters.nest(flat)


def step(
    config: ModelConfig, name: str, params: Flat, inputs: tuple[Any, ...], device: Any
) -> Callable[..., Any]:
    """A step of the model, traced for a device, as a function that jax can lower.

    It takes parameters by dotted name, then inputs of these shapes, and gives plain
    containers. `name` is that of a method of `models.unires.Apply`.
    """
    if _folder() is None or device.platform not in PLATFORMS:
        return _function(config, name)
    shapes = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), (params, *inputs)
    )

    def trace() -> bytes:
        jitted = jax.jit(_function(config, name))
        traced = export.export(jitted, platforms=[device.platform])(*shapes)
        return bytes(traced.serialize())

    kind = (device.platform, device.device_kind, _settings())
    content = _kept(f"{name} {_text(config)} {shapes} {kind}", trace)
    return export.deserialize(bytearray(content)).call


def _function(config: ModelConfig, name: str) -> Callable[..., Any]:
    """A step over parameters by name. Its features are a tuple: export knows those."""
    method = getattr(_apply(_text(config)), name)

    def run(params: Flat, *inputs: Any) -> Any:
        if name == "decode":
            inputs = (ImageFeatures(*inputs[0]), *inputs[1:])
        output = method(parameters.nest(params), *inputs)
        return tuple(output) if name == "encode_image" else output

    return run


@functools.lru_cache(maxsize=4)
def _apply(config: str) -> Any:
    from unires_jax.models.unires import Apply  # with flax

    return Apply(from_dict(json.loads(config), ModelConfig))


def _settings() -> list[tuple[str, Any]]:
    """jax's settings of this thread, but those of its caches."""
    return sorted((k, v) for k, v in jax.config.values.items() if "cache" not in k)


def _text(config: ModelConfig) -> str:
    return json.dumps(to_dict(config), sort_keys=True)


def _folder() -> Path | None:
    """Where traces are kept; None where jax keeps no programs on this machine."""
    place = jax.config.values["jax_compilation_cache_dir"]
    on = bool(place) and jax.config.values["jax_enable_compilation_cache"]
    return Path(place) / FOLDER if on and "://" not in place else None


def _kept(what: str, trace: Callable[[], bytes]) -> bytes:
    """The result of a trace, from disk if it is there, else kept there if possible."""
    folder = _folder()
    if folder is None:
        return trace()
    file = folder / hashlib.sha256(f"{_code()} {what}".encode()).hexdigest()
    with contextlib.suppress(OSError):
        stored = file.read_bytes()
        if hashlib.sha256(stored[_DIGEST:]).digest() == stored[:_DIGEST]:
            return stored[_DIGEST:]
    content = trace()
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(file, hashlib.sha256(content).digest() + content)
    return content


@functools.cache
def _code() -> str:
    """A hash of the code that a trace comes from: ours, and the libraries' versions."""
    digest = hashlib.sha256()
    for name in LIBRARIES:
        digest.update(f"{name} {importlib.metadata.version(name)}\n".encode())
    top = Path(unires_jax.__file__).parent
    for name in SOURCES:
        place = top / name
        for file in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            digest.update(f"{file.relative_to(top)}\n".encode() + file.read_bytes())
    return digest.hexdigest()
