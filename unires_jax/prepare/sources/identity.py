"""Which data set raw files are of, where their columns and fields do not say it.

The copies of RefCOCO, RefCOCO+ and RefCOCOg have one form and the same names of files.
What tells them apart is the name of a folder (the repository's) and how much they hold.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from unires_jax.data.catalogue import BENCHMARKS, Benchmark, Counts
from unires_jax.errors import DataError

_NAME = re.compile(
    r"(?<![a-z])(?P<many>g?)refcoco[-_ ]?(?P<kind>\+|plus|p(?![a-z])|g(?![a-z])"
    r"|m(?![a-z]))?(?![a-z0-9])(?:[-_](?P<by>unc|google|umd)(?![a-z]))?"
)
_KINDS = {"plus": "+", "p": "+"}
_HUB = re.compile(r"datasets--.+--.+")  # a data set's folder in the hub's cache


def other(path: Path, root: Path, benchmark: Benchmark) -> str:
    """The name of another data set in a file's path; "" if none says so.

    The part nearest to the file decides; above `root` only the cache of the Hugging
    Face hub names what it holds.
    """
    whole = Path(os.path.abspath(root))
    above = [part for part in whole.parts[:-1] if _HUB.fullmatch(part)]
    parts = [*above, whole.name, *path.relative_to(root).parts]
    for part in reversed(parts):
        names = _names(part)
        if len(names) == 1:
            ((name, split_by),) = names
            same = name == benchmark.folder and split_by in ("", benchmark.split_by)
            return "" if same else f"{name} {split_by}".rstrip()
        if names:
            return ""  # a collection
    return ""


def _names(part: str) -> set[tuple[str, str]]:
    """The data sets that a part of a path names, and their splits' makers or ""."""
    names = set()
    for match in _NAME.finditer(part.lower()):
        kind = match["kind"] or ""
        name = f"{match['many']}refcoco{_KINDS.get(kind, kind)}"
        names.add((name, match["by"] or ""))
    return names


def check_counts(
    referents: Mapping[str, int], benchmark: Benchmark, place: str
) -> None:
    """Raise DataError if a split holds just as many referents as another benchmark's.

    `referents` counts those of each split.
    """
    for split, count in referents.items():
        ours = benchmark.counts.get(split, Counts()).referents
        same = [
            (row.name, theirs)
            for row in BENCHMARKS.values()
            for theirs, counts in row.counts.items()
            if row.name != benchmark.name and counts.referents == count
        ]
        if ours is not None and ours != count and same:
            name, theirs = same[0]
            raise DataError(
                f"holds {count:,} referents of {split}, as many as {theirs} of {name} "
                f"is published with; that of {benchmark.name} has {ours:,}. Name the "
                f"folder of {benchmark.name}, or build {name}",
                place=place,
            )
