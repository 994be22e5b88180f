"""The folder of an evaluation: whose it is, so that none takes another's place.

Hours of work lie in one. Which question it answers (whose masks, of which step, which
splits, by which protocol) stands in its metrics.json.
"""

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from unires_jax import disk, documents, lock
from unires_jax.errors import ConfigError, shorten
from unires_jax.files import Location, locate

METRICS = "metrics.json"
FILES = ("predictions.jsonl", METRICS, "report.html", "gallery.jpg")
COMPARISON = "comparison.json"
# What of `about` tells questions apart; versions and revisions are how it was answered.
_ASKED = (
    *("name", "step", "checkpoint", "image_size", "predictions", "protocol", "images"),
)
# What reading a file of other content raises.
_UNREADABLE = (AttributeError, LookupError, TypeError, ValueError)

Question = Mapping[str, Any]


def question(
    about: Mapping[str, Any], data: Mapping[str, str], derange: bool
) -> Question:
    """What an evaluation asks; `data` holds the fingerprint of each split."""
    asked = {name: about.get(name) for name in _ASKED}
    return asked | {"splits": ", ".join(data), "data": dict(data), "derange": derange}


@contextlib.contextmanager
def hold(
    out: str | os.PathLike[str], asked: Question, overwrite: bool
) -> Iterator[None]:
    """Hold a folder, made if need be, until its evaluation is written.

    Raises ConfigError if another process holds it, or if it answers another question
    and `overwrite` is not given.
    """
    folder = locate(out)
    if not overwrite:
        _require_free(folder, asked)
    if not isinstance(folder, Path):
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    try:
        disk.require_writable(folder)
        with lock.hold_folder(folder, "evaluation"):
            yield
    finally:
        with contextlib.suppress(OSError):  # unless something is in it
            folder.rmdir()


def _require_free(folder: Location, asked: Question) -> None:
    remedy = "name another --out, or give --overwrite"
    there = [name for name in FILES if (folder / name).exists()]
    if not there:
        return
    if METRICS not in there:
        raise ConfigError(
            f"holds a {there[0]} that no evaluation wrote; {remedy}", place=str(folder)
        )
    try:
        before = _asked_before(documents.read_object(folder / METRICS))
    except _UNREADABLE as error:
        raise ConfigError(
            f"holds a {METRICS} that is no evaluation's ({type(error).__name__}); "
            f"{remedy}",
            place=str(folder),
        ) from None
    _require_same(folder, before, asked, remedy)


def _require_same(
    folder: Location, before: Question, asked: Question, remedy: str
) -> None:
    differ = [name for name in asked if before.get(name) != asked[name]]
    if differ:
        old, new = (
            ", ".join(f"{x} {shorten(str(q.get(x)))}" for x in differ)
            for q in (before, asked)
        )
        raise ConfigError(
            f"holds another evaluation, with {old}; now {new}: {remedy}",
            place=str(folder),
        )


def _asked_before(metrics: Mapping[str, Any]) -> Question:
    blocks = list(metrics.values())
    data = {name: block["about"]["data"] for name, block in metrics.items()}
    return question(blocks[0]["about"], data, "reading" in blocks[0])


def require_free_comparison(
    out: str | os.PathLike[str], asked: Question, overwrite: bool
) -> None:
    """Raise ConfigError if a folder holds the comparison of others."""
    file = locate(out) / COMPARISON
    if overwrite or not file.exists():
        return
    before: Question = {}
    with contextlib.suppress(*_UNREADABLE):
        numbers = documents.read_object(file)
        before = {**numbers["about"], "splits": ", ".join(numbers["splits"])}
    remedy = "name another --out, or give --overwrite"
    _require_same(file.parent, before, asked, remedy)
