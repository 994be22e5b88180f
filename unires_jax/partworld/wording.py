"""How a description is said: the short, varied word orders of referring expressions.

Sides are only ever the picture's, never an object's own, so that a mirrored picture is
right again once the words left and right are exchanged.
"""

import dataclasses
from random import Random

from unires_jax.partworld.description import Description, Phrase
from unires_jax.partworld.kinds import KINDS, plural

_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth")
_NUMBERS = {2: "two", 3: "three", 4: "four"}
_SIZES = {  # any, of exactly two, of more
    "big": (("big", "large"), "bigger", "biggest"),
    "small": (("small", "little"), "smaller", "smallest"),
}
_RELATIONS = {
    "left of": ("left of", "to the left of", "on the left of"),
    "right of": ("right of", "to the right of", "on the right of"),
    "above": ("above", "above", "over"),
    "below": ("below", "below", "under"),
    "next to": ("next to", "beside"),
    "in front of": ("in front of",),
    "behind": ("behind",),
}
_AFTER = {
    "left": ("on the left", "on left", "left", "on the left side", "to the left"),
    "right": ("on the right", "on right", "right", "on the right side", "to the right"),
    "top": ("at the top", "at top", "on top"),
    "bottom": ("at the bottom", "at bottom", "on bottom"),
    "middle": ("in the middle", "in middle", "in the center"),
    "far": ("on the {}", "on {}", "{}"),
    "corner": ("in the {}", "at the {}", "{}", "in the {} corner"),
}
_WORN = ("shirt", "dress", "hat", "hair")
_PERSON = ("in {c}", "wearing {c}")


@dataclasses.dataclass(frozen=True)
class Numbers:
    """What the wording of a description must agree with."""

    rivals: int  # objects compared: two have a bigger one, three a biggest
    targets: int  # objects meant
    instances: int  # visible parts meant: 2 for both arms of one man


def say(description: Description, numbers: Numbers, r: Random) -> str:
    """One of a description's wordings, in lower case, drawn by `r`."""
    if len(description) > 1:
        single = Numbers(1, 1, 1)
        return " and ".join(_article(_objects(p, single, r), r) for p in description)
    (phrase,) = description
    text = _parts(phrase, numbers, r) if phrase.part else _objects(phrase, numbers, r)
    return _article(text, r)


def _article(text: str, r: Random) -> str:
    counted = text.split()[0] in ("both", "all", *_NUMBERS.values())
    return text if counted or r.random() < 0.7 else f"the {text}"


def _parts(phrase: Phrase, numbers: Numbers, r: Random) -> str:
    """The part's name before, after or around the words of its object."""
    noun = plural(phrase.part) if numbers.instances > 1 else phrase.part
    if not phrase.noun:
        return _where(phrase, noun, r)
    # "Man in black hat" would be the man: what is worn keeps apart from the colour.
    worn = phrase.part in _WORN and bool(phrase.colour)
    if phrase.several or worn or r.random() < 0.5:
        owner = _objects(phrase, numbers, r)
        whole = owner.split()[0] in ("both", "all")
        return f"{noun} of {owner}" if whole else f"{noun} of the {owner}"
    core = _core(phrase, numbers, r)
    if phrase.ordinal or phrase.relation:
        return f"{noun} of {_around(phrase, core, r)}"
    if phrase.place and r.random() < 0.5:
        return _where(phrase, f"{core} {noun}", r)
    owner = f"{_before(phrase.place, r)} {core}".strip()
    possessive = (
        "{owner}'s {noun}" if core.endswith(_nouns(phrase)) else "{owner} {noun}"
    )
    forms = ("{owner} {noun}", "{owner} {noun}", possessive, "{noun} on the {owner}")
    return r.choice(forms).format(owner=owner, noun=noun)


def _objects(phrase: Phrase, numbers: Numbers, r: Random) -> str:
    core = _core(phrase, numbers, r)
    if phrase.several:
        core = f"{_quantity(numbers.targets, r)} {core}".strip()
    return _around(phrase, core, r)


def _quantity(count: int, r: Random) -> str:
    if count == 2:
        return r.choice(("", "both", "both", "two"))
    return r.choice(("", "all", "all the", _NUMBERS.get(count, "all")))


def _around(phrase: Phrase, core: str, r: Random) -> str:
    """The words of order, relation or place, put around the core."""
    the = r.choice(("the ", "the ", ""))
    if phrase.ordinal:
        nth, tail = _ORDINALS[phrase.ordinal - 1], f"from {the}{phrase.side}"
        return r.choice((f"{nth} {core} {tail}", f"{core} {nth} {tail}"))
    if phrase.anchor:
        link = r.choice(_RELATIONS[phrase.relation])
        anchor = _core(phrase.anchor, Numbers(1, 1, 1), r)
        return f"{core} {link} {the}{anchor}"
    return _where(phrase, core, r)


def _where(phrase: Phrase, core: str, r: Random) -> str:
    place = phrase.place
    if not place:
        return core
    if not phrase.several and r.random() < 0.45:
        return f"{_before(place, r)} {core}"
    first, *second = place.split()
    form = first if not second or first == "far" else "corner"
    return f"{core} {r.choice(_AFTER[form]).format(place)}"


def _before(place: str, r: Random) -> str:
    return r.choice(("middle", "center")) if place == "middle" else place


def _core(phrase: Phrase, numbers: Numbers, r: Random) -> str:
    """Size, colour and noun."""
    noun = r.choice(_nouns(phrase))
    words = [plural(noun) if phrase.several else noun]
    after = _clothed(phrase)
    if phrase.colour and after:
        words.append(r.choice(after).format(c=phrase.colour))
    elif phrase.colour:
        words.insert(0, phrase.colour)
    if phrase.size:
        plain, of_two, of_more = _SIZES[phrase.size]
        graded = of_two if numbers.rivals == 2 else of_more
        words.insert(0, r.choice((*plain, graded)))
    return " ".join(words)


def _clothed(phrase: Phrase) -> list[str]:
    """How a person's colour is said, without naming the part meant."""
    if phrase.noun == "person":
        return list(_PERSON)
    forms = KINDS[phrase.noun].colour_words if phrase.noun in KINDS else ()
    return [f for f in forms if not phrase.part or phrase.part not in f]


def _nouns(phrase: Phrase) -> tuple[str, ...]:
    return KINDS[phrase.noun].words if phrase.noun in KINDS else (phrase.noun,)
