"""Which form of a benchmark a folder holds, and what it lacks."""

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from unires_jax.data.catalogue import Benchmark
from unires_jax.errors import DataError, Kind
from unires_jax.prepare.notes import NAMED, Notes
from unires_jax.prepare.rejects import Rejects
from unires_jax.prepare.sources import (
    cris,
    identity,
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


PACKED = (".zip", ".tar", ".tar.gz", ".tgz", ".7z", ".rar")


class Match(NamedTuple):
    """A form of which a folder holds something."""

    form: Form
    files: Files


def best_first(forms: Iterable[Match]) -> list[Match]:
    """The forms of which the folder holds something, the best to convert first.

    Those that lack nothing go before those that do; among them, what keeps most.
    """
    some = [match for match in forms if match.files.present]
    return sorted(some, key=lambda m: (bool(m.files.missing), m.form.loss))


def every(root: str | Path, benchmark: Benchmark) -> list[Match]:
    """What the folder holds of every form, be it nothing."""
    return [Match(form, form.find(Path(root), benchmark)) for form in FORMS]


def recognise(root: str | Path, benchmark: Benchmark) -> Match:
    """The form to convert. Raises DataError naming by full path what is missing."""
    root = Path(root)
    return _best(root, benchmark, _forms(root, benchmark))


def _forms(root: Path, benchmark: Benchmark) -> list[Match]:
    if not os.path.isdir(root):
        raise DataError(
            "no such folder; name that of the raw files with --raw",
            place=str(root),
            kind=Kind.FILE_MISSING,
        )
    return every(root, benchmark)


def _best(root: Path, benchmark: Benchmark, forms: Sequence[Match]) -> Match:
    """The form to convert. Raises DataError as `recognise`."""
    best = next(iter(best_first(forms)), None)
    if best is None:
        usual = ", ".join(str(path) for m in forms for path in m.files.usual)
        raise DataError(
            f"holds no known form of {benchmark.name}; expected one of: {usual}"
            + _not_taken(root, forms),
            place=str(root),
        )
    if best.files.missing:
        raise DataError(
            f"holds the {best.form.name} form of {benchmark.name}, but lacks: "
            + ", ".join(map(str, best.files.missing))
            + _not_taken(root, [best]),
            place=str(root),
        )
    return best


def _not_taken(root: Path, forms: Iterable[Match]) -> str:
    """What lies there beside and is not read, in words; "" if nothing."""
    reasons = [
        f"{path.relative_to(root)} ({reason})"
        for match in forms
        for path, reason in match.files.passed.items()
    ]
    packed = [p.name for p in sorted(root.iterdir()) if p.name.endswith(PACKED)]
    reasons += [f"{name} (is packed; unpack it)" for name in packed]
    if not reasons:
        return ""
    more = f", and {len(reasons) - NAMED} more" if len(reasons) > NAMED else ""
    return f". Not taken: {', '.join(reasons[:NAMED])}{more}"


def read(raw: Raw, benchmark: Benchmark, rejects: Rejects) -> Source:
    """Read a benchmark from a folder in whichever form it holds.

    Raises DataError naming what is missing.
    """
    forms = _forms(raw.root, benchmark)
    form, files = _best(raw.root, benchmark, forms)
    tell(forms, rejects.notes)
    source = form.read(raw, benchmark, rejects)
    rejects.check()
    splits = Counter(referent.split for referent in source.referents)
    identity.check_counts(splits, benchmark, str(raw.root))
    return source._replace(files=source.files or files.present)


def tell(forms: Sequence[Match], notes: Notes) -> None:
    """Note what is not read of what a folder holds."""
    best, *others = best_first(forms)
    for path in best.files.absent:
        notes.add("is not there; its split is left out", str(path))
    for match in others:
        place = str(match.files.present[0])
        notes.add(f"is of the {match.form.name} form, {best.form.name} is read", place)
    for match in forms:
        for path, reason in match.files.passed.items():
            notes.add(f"passed over: {reason}", str(path))
