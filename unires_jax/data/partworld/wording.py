"""How a description is said: the short, varied word orders of referring expressions.

Sides are only ever the picture's, never an object's own, so that a mirrored picture is
right again once the words left and right are exchanged.
"""

from random import Random

from unires_jax.data.partworld.description import Description, Phrase
from unires_jax.data.partworld.kinds import KINDS, plural

_ORDINALS = {1: "first", 2: "second", 3: "third", 4: "fourth"}
_NUMBERS = {2: "two", 3: "three", 4: "four"}
_SIZES = {"big": ("big", "large", "bigger", "biggest"), "small": ("small", "little", "smaller", "smallest")}  # fmt: skip
_RELATIONS = {
    "left of": ("left of", "to the left of", "on the left of"),
    "right of": ("right of", "to the right of", "on the right of"),
    "above": ("above",),
    "below": ("below", "under"),
    "next to": ("next to", "beside"),
    "in front of": ("in front of",),
    "behind": ("behind",),
}
_BEFORE = {"middle": ("middle", "center")}
_AFTER = {
    "left": ("on the left", "on left", "left", "on the left side", "to the left"),
    "right": ("on the right", "on right", "right", "on the right side", "to the right"),
    "top": ("at the top", "at top", "on top"),
    "bottom": ("at the bottom", "at bottom", "on bottom"),
    "middle": ("in the middle", "in middle", "in the center"),
}


def say(
    description: Description, rivals: int, targets: int, instances: int, r: Random
) -> str:
    """One of a description's wordings, in lower case.

    `rivals` is the number of objects compared, `targets` of objects meant, `instances`
    of visible parts meant (2 for both arms of one man).
    """
    if len(description) > 1:
        return " and ".join(_article(_objects(p, 1, 1, r), r) for p in description)
    (phrase,) = description
    if not phrase.part:
        return _article(_objects(phrase, rivals, targets, r), r)
    noun = plural(phrase.part) if instances > 1 else phrase.part
    return _parts(phrase, noun, rivals, targets, r)


def _article(text: str, r: Random) -> str:
    bare = text.split()[0] in ("both", "all", "two", "three", "four")
    return text if bare or r.random() < 0.65 else f"the {text}"


def _parts(phrase: Phrase, noun: str, rivals: int, targets: int, r: Random) -> str:
    if not phrase.noun:
        return _article(_where(phrase, noun, r), r)
    owner, plain = _owner(phrase, rivals, targets, r)
    form = r.random()
    if phrase.several or form < 0.45:
        quantified = owner.split()[0] in ("both", "all")
        return f"{noun} of {owner}" if quantified else f"{noun} of the {owner}"
    if form < 0.55:
        return f"{noun} on the {owner}" if plain else f"{noun} of the {owner}"
    if form < 0.62 and plain and owner.split()[-1] in _kind_words(phrase):
        return f"{owner}'s {noun}"
    if plain:
        return f"{owner} {noun}"
    core = _core(phrase, rivals, 1, r)
    if phrase.place:
        return _where(phrase, f"{core} {noun}", r)
    return f"{noun} of {owner}"


def _owner(phrase: Phrase, rivals: int, targets: int, r: Random) -> tuple[str, bool]:
    """The phrase of the whole object, and whether a part's name may follow it."""
    if phrase.place and r.random() < 0.5 and not phrase.several:
        core = _core(phrase, rivals, targets, r)
        return f"{_before(phrase.place, r)} {core}", True
    plain = not (phrase.place or phrase.ordinal or phrase.relation or phrase.several)
    return _objects(phrase, rivals, targets, r), plain


def _objects(phrase: Phrase, rivals: int, targets: int, r: Random) -> str:
    core = _core(phrase, rivals, targets, r)
    if phrase.several:
        core = _quantified(core, targets, r)
    if phrase.ordinal:
        nth = _ORDINALS[phrase.ordinal]
        the = r.choice(("the ", "the ", ""))
        tail = f"from {the}{phrase.side}"
        return r.choice((f"{nth} {core} {tail}", f"{core} {nth} {tail}"))
    if phrase.relation and phrase.anchor:
        link = r.choice(_RELATIONS[phrase.relation])
        the = r.choice(("the ", "the ", ""))
        return f"{core} {link} {the}{_core(phrase.anchor, 1, 1, r)}"
    return _where(phrase, core, r)


def _where(phrase: Phrase, core: str, r: Random) -> str:
    if not phrase.place:
        return core
    before_allowed = not phrase.several
    if before_allowed and (phrase.place.startswith("far ") or r.random() < 0.45):
        return f"{_before(phrase.place, r)} {core}"
    place = phrase.place
    if place in _AFTER:
        return f"{core} {r.choice(_AFTER[place])}"
    link = (
        r.choice(("on the", ""))
        if place.startswith("far ")
        else r.choice(("in the", "at the", ""))
    )
    corner = " corner" if link == "in the" and r.random() < 0.3 else ""
    return " ".join(f"{core} {link} {place}{corner}".split())


def _before(place: str, r: Random) -> str:
    return r.choice(_BEFORE.get(place, (place,)))


def _quantified(core: str, targets: int, r: Random) -> str:
    choices = ["", "all ", f"{_NUMBERS[targets]} "] if targets in _NUMBERS else ["all "]
    return (
        r.choice(("both ", "both ", "", "two ")) if targets == 2 else r.choice(choices)
    ) + core


def _core(phrase: Phrase, rivals: int, targets: int, r: Random) -> str:
    """Size, colour and noun."""
    word = r.choice(_kind_words(phrase))
    noun = plural(word) if phrase.several else word
    size = _size(phrase.size, rivals, r)
    if not phrase.colour:
        return f"{size}{noun}"
    after = _colour_words(phrase)
    if not after:
        return f"{size}{phrase.colour} {noun}"
    return f"{size}{noun} {r.choice(after).format(c=phrase.colour)}"


def _size(size: str, rivals: int, r: Random) -> str:
    if not size:
        return ""
    plain, other, comparative, superlative = _SIZES[size]
    graded = comparative if rivals == 2 else superlative
    return r.choice((plain, other, graded)) + " "


def _kind_words(phrase: Phrase) -> tuple[str, ...]:
    return KINDS[phrase.noun].words if phrase.noun in KINDS else (phrase.noun,)


def _colour_words(phrase: Phrase) -> tuple[str, ...]:
    if phrase.noun == "person":
        return ("in {c}", "wearing {c}")
    return KINDS[phrase.noun].colour_words if phrase.noun in KINDS else ()
