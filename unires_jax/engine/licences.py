"""What the makers of a model or data set ask for, said wherever its work is shown."""

from collections.abc import Iterable

from unires_jax.engine.backends import BACKENDS

OURS = "made by unires_jax: Apache-2.0"
UNKNOWN = "not known here; read its source's terms"
_WITHOUT_MODEL = ("geometry", "template", "exact", "shipped")


def licence_lines(sources: Iterable[str], stated: Iterable[str] = ()) -> dict[str, str]:
    """The licence of each source of a record: `<backend>@<fingerprint>`, or a word.

    `stated` are lines of the user's own, `<what>: <licence>`, of pictures and boxes.
    """
    lines = {source: _licence(source) for source in sorted(set(sources)) if source}
    for line in stated:
        what, _, licence = line.partition(":")
        lines[what.strip()] = licence.strip() or UNKNOWN
    return lines


def _licence(source: str) -> str:
    backend = source.partition("@")[0]
    if backend in BACKENDS and BACKENDS[backend].licence:
        return BACKENDS[backend].licence
    return OURS if backend in _WITHOUT_MODEL else UNKNOWN
