"""What a language model answers, read strictly: what was not asked for is nothing.

An answer may be endless, hostile or of another form. No more of it is looked at than an
honest one has. Source: ours (the rule for paraphrases: no new noun).
"""

import json
import re

CHARACTERS = 4096  # of an answer; 20 names have 400
ITEMS = 20  # of a list
WORDS = 24  # of a paraphrase
_FENCE = re.compile(r"```(?:json)?\s*\n(.*?)\n?```", re.DOTALL)
_NAME = re.compile(r"[a-z]{2,20}(?:[ -][a-z]{2,20}){0,2}")
_WORD = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_PLAIN = re.compile(r"[A-Za-z0-9 ,'-]+")
# Words that say nothing of a thing; relations ("on", "behind") do.
_GRAMMAR = {
    *("a", "an", "the", "of", "s", "that", "this"),
    *("which", "who", "is", "are", "its", "their"),
}
_AFTER_HEAD = {
    *("of", "on", "in", "at", "with", "near", "by", "behind", "beside", "under"),
    *("above", "below", "next", "to", "from", "over", "that", "which", "who"),
    *("holding", "wearing"),
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
        values = json.loads(answer)
    except (ValueError, RecursionError):
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
    """Those of a list that say what `source` says and nothing else, in other order.

    Each has the words of the source, no others but grammar's, and the same head: "the
    wheel of the car" may become "the car's wheel", not "the car of the wheel" and not
    "the tire of the car".
    """
    same = [
        " ".join(text.split())
        for text in texts(answer)
        if _PLAIN.fullmatch(text) and len(text.split()) <= WORDS
    ]
    spoken = _words(source)
    return [
        text
        for text in dict.fromkeys(same)
        if _words(text) != spoken
        and _content(text) == _content(source)
        and _head(text) == _head(source)
    ]


def _words(text: str) -> list[str]:
    """Lower-cased; a possessive "'s" is a word of its own."""
    return _WORD.findall(text.lower())


def _content(text: str) -> list[str]:
    return sorted(word for word in _words(text) if word not in _GRAMMAR)


def _head(text: str) -> str:
    """The noun that a phrase is about: the last word before what follows a noun."""
    words = _words(text)
    ends = [i for i, word in enumerate(words) if i and word in _AFTER_HEAD]
    content = [w for w in words[: min(ends, default=None)] if w not in _GRAMMAR]
    return content[-1] if content else ""
