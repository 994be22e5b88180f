"""An exported model's folder: its manifest, checked, and its parameters.

`unires.json` says what the folder holds and the sha256 of every other file in it. A
folder may come from anywhere, so nothing in it is run and nothing is unpickled.
"""

import hashlib
import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np
import safetensors
import safetensors.numpy

from unires_jax import documents, limits, parameters
from unires_jax.config import Config, from_dict, preprocessing, validate
from unires_jax.data.tokenizer import Tokenizer
from unires_jax.errors import CheckpointError, DataError, printable
from unires_jax.files import local, locate, read_text
from unires_jax.inference import calibration
from unires_jax.inference.loaded import Loaded
from unires_jax.inference.traces import abstract
from unires_jax.parameters import check_shapes

FORMAT = "unires_jax-export/1"
MANIFEST, CONFIG, TOKENIZER = "unires.json", "config.json", "tokenizer.json"
WEIGHTS, ARRAYS = "model.safetensors", "model"  # of kinds safetensors and orbax

Flat = dict[str, Any]  # parameters (numpy or jax arrays) by dotted name

log = logging.getLogger(__name__)


def is_export(path: str | os.PathLike[str]) -> bool:
    """Whether a folder calls itself an export."""
    return bool((locate(path) / MANIFEST).is_file())


def read(path: str | os.PathLike[str]) -> Loaded:
    """The model of an export that holds parameters, as float32.

    Raises CheckpointError naming the file for one that is missing, changed, foreign, or
    of another architecture than its config.json says, and for an export of graphs;
    ConfigError for one in a bucket.
    """
    folder = local(path).resolve()
    manifest = read_manifest(folder)
    if manifest["kind"] not in ("safetensors", "orbax"):
        raise CheckpointError(
            f"{folder}: is an export of kind {manifest['kind']!r}, which holds graphs "
            "and no parameters; use its run.py, or export --to safetensors"
        )
    check_files(folder, manifest)
    config, like = _config(folder)
    if manifest["kind"] == "safetensors":
        with _naming(folder / WEIGHTS) as file:
            flat = safetensors.numpy.load_file(file)
    else:
        from unires_jax.checkpoint import read_arrays

        flat = read_arrays(folder / ARRAYS, parameters.flatten(like))
    params = unflatten(flat, like, folder)
    params = jax.tree.map(lambda x: x.astype(np.float32), params)
    worth = calibration.read(folder, config.model, params)
    return Loaded(folder, config, _tokenizer(folder, config), params, manifest, worth)


def read_manifest(folder: Path) -> dict[str, Any]:
    """The content of unires.json. Raises CheckpointError."""
    file = folder / MANIFEST
    try:
        manifest = documents.read(file)
    except DataError as error:
        raise CheckpointError(f"{file}: cannot be read ({error.text})") from None
    form = manifest.get("format") if isinstance(manifest, dict) else None
    if form != FORMAT:
        raise CheckpointError(
            f"{file}: format {form!r}, this version reads {FORMAT!r}; it was written "
            "by another program or version"
        )
    sums = manifest.get("sha256")
    digests = sums.values() if isinstance(sums, dict) else [None]
    if not all(isinstance(x, str) for x in (manifest.get("kind"), *digests)):
        raise CheckpointError(f"{file}: kind or sha256 is missing or damaged")
    return dict(manifest)


def check_files(folder: Path, manifest: dict[str, Any]) -> None:
    """Raise CheckpointError unless all that decides the answer is as it was written.

    That is weights, graphs, config, tokenizer and calibration. Of others, a card that
    was edited say, a difference is logged.
    """
    stated, actual = manifest["sha256"], hashes(folder)
    differing = {
        name: "missing" if name not in actual else "changed"
        for name, digest in stated.items()
        if actual.get(name) != digest
    }
    differing |= dict.fromkeys(actual.keys() - stated.keys(), "not of this export")
    faults = [f"{n}: {how}" for n, how in sorted(differing.items()) if _decides(n)]
    if faults:
        raise CheckpointError(
            f"{folder}: differs from its {MANIFEST}; export or download it again:\n  "
            + "\n  ".join(faults[:20])
        )
    for name, how in sorted(differing.items())[:20]:
        place = printable(f"{folder}/{name}")
        log.warning("%s: %s; it decides no answer", place, how)


def resealed(folder: Path, contents: Mapping[str, str]) -> str:
    """The text of unires.json with the checksums of files that are to be added."""
    manifest = read_manifest(folder)
    for name, text in contents.items():
        manifest["sha256"][name] = hashlib.sha256(text.encode()).hexdigest()
    return json.dumps(manifest, indent=1) + "\n"


def _decides(name: str) -> bool:
    """Whether the answer depends on a file."""
    whole = name in (CONFIG, TOKENIZER, calibration.FILE) or name.startswith(
        f"{ARRAYS}/"
    )
    return whole or name.endswith((".safetensors", ".stablehlo", ".onnx", ".onnx.data"))


def hashes(folder: Path) -> dict[str, str]:
    """The sha256 of every file but the manifest, by its path in the folder."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and _counts(p))
    digests = {}
    for file in files:
        with file.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        digests[file.relative_to(folder).as_posix()] = digest
    return digests


def _counts(file: Path) -> bool:
    """Not the bytecode that Python leaves beside a run.py, nor hidden files."""
    hidden = file.name.startswith(".") or "__pycache__" in file.parts
    return file.name != MANIFEST and not hidden


def unflatten(flat: Flat, like: Any, where: str | Path = "") -> Any:
    """The tree of `like` from dotted names. Raises CheckpointError for a misfit."""
    check_shapes(flat, parameters.flatten(like), where)
    return parameters.unflatten(flat, like)


def _config(folder: Path) -> tuple[Config, Any]:
    """The config, and the shapes of the parameters it asks for."""
    with _naming(folder / CONFIG) as file:
        config: Config = from_dict(documents.read(file))
        validate(config)
        return config, abstract(config.model)


def _tokenizer(folder: Path, config: Config) -> Tokenizer:
    with _naming(folder / TOKENIZER) as file:
        rules = preprocessing(config.model).text
        text = read_text(file, limits.TOKENIZER_BYTES)
        tokenizer = Tokenizer(text, rules)
        rows = config.model.text.vocab
        if tokenizer.vocab_size > rows:
            raise ValueError(f"{tokenizer.vocab_size} tokens, model.text.vocab={rows}")
        return tokenizer


@contextmanager
def _naming(file: Path) -> Iterator[Path]:
    """Whatever is wrong with a file's content becomes a CheckpointError naming it."""
    try:
        yield file
    except (
        *(ArithmeticError, AttributeError, LookupError, OSError, TypeError),
        *(ValueError, safetensors.SafetensorError),
    ) as error:
        raise CheckpointError(
            f"{file}: cannot be used ({type(error).__name__}: {error}); export or "
            "download it again"
        ) from None
