"""Words of short English texts, as far as the engine's checks need them. Ours."""

import re
from collections.abc import Iterable

_WORD = re.compile(r"[^\W_]+(?:-[^\W_]+)*")
_POSSESSIVE = re.compile("['\u2019]s\\b")
_SMALL = {"a", "an", "the", "of", "this", "that", "there", "is", "s"}
_IRREGULAR = {
    **{"people": "person", "men": "man", "women": "woman", "children": "child"},
    **{"feet": "foot", "teeth": "tooth", "geese": "goose", "mice": "mouse"},
    **{"oxen": "ox", "knives": "knife", "leaves": "leaf", "shelves": "shelf"},
    **{"loaves": "loaf", "wolves": "wolf", "calves": "calf", "hooves": "hoof"},
    **{"scarves": "scarf", "halves": "half", "wives": "wife", "lives": "life"},
}


def words(text: str) -> list[str]:
    """The words of a text in lower case; "car's" is "car"."""
    return _WORD.findall(_POSSESSIVE.sub("", text.lower()))


def singular(word: str) -> str:
    """A noun without the ending of its plural; equal for both, if not always right."""
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("ses", "xes", "ches", "shes", "zes", "oes")):
        return word[:-2]
    if word.endswith("s") and not word.endswith("ss") and len(word) > 2:
        return word[:-1]
    return word


def names(text: str, part: str) -> bool:
    """Whether a text has the noun of a part's name: "rim" of "rim of the wheel"."""
    head = words(part.replace("_", " ").split(" of ")[0])
    return not head or singular(head[-1]) in map(singular, words(text))


def is_bare(text: str, nouns: Iterable[str]) -> bool:
    """Whether a text says no more than these nouns: it has no modifier."""
    plain = {singular(word) for noun in nouns for word in words(noun.replace("_", " "))}
    return all(w in _SMALL or singular(w) in plain for w in words(text))


def repetition(text: str) -> float:
    """The share of a text's words that it has said before."""
    said = words(text)
    return 1 - len(set(said)) / len(said) if said else 0.0
