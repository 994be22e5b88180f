"""The shipped vocabulary in the role of a model."""

import hashlib
import json

from unires_jax.engine.vocabulary import entries, find


def fingerprint_of(checkpoint: str) -> str:
    """Of the names, with those of a file of one's own: 12 hex digits of SHA-256."""
    text = json.dumps(entries(checkpoint or None), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


class Shipped:
    """Parts by category (`roles.Vocabulary`); no model stands behind it.

    `checkpoint` is a file of one's own that is added, or "".
    """

    name = "shipped"
    licence = "names of PACO, Pascal-Part and ADE20K, as facts"

    def __init__(self, checkpoint: str = "", **ignored: str) -> None:
        """Raises DataError for a file that is no vocabulary."""
        self._entries = entries(checkpoint or None)
        self.fingerprint = fingerprint_of(checkpoint)

    def parts(self, category: str) -> list[str]:
        """Names of the parts that a thing of this category has; [] where unknown."""
        return list(find(category, self._entries)[1])
