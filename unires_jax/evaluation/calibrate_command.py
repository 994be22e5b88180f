"""`unires calibrate`: what a trained model's numbers are worth, measured.

    unires calibrate --checkpoint runs/quickstart
    unires calibrate --checkpoint exported --split refcoco/refcoco_unc:val
    unires calibrate --checkpoint runs/quickstart --check partworld:testA \\
        --against photos

Asks the model all sentences of a split that it was not trained on, and writes
calibration.json into the run's folder, or into the export. A model with it reports as
score the probability that a mask is right (an IoU of at least one half), and tells of a
picture that looks unlike those of the split. No mask changes. What is exported or
pushed takes it along.

--check measures on further splits what was fitted on the first, --against how many
pictures of another kind are told; their row is called as their folder. Both stand in
the card of what is exported next.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from rich import box
from rich.table import Table

from unires_jax import terminal
from unires_jax.data.prepared import open_split
from unires_jax.errors import ConfigError, DataError
from unires_jax.evaluation import calibrate, fits
from unires_jax.files import Location, local, locate, read_content, write_together
from unires_jax.inference import calibration, exported
from unires_jax.inference.answer import Answerer
from unires_jax.inference.calibration import Calibration
from unires_jax.inference.loaded import Loaded
from unires_jax.inference.model import load
from unires_jax.pixels.orientation import decode_upright
from unires_jax.pixels.rgb import SUFFIXES


def run(
    checkpoint: str,
    split: str = "",
    *,
    check: Sequence[str] = (),
    against: str = "",
    data_dir: str = "",
    images: int | None = None,
) -> Location:
    """Calibrate a workdir, a step or an export; returns the file that was written.

    `split` and `check` name prepared splits, of which the first `images` pictures are
    asked; `against` is a folder of pictures. Raises ConfigError for a model that is no
    folder and for a split that it was trained on, DataError for data that cannot be
    used.
    """
    if not locate(checkpoint).is_dir():
        raise ConfigError(
            f"--checkpoint={checkpoint}: no such folder; copy a model of the hub or of "
            "the package first, with: unires export --to safetensors"
        )
    loaded = load(checkpoint)
    data = loaded.config.data
    data_dir = data_dir or data.dir
    names = [split or next(iter(loaded.config.eval.splits), ""), *check]
    splits = [open_split(name, data_dir, data.cache) for name in names]
    if splits[0].fingerprint() in loaded.meta.get("data", {}).values():
        raise ConfigError(
            f"--split={names[0]}: the model was trained on it, where it is surer than "
            "elsewhere; take a split that it has not seen"
        )
    paths = _pictures(local(against)) if against else []

    model = calibrate.answerer(loaded)
    observed = calibrate.observe(model, splits[0], images)
    fitted_on = {names[0]: splits[0].fingerprint()}
    counts = _training_pictures(loaded, data_dir)
    fitted, distances = calibrate.fit(loaded, observed, fitted_on, counts)
    fitted.checks[names[0]] = calibrate.check(fitted, observed, distances)
    for name, held_out in zip(names[1:], splits[1:], strict=True):
        observed = calibrate.observe(model, held_out, images)
        fitted.checks[name] = calibrate.check(fitted, observed)
    if paths:
        fitted.checks[local(against).resolve().name] = _against(
            fitted, model, paths, distances
        )
    print_checks(fitted)
    return _write(loaded, fitted)


def _training_pictures(loaded: Loaded, data_dir: str) -> dict[str, int]:
    """How many pictures the training's splits have, where they still lie here."""
    counts = {}
    for name, fingerprint in loaded.meta.get("data", {}).items():
        try:
            split = open_split(name, data_dir, loaded.config.data.cache)
            if split.fingerprint() == fingerprint:
                counts[name] = len(split)
        except DataError:
            continue  # calibrated elsewhere
    return counts


def _pictures(folder: Path) -> list[Path]:
    """The pictures of a folder. Raises DataError for none."""
    there = sorted(folder.glob("[!.]*"))  # macOS leaves files that begin with a dot
    paths = [path for path in there if path.suffix.lower() in SUFFIXES]
    if not paths:
        raise DataError("holds no picture", place=f"--against={folder}")
    return paths


def _against(
    fitted: Calibration,
    model: Answerer,
    paths: Sequence[Path],
    distances: Float[np.ndarray, "n"],
) -> dict[str, Any]:
    """How many pictures of another kind are told, and how well they are told apart."""
    outer = calibrate.far(fitted, calibrate.look(model, map(_decoded, paths)))
    return {
        "pictures": len(paths),
        "unlike": round(float((outer > 1).mean()), 4),
        "auroc": round(fits.auroc(distances, outer), 4),
    }


def _decoded(path: Path) -> UInt8[np.ndarray, "h w 3"]:
    data = read_content(path)
    try:
        return decode_upright(data)
    except DataError as error:
        raise error.at(str(path)) from None


def _write(loaded: Loaded, fitted: Calibration) -> Location:
    """Write the file; an export's manifest gets its checksum."""
    folder = calibration.home(loaded.folder)
    contents = {calibration.FILE: fitted.to_json() + "\n"}
    if exported.is_export(folder):
        contents[exported.MANIFEST] = exported.resealed(local(folder), contents)
    write_together(folder, contents)
    return folder / calibration.FILE


def print_checks(fitted: Calibration) -> None:
    """What was measured, in percent on stdout."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    table.add_column("")
    for heading in ("pictures", "told unlike", "score's error", "nothing's error"):
        table.add_column(heading, justify="right")
    for name, row in fitted.checks.items():
        errors = [_both(row.get("error", {}).get(x)) for x in ("score", "nothing")]
        unlike = f"{100 * row['unlike']:.1f}"
        table.add_row(name, str(row["pictures"]), unlike, *errors)
    console = terminal.console()
    console.print(table)
    for name, row in fitted.checks.items():
        if "auroc" in row:
            console.print(f"AUROC of the first row and {name}: {row['auroc']:.4f}")
    console.print(
        "Errors are expected calibration errors, before -> after; the first row is\n"
        "what was fitted, its pictures are each compared with the others."
    )


def _both(errors: dict[str, float] | None) -> str:
    if errors is None:
        return ""
    return f"{100 * errors['before']:.1f} -> {100 * errors['after']:.1f}"


def main(argv: Sequence[str]) -> int:
    """Answer the command line."""
    parser = argparse.ArgumentParser(
        prog="unires calibrate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--checkpoint", required=True, help="a workdir, a step's folder, or an export"
    )
    parser.add_argument(
        "--split",
        default="",
        help="<data set>:<split> to fit on, not trained on; default: the first of the "
        "config's eval.splits",
    )
    parser.add_argument(
        "--check", nargs="+", default=[], metavar="SPLIT", help="splits to measure on"
    )
    parser.add_argument(
        "--against", default="", metavar="FOLDER", help="pictures of another kind"
    )
    parser.add_argument(
        "--data_dir", default="", help="folder of data sets; default: the config's"
    )
    parser.add_argument(
        "--images", type=int, help="only the first pictures of each split"
    )
    print(run(**vars(parser.parse_args(argv))))
    return 0
