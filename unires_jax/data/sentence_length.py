"""Sentences longer than a text tower reads, counted before a tokenizer is chosen.

A count of pieces bounds the tokens of every byte-pair vocabulary of CLIP's kind from
below, so that whatever is counted here is cut for certain. Source: CLIP's word pattern.
"""

import re

from unires_jax.config import TextConfig
from unires_jax.data.records import Record

READ = TextConfig().context - 2  # tokens that CLIP reads, without those around them

# English contractions, words, single digits and runs of other signs.
_PIECES = re.compile(
    r"'(?:s|t|re|ve|m|ll|d)|[^\W\d_]+|\d|(?:[^\w\s]|_)+", re.IGNORECASE
)


def tokens_at_least(sentence: str) -> int:
    """How many tokens a sentence has, or fewer than it has."""
    return len(_PIECES.findall(sentence))


def count_cut(record: Record) -> int:
    """How many sentences of a record CLIP's text tower does not read to their end."""
    return sum(tokens_at_least(x.sent) > READ for x in record.expressions)


def told(count: int) -> str:
    """What a builder says of so many such sentences."""
    return (
        f"{count} sentences have more than the {READ} tokens that CLIP reads: their "
        "ends will not be read (unires doctor names some)"
    )
