"""Which columns of a table hold what: as asked for, else by the names that are usual.

Sources of the names: the ImageFolder of Hugging Face's datasets (`file_name`, and
`*_file_name` of further files), and data sets of the hub; the order is ours.
"""

import re
from collections.abc import Iterable, Mapping, Sequence

from unires_jax.errors import DataError, UsageError, shorten
from unires_jax.prepare.notes import Notes

IMAGE, MASK, TEXT, LABEL = ROLES = ("image", "mask", "text", "label")
# The usual names of each, the likeliest first.
USUAL: Mapping[str, tuple[str, ...]] = {
    IMAGE: (
        *("image", "file_name", "filename", "image_file_name", "image_path"),
        *("image_file", "image_name", "img", "img_path", "picture", "photo"),
    ),
    MASK: (
        *("mask", "masks", "mask_file_name", "mask_path", "mask_file", "mask_name"),
        *("mask_image", "segmentation_mask", "segmentation", "rle", "mask_rle"),
        *("polygon", "polygons", "seg", "segment"),
    ),
    TEXT: (
        *("text", "texts", "sentence", "sentences", "caption", "captions"),
        *("expression", "expressions", "referring_expression"),
        *("referring_expressions", "phrase", "phrases", "prompt", "query"),
        *("description", "sent", "sents"),
    ),
    LABEL: ("category", "category_name", "class_name", "class", "label"),
}


def parse(pairs: Iterable[str]) -> dict[str, str]:
    """Columns by role of `--column text=sentence`. Raises UsageError."""
    asked = {}
    for pair in pairs:
        role, sign, name = pair.partition("=")
        if role not in ROLES or not sign or not name:
            raise UsageError(
                f"--column {shorten(pair)}: expected one of {', '.join(ROLES)}, = and "
                "the name of a column: --column text=sentence"
            )
        asked[role] = name
    return asked


def choose(
    names: Sequence[str], asked: Mapping[str, str], notes: Notes | None = None
) -> dict[str, str]:
    """The column of each role that has one among `names`.

    `notes` takes where another would have done. Raises DataError naming the columns
    that there are where one that was asked for is not among them.
    """
    plain = {_plain(name): name for name in reversed(names)}
    chosen = {}
    for role, usual in USUAL.items():
        if role in asked:
            if asked[role] not in names:
                raise DataError(
                    f"has no column {asked[role]!r}; it has {listed(names)}"
                )
            chosen[role] = asked[role]
            continue
        there = [plain[name] for name in usual if name in plain]
        there = [name for name in there if name not in asked.values()]
        if there:
            chosen[role] = there[0]
        if notes and len(there) > 1:
            notes.add(
                f"{role}: the column {there[0]!r} is taken, not {there[1]!r}; --column "
                f"{role}={there[1]} takes that"
            )
    return chosen


def require(
    chosen: Mapping[str, str], roles: Iterable[str], names: Sequence[str]
) -> None:
    """Raise DataError naming the columns that there are unless the roles have one."""
    absent = [role for role in roles if role not in chosen]
    if absent:
        options = " ".join(f"--column {role}=NAME" for role in absent)
        raise DataError(
            f"no column is known to hold {' and '.join(absent)}; it has "
            f"{listed(names)}; say which does: {options}"
        )


def listed(names: Sequence[str]) -> str:
    """The names of columns for messages."""
    return shorten(", ".join(map(str, names))) or "none"


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
