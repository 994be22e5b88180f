"""`unires export`: a trained model as a folder that other systems can use.

    unires export --checkpoint runs/quickstart --to safetensors --out exported

    orbax, safetensors   parameters alone, and graphs that take them
    stablehlo            two graphs with their parameters, for cpu, cuda and tpu
    onnx                 the same two graphs for onnxruntime

The two graphs are encode_image (pictures to features) and segment (tokens and features
to logits); numbers of pictures, expressions and tokens are free. Each folder also holds
the tokenizer, the preprocessing, the config, a model card, checksums, and a run.py that
uses it where unires_jax is not installed.
"""

import argparse
import contextlib
import functools
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.export
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import safetensors.numpy

from unires_jax import __version__, disk, lock
from unires_jax.checkpoint import save_arrays
from unires_jax.config import preprocessing, to_dict
from unires_jax.errors import ConfigError
from unires_jax.export import onnx_graphs
from unires_jax.export.card import model_card
from unires_jax.export.graphs import Graphs
from unires_jax.files import local
from unires_jax.inference import calibration, exported
from unires_jax.inference.exported import Flat
from unires_jax.inference.loaded import Loaded
from unires_jax.inference.model import load
from unires_jax.models import forms
from unires_jax.parameters import flatten

OLD = "old"  # what an export replaces, until the new one has its name
LOOKS = 50  # for what failed writes leave, 0.1 s apart; ours
ROOM = "make room there, or name another --out; nothing was written"
TEMPLATES = Path(__file__).parent / "templates"
DTYPES = {"float32": np.float32, "bfloat16": ml_dtypes.bfloat16}


def export(
    checkpoint: str | Path,
    kind: str,
    out: str | Path,
    *,
    weights: Literal["ema", "params"] = "ema",
    dtype: Literal["float32", "bfloat16"] = "float32",
    image_size: int = 0,
    overwrite: bool = False,
) -> Path:
    """Write the export of a workdir, a step or another export, and return its folder.

    `kind` is one of KINDS: orbax, safetensors, stablehlo, onnx.
    `weights` are the averaged ones (where the run has them) or the raw ones; `dtype` is
    the type they are stored in; `image_size` the side of the pictures it answers at, in
    pixels, 0: the model's own. The folder gets its name when it is complete. Raises
    CheckpointError for a checkpoint that cannot be used, ConfigError for an `out` that
    exists (unless it is an export and `overwrite` is set), for raw weights of an export
    that holds the averaged ones, for a side that is no multiple of the patch, and for
    ONNX in bfloat16, which onnxruntime does not run on CPU; DiskFullError where there
    is no room.
    """
    if kind == "onnx" and dtype != "float32":
        raise ConfigError("--to onnx takes --dtype float32: onnxruntime's CPU kernels")
    out = local(out)
    _check_free(out, overwrite)
    with _making(out) as temporary:
        _check_free(out, overwrite)
        loaded = load(checkpoint, weights=weights, image_size=image_size)
        flat = {n: x.astype(DTYPES[dtype]) for n, x in flatten(loaded.params).items()}
        disk.require_room(out, sum(x.nbytes for x in flat.values()), ROOM)
        _write_about(temporary, loaded, kind)
        with forms.use(forms.FAST):  # of no platform
            KINDS[kind].write(temporary, loaded, flat)
            manifest = _manifest(loaded, kind, weights, dtype)
        manifest["sha256"] = exported.hashes(temporary)
        _write_json(temporary / exported.MANIFEST, manifest)
        _put(temporary, out, overwrite)
    return out


@contextlib.contextmanager
def _making(out: Path) -> Iterator[Path]:
    """A folder beside `out` to make an export in; what is left there is removed.

    Raises ConfigError while another process makes one for the same `out`.
    """
    folder = out.with_name(f".{out.name}.tmp")
    folder.mkdir(parents=True, exist_ok=True)
    with lock.hold_folder(folder, "export"):
        try:
            if (folder / OLD).exists() and not out.exists():
                os.replace(folder / OLD, out)  # one was killed between two renames
            for left in folder.iterdir():  # by one that was killed
                shutil.rmtree(left)
            temporary = folder / "new"
            temporary.mkdir()
            yield temporary
        except Exception as error:
            refused = disk.explain(error)
            if not isinstance(refused, disk.DiskFullError):
                raise
            text = f"{refused.text}. Nothing of the export is kept"
            raise disk.DiskFullError(text, place=refused.place) from error
        finally:
            _remove(folder)


def _remove(folder: Path) -> None:
    """Remove a folder in which threads of a library may still be writing."""
    for _ in range(LOOKS):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(0.1)


def _check_free(out: Path, overwrite: bool) -> None:
    if not out.exists() or (overwrite and exported.is_export(out)):
        return
    if overwrite:
        raise ConfigError(f"--out={out} exists and is no export; name another folder")
    raise ConfigError(f"--out={out} exists; name another folder or give --overwrite")


def _put(new: Path, out: Path, overwrite: bool) -> None:
    """Rename; an export in its place goes only when the new one is whole."""
    if not (overwrite and out.exists()):
        os.replace(new, out)  # fails if something was put there meanwhile
        return
    old = new.with_name(OLD)
    os.replace(out, old)
    try:
        os.replace(new, out)
    except OSError:
        os.replace(old, out)
        raise
    shutil.rmtree(old)


def _manifest(loaded: Loaded, kind: str, weights: str, dtype: str) -> dict[str, Any]:
    meta = loaded.meta
    averaged = weights == "ema" and loaded.config.optim.ema > 0
    return {
        "format": exported.FORMAT,
        "kind": kind,
        "name": loaded.config.name,
        "dtype": dtype,
        "weights": meta.get("weights", "ema" if averaged else "params"),
        "step": loaded.step,
        "revision": meta.get("revision", ""),
        "versions": meta.get("versions", {}),  # of the training
        "exported_with": {"unires_jax": __version__, "jax": jax.__version__},
        "data": meta.get("data", {}),
        "no_target_trained": loaded.no_target_trained,
        "features": list(Graphs(loaded.config).features),
    }


def _write_about(folder: Path, loaded: Loaded, kind: str) -> None:
    """All but weights, graphs and manifest."""
    model, tokenizer = loaded.config.model, loaded.tokenizer
    rules = preprocessing(model)
    _write_json(folder / exported.CONFIG, to_dict(loaded.config))
    (folder / exported.TOKENIZER).write_text(tokenizer.to_json(), encoding="utf-8")
    values = {
        "image_size": model.image_size,
        "letterbox": "top left",
        "pad_colour": rules.pad_colour,
        "shrink": "cv2.INTER_AREA",
        "enlarge": "cv2.INTER_CUBIC",
        "image_mean": rules.image_mean,  # applied inside encode_image
        "image_std": rules.image_std,
        "channels": "RGB",
        "context": min(model.text.context, loaded.config.data.lengths[-1]),
        "lower_case": rules.text.lower_case,
        "sos": tokenizer.sos,  # null where sentences get none
        "eos": tokenizer.eos,
        "pad": tokenizer.pad_id,
    }
    _write_json(folder / "preprocessor_config.json", values)
    (folder / "README.md").write_text(
        model_card(loaded, KINDS[kind].needs), encoding="utf-8"
    )
    if loaded.calibration:
        text = loaded.calibration.to_json() + "\n"
        (folder / calibration.FILE).write_text(text, encoding="utf-8")
    shutil.copyfile(TEMPLATES / "steps.py", folder / "steps.py")
    shutil.copyfile(TEMPLATES / f"run_{kind}.py", folder / "run.py")


def _write_orbax(folder: Path, loaded: Loaded, flat: Flat) -> None:
    save_arrays(folder / exported.ARRAYS, flat)
    _write_graphs(folder, loaded, flat)


def _write_safetensors(folder: Path, loaded: Loaded, flat: Flat) -> None:
    named = {name: np.ascontiguousarray(x) for name, x in flat.items()}
    safetensors.numpy.save_file(named, folder / exported.WEIGHTS)
    shutil.copymode(folder / exported.CONFIG, folder / exported.WEIGHTS)  # not 0600
    _write_graphs(folder, loaded, flat)


def _write_graphs(
    folder: Path, loaded: Loaded, flat: Flat, *, baked: bool = False
) -> None:
    """encode_image.stablehlo and segment.stablehlo, through `jax.export`.

    Baked graphs hold their parameters; the others take them as a first argument, a dict
    by dotted name.
    """
    params = {name: jnp.asarray(x) for name, x in flat.items()}
    shapes = {n: jax.ShapeDtypeStruct(x.shape, x.dtype) for n, x in flat.items()}
    for name, function, inputs in Graphs(loaded.config).signatures():
        if baked:
            traced, first = jax.jit(functools.partial(function, params)), []
        else:
            traced, first = jax.jit(function), [shapes]
        exporter = jax.export.export(traced, platforms=("cpu", "cuda", "tpu"))
        with _without_folders():
            graph = exporter(*first, *inputs.values())
        (folder / f"{name}.stablehlo").write_bytes(graph.serialize())


@contextlib.contextmanager
def _without_folders() -> Iterator[None]:
    """Graphs name the source files they come from, but not where this machine has them.

    jax has no local setting for it.
    """
    name = "jax_hlo_source_file_canonicalization_regex"
    before = getattr(jax.config, name)
    jax.config.update(name, r".*[/\\]")
    try:
        yield
    finally:
        jax.config.update(name, before)


class Kind(NamedTuple):
    """A kind of export: a row here, and a script `templates/run_<kind>.py`."""

    write: Callable[[Path, Loaded, Flat], None]
    needs: str  # packages its run.py takes beside what all take


KINDS = {
    "orbax": Kind(_write_orbax, "jax, flatbuffers, orbax-checkpoint"),
    "safetensors": Kind(_write_safetensors, "jax, flatbuffers, safetensors, ml_dtypes"),
    "stablehlo": Kind(functools.partial(_write_graphs, baked=True), "jax, flatbuffers"),
    "onnx": Kind(onnx_graphs.write, "onnxruntime"),
}


def _write_json(file: Path, values: dict[str, Any]) -> None:
    file.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")


def main(argv: Sequence[str]) -> int:
    """Answer the command line."""
    parser = argparse.ArgumentParser(
        prog="unires export",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--checkpoint",
        required=True,
        help="a workdir, the folder of a step, an export, bundled, or a hub id",
    )
    parser.add_argument(
        "--to", required=True, choices=KINDS, dest="kind", help="what is written"
    )
    parser.add_argument("--out", required=True, help="the folder, not there yet")
    parser.add_argument(
        "--weights",
        default="ema",
        choices=("ema", "params"),
        help="averaged weights (where the run has them) or the raw ones",
    )
    parser.add_argument(
        "--dtype", default="float32", choices=DTYPES, help="of the stored weights"
    )
    parser.add_argument(
        "--image_size",
        default=0,
        type=int,
        help="side of the pictures it answers at, pixels, a multiple of the patch; "
        "default: the model's own",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an export")
    args = parser.parse_args(argv)
    out = export(**vars(args))
    size = sum(p.stat().st_size for p in out.rglob("*") if p.is_file())
    about = f"{out}: {args.kind}, {size / 1e6:.1f} MB"
    print(f"{about}; try: python {out}/run.py PICTURE ...")
    return 0
