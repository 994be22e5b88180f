"""Words of short English texts, as far as the engine's checks need them. Ours."""

import re
from collections.abc import Iterable

from unires_jax.engine.english import ARTICLES, IRREGULAR

_WORD = re.compile(r"[^\W_]+(?:-[^\W_]+)*")
_POSSESSIVE = re.compile("['\u2019]s\\b")
_SMALL = frozenset((*ARTICLES, "of", "on", "in", "with", "and", "this", "that"))
_SMALL |= {"there", "is", "s"}  # words that single nothing out
_SINGULARS = {many: one for one, many in IRREGULAR.items()}


def words(text: str) -> list[str]:
    """The words of a text in lower case; "car's" is "car"."""
    return _WORD.findall(_POSSESSIVE.sub("", text.lower()))


def stems(word: str) -> set[str]:
    """A noun without the endings of plurals: its singular and plural share a stem."""
    forms = {word, _SINGULARS.get(word, word)}
    forms |= {word.removesuffix("s"), word.removesuffix("es")}
    return forms | {f"{word[:-3]}y"} if word.endswith("ies") else forms


def names(text: str, part: str) -> bool:
    """Whether a text has the noun of a part's name: "rim" of "rim of the wheel"."""
    head = words(part.replace("_", " ").split(" of ")[0])
    return not head or any(stems(head[-1]) & stems(word) for word in words(text))


def is_bare(text: str, nouns: Iterable[str]) -> bool:
    """Whether a text says no more than these nouns, or one other: "a car", "truck"."""
    parts = (noun.replace("_", " ") for noun in nouns)
    plain = {stem for part in parts for word in words(part) for stem in stems(word)}
    content = [word for word in words(text) if word not in _SMALL]
    return len(content) <= 1 or all(stems(word) & plain for word in content)


def repetition(text: str) -> float:
    """The share of a text's words that it has said before."""
    said = words(text)
    return 1 - len(set(said)) / len(said) if said else 0.0
