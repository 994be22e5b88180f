"""Which files of a folder are of the split that is asked for, by their names."""

import re
from collections.abc import Collection
from pathlib import Path, PurePath
from typing import TypeVar

from unires_jax.errors import DataError
from unires_jax.prepare.mres.jsonl import SPLIT_WORDS

P = TypeVar("P", bound=PurePath)


def of(root: Path, names: Collection[P], split: str) -> set[P]:
    """Those of some names below a folder that are of one split (`train-00000.parquet`).

    What says no split is of any while no more than one is said. Raises DataError where
    several are, and none of them is asked for.
    """
    said = {name: word(name) for name in names}
    words = sorted({*said.values()} - {""})
    if len(words) < 2:
        return {*names}
    if split not in words:
        raise DataError(
            f"holds the splits {', '.join(words)}; name one with --split, or the "
            "folder or file of one",
            place=str(root),
        )
    return {name for name, own in said.items() if own == split}


def word(name: PurePath) -> str:
    """The split that a name says, its last part that says one first; "" if none does.

    `train/val-images` is val's.
    """
    for part in reversed(name.parts):
        words = re.split(r"[^A-Za-z]+", part.lower())
        names = {SPLIT_WORDS[w] for w in words if w in SPLIT_WORDS}
        if len(names) == 1:
            return names.pop()
    return ""


def only(names: Collection[PurePath]) -> str:
    """The one split that some names say; "" if they say none, or several."""
    words = {word(name) for name in names} - {""}
    return words.pop() if len(words) == 1 else ""
