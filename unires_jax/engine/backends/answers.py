"""What a language model answers, read strictly: what was not asked for is nothing.

An answer may be endless, hostile or of another form. No more of it is looked at than an
honest one has. Source: ours (the rule for paraphrases: no new noun).
"""

import re

from unires_jax import documents

CHARACTERS = 4096  # of an answer; 20 names have 400
ITEMS = 20  # of a list
WORDS = 24  # of a paraphrase
_FENCE = re.compile(r"```(?:json)?\s*\n(.*?)\n?```", re.DOTALL)
_NAME = re.compile(r"[a-z]{2,20}(?:[ -][a-z]{2,20}){0,2}")
_WORD = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_PLAIN = re.compile(r"[A-Za-z0-9 ,'-]+")
_ARTICLES = {"a", "an", "the", "this", "that", "its", "their"}
_RELATIONS = {
    *("of", "on", "in", "at", "with", "near", "by", "behind", "beside", "under"),
    *("above", "below", "next", "to", "from", "over", "holding", "wearing"),
}


def texts(answer: str) -> list[str]:
    """The texts of a JSON list of at most ITEMS, alone or as the one block of code.

    [] for anything else.
    """
    if len(answer) > CHARACTERS:
        return []
    answer = answer.strip()
    if fenced := _FENCE.fullmatch(answer):
        answer = fenced[1].strip()
    try:
        values = documents.load(answer)
    except ValueError:  # DataError too
        return []
    if not isinstance(values, list) or len(values) > ITEMS:
        return []
    return values if all(isinstance(value, str) for value in values) else []


def names(answer: str) -> list[str]:
    """The names of a list: one to three plain lower-case words, each name once.

    What is no name is left out; an answer that is no list of texts has none.
    """
    candidates = [text.strip().lower() for text in texts(answer)]
    return list(dict.fromkeys(t for t in candidates if _NAME.fullmatch(t)))


def paraphrases(answer: str, source: str) -> list[str]:
    """Those of a list that name the same things in the same relation, said otherwise.

    "the wheel of the red car" may become "the red car's wheel"; not "the tire of the
    red car" (a new noun), "the red wheel of the car" or "the red car of the wheel". A
    source of two relations has none: to which noun the second belongs is a guess.
    """
    meant, spoken = _phrases(source), _words(source)
    if len(meant) > 2:
        return []
    same = [
        " ".join(text.split())
        for text in texts(answer)
        if _PLAIN.fullmatch(text) and len(text.split()) <= WORDS
    ]
    return [
        text
        for text in dict.fromkeys(same)
        if _words(text) != spoken and _phrases(text) == meant
    ]


def _words(text: str) -> list[str]:
    """Lower-cased; a possessive "'s" is a word of its own."""
    return _WORD.findall(text.lower())


def _phrases(text: str) -> list[tuple[str, tuple[str, ...]]]:
    """Its noun phrases without articles, each after its relation; "" is of the first.

    "the car's wheel" is the wheel "of" the car.
    """
    phrases, relation, phrase = [], "", list[str]()
    for word in _words(text):
        if word == "s":
            phrases.append(("of", tuple(phrase)))
            phrase = []
        elif word in _RELATIONS:
            phrases.append((relation, tuple(phrase)))
            relation, phrase = word, []
        elif word not in _ARTICLES:
            phrase.append(word)
    return sorted([*phrases, (relation, tuple(phrase))])
