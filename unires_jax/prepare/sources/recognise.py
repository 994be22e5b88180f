"""Which form of a benchmark a folder holds, and what it lacks."""

from pathlib import Path
from typing import NamedTuple

from unires_jax.data.catalogue import Benchmark
from unires_jax.errors import DataError, Kind
from unires_jax.prepare.rejects import Rejects
from unires_jax.prepare.sources import (
    cris,
    mdetr,
    parquet,
    refcoco_m,
    refcocom,
    refer,
    tfds_json,
)
from unires_jax.prepare.sources.form import Files, Form, Raw, Source

FORMS = (
    refer.FORM,
    cris.FORM,
    mdetr.FORM,
    tfds_json.FORM,
    parquet.FORM,
    refcocom.FORM,
    refcoco_m.FORM,
)


class Match(NamedTuple):
    """A form of which a folder holds something."""

    form: Form
    files: Files


def matches(root: str | Path, benchmark: Benchmark) -> list[Match]:
    """The forms of which the folder holds something, the best to convert first.

    Those that lack nothing go before those that do; among them, what keeps most.
    """
    some = [match for match in _every(root, benchmark) if match.files.present]
    return sorted(some, key=lambda m: (bool(m.files.missing), m.form.loss))


def _every(root: str | Path, benchmark: Benchmark) -> list[Match]:
    return [Match(form, form.find(Path(root), benchmark)) for form in FORMS]


def recognise(root: str | Path, benchmark: Benchmark) -> Match:
    """The form to convert. Raises DataError naming by full path what is missing."""
    root = Path(root)
    if not root.is_dir():
        raise DataError(
            "no such folder; name that of the raw files with --raw",
            place=str(root),
            kind=Kind.FILE_MISSING,
        )
    best = next(iter(matches(root, benchmark)), None)
    if best is None:
        paths = [path for m in _every(root, benchmark) for path in m.files.usual]
        raise DataError(
            f"holds no known form of {benchmark.name}; expected one of: "
            + ", ".join(map(str, paths)),
            place=str(root),
        )
    if best.files.missing:
        raise DataError(
            f"holds the {best.form.name} form of {benchmark.name}, but lacks: "
            + ", ".join(map(str, best.files.missing)),
            place=str(root),
        )
    return best


def read(raw: Raw, benchmark: Benchmark, rejects: Rejects) -> Source:
    """Read a benchmark from a folder in whichever form it holds.

    Raises DataError naming what is missing.
    """
    form, files = recognise(raw.root, benchmark)
    for path in files.absent:
        print(f"{path}: not there; its split is left out")
    source = form.read(raw, benchmark, rejects)
    rejects.check()
    return source
