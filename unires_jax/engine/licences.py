"""What the makers of a model or data set ask for, said wherever its work is shown."""

from collections.abc import Iterable

from unires_jax.engine.backends import BACKENDS

OURS = "made by unires_jax without a model"
UNKNOWN = "not known here: read the terms of its source"
_WITHOUT_MODEL = ("geometry", "template")


def licence_lines(sources: Iterable[str], stated: Iterable[str] = ()) -> dict[str, str]:
    """The licence of each source of a record: `<backend>@<fingerprint>`, or a word.

    `stated` are lines of the user's own, `<what>: <terms>`, of pictures and boxes.
    """
    lines = {source: _licence(source) for source in sorted(set(sources)) if source}
    for line in stated:
        what, _, terms = line.partition(":")
        lines[what.strip()] = terms.strip() or UNKNOWN
    return lines


def _licence(source: str) -> str:
    backend = source.partition("@")[0]
    if backend in _WITHOUT_MODEL:
        return OURS
    return BACKENDS[backend].licence or UNKNOWN if backend in BACKENDS else UNKNOWN
