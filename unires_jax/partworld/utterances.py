"""What is said of a scene: drawn descriptions that denote exactly their targets."""

import dataclasses
from random import Random

from unires_jax.data.predicates import PLACES, RELATIONS, SIDES, toward
from unires_jax.partworld.description import (
    Description,
    Phrase,
    Target,
    denotes,
    names_novel,
    rivals,
    touches_novel,
)
from unires_jax.partworld.kinds import (
    COLOURS,
    KINDS,
    NOVEL_COLOURS,
    NOVEL_PARTS,
    PARTS,
    Rules,
    members,
)
from unires_jax.partworld.render import View
from unires_jax.partworld.wording import Numbers, say

COUNT = (8, 16)  # expressions of a scene, fewer where little can be said
NOVEL_COUNT = (3, 8)
TRIES = 12  # draws for each expression asked for
MULTI_SHARE, NONE_SHARE = 0.11, 0.035  # of the draws; 10 % and 7 % of what is kept
GROUP_SHARE = 0.15  # "animal" instead of "dog"
BARE_SHARE = 0.12  # "left roof" instead of "roof of the left house"
# Which modifiers a phrase carries, and how often that is tried.
_MODIFIERS: dict[tuple[str, ...], int] = {
    (): 14,
    ("colour",): 30,
    ("place",): 22,
    ("colour", "place"): 9,
    ("size",): 12,
    ("size", "colour"): 5,
    ("ordinal",): 12,
    ("relation",): 9,
    ("colour", "relation"): 3,
}


@dataclasses.dataclass(frozen=True)
class Utterance:
    """One expression of a scene."""

    text: str
    description: Description
    targets: frozenset[Target]  # empty: denotes nothing

    @property
    def part(self) -> bool:
        """Whether it speaks of a part."""
        return bool(self.description[0].part)


def utterances(view: View, rules: Rules, r: Random) -> list[Utterance]:
    """Distinct, checked expressions of a scene, about half of them about parts."""
    allowed = [
        i for i, o in enumerate(view.objects) if rules.speaks_of(o.kind, o.colour)
    ]
    if not allowed:
        return []
    count = min(r.randint(*NOVEL_COUNT if rules.novel else COUNT), 4 + 4 * len(allowed))
    by_words: dict[str, Utterance] = {}
    for _ in range(TRIES * count):
        if len(by_words) == count:
            break
        part = 2 * sum(u.part for u in by_words.values()) <= len(by_words)
        empty = not rules.novel and r.random() < NONE_SHARE
        draw = _none if empty else _one_or_more
        description = draw(view, r.choice(allowed), part, rules, r)
        utterance = description and _utter(view, description, rules, r)
        if utterance and bool(utterance.targets) != empty:
            by_words.setdefault(utterance.text.replace("the ", ""), utterance)
    return list(by_words.values())


def _utter(
    view: View, description: Description, rules: Rules, r: Random
) -> Utterance | None:
    """The description in words, if it is certain and within the rules."""
    targets = denotes(description, view)
    if targets is None or not _within(rules, description, targets, view):
        return None
    first = description[0]
    instances = len(targets) or r.choice((1, 2))
    if first.part and targets:
        instances = sum(view.objects[i].parts[part].count for i, part in targets)
    numbers = Numbers(len(rivals(first, view)), len(targets), instances)
    return Utterance(say(description, numbers, r), description, targets)


def _within(
    rules: Rules, description: Description, targets: frozenset[Target], view: View
) -> bool:
    if rules.novel:
        return all(names_novel(p) for p in description)
    if touches_novel(description, targets, view):
        return False
    meant = {view.objects[i].kind for i, _ in targets}
    named = {kind for p in description for kind in members(p.noun)}
    return all(rules.covers(kind) for kind in meant or named)


def _one_or_more(
    view: View, target: int, part: bool, rules: Rules, r: Random
) -> Description | None:
    if not rules.novel and r.random() < MULTI_SHARE:
        return _several(view, target, part, r)
    phrase = (_novel_noun if rules.novel else _noun)(view, target, part, r)
    if phrase is None:
        return None
    if not phrase.noun:
        return (phrase,)
    (modifiers,) = r.choices(list(_MODIFIERS), list(_MODIFIERS.values()))
    for modifier in modifiers:
        phrase = _modify(phrase, modifier, view, target, r)
        if phrase is None:
            return None
    return (phrase,)


def _noun(view: View, target: int, part: bool, r: Random) -> Phrase | None:
    """A kind or its group, and one of the object's clear parts if asked for."""
    thing = view.objects[target]
    group = KINDS[thing.kind].group
    noun = group if group and r.random() < GROUP_SHARE else thing.kind
    if not part:
        return Phrase(noun)
    clear = sorted(name for name, region in thing.parts.items() if region.clear)
    if not clear:
        return None
    name = r.choice(clear)
    if r.random() < BARE_SHARE:
        return Phrase("", part=name, place=r.choice(("", "", *SIDES)))
    return Phrase(noun, part=name)


def _novel_noun(view: View, target: int, part: bool, r: Random) -> Phrase | None:
    """A held-out (colour, kind) with any part or none, or a held-out (kind, part)."""
    thing = view.objects[target]
    clear = sorted(name for name, region in thing.parts.items() if region.clear)
    held_out = [name for name in clear if (thing.kind, name) in NOVEL_PARTS]
    if (thing.colour, thing.kind) not in NOVEL_COLOURS:
        return Phrase(thing.kind, part=r.choice(held_out)) if held_out else None
    if part and not clear:
        return None
    return Phrase(thing.kind, thing.colour, part=r.choice(clear) if part else "")


def _modify(
    phrase: Phrase, modifier: str, view: View, target: int, r: Random
) -> Phrase | None:
    """The phrase with one more modifier, guessed to fit the target."""
    thing = view.objects[target]
    others = [view.objects[i] for i in rivals(phrase, view) if i != target]
    match modifier:
        case "colour":
            return dataclasses.replace(phrase, colour=thing.colour)
        case "size":
            area = thing.whole.area
            size = "big" if all(area > o.whole.area for o in others) else "small"
            return dataclasses.replace(phrase, size=size)
        case "place":
            weights = [3 if p in ("left", "right") else 1 for p in PLACES]
            return dataclasses.replace(phrase, place=r.choices(PLACES, weights)[0])
        case "ordinal":
            side = r.choice(("left", "right"))
            position = toward(side, thing.whole)
            nth = 1 + sum(toward(side, o.whole) > position for o in others)
            return dataclasses.replace(phrase, ordinal=nth, side=side)
    return _relate(phrase, view, target, r)


def _relate(phrase: Phrase, view: View, target: int, r: Random) -> Phrase | None:
    true = [
        (name, index)
        for name, holds in RELATIONS.items()
        for index in range(len(view.objects))
        if index != target and holds(view, target, index)
    ]
    if not true:
        return None
    relation, index = r.choice(true)
    landmark = view.objects[index]
    anchor = Phrase(landmark.kind, landmark.colour if r.random() < 0.3 else "")
    return dataclasses.replace(phrase, relation=relation, anchor=anchor)


def _several(view: View, target: int, part: bool, r: Random) -> Description | None:
    """A plural ("wheels of both cars"), or two objects joined by "and"."""
    thing = view.objects[target]
    if not part and r.random() < 0.35:
        second = r.choice([o for o in view.objects if o is not thing])
        return tuple(
            Phrase(o.kind, o.colour if r.random() < 0.5 else "")
            for o in (thing, second)
        )
    group = KINDS[thing.kind].group
    phrase = Phrase(
        group if group and r.random() < 0.3 else thing.kind,
        colour=thing.colour if r.random() < 0.25 else "",
        place=r.choice(SIDES) if r.random() < 0.3 else "",
        part=r.choice(sorted(thing.parts)) if part and thing.parts else "",
        several=True,
    )
    return (phrase,)


def _none(
    view: View, near: int, part: bool, rules: Rules, r: Random
) -> Description | None:
    """A description close to an object of the scene that fits nothing in it."""
    thing = view.objects[near]
    if part and r.random() < 0.6:
        foreign = [p for p in PARTS if p not in KINDS[thing.kind].parts]
        colour = r.choice(("", thing.colour))
        return (Phrase(thing.kind, colour, part=r.choice(foreign)),)
    noun, colour = thing.kind, thing.colour
    if r.random() < 0.5:
        noun = r.choice([k for k in KINDS if k != noun and rules.covers(k)])
    else:
        colour = r.choice([c for c in COLOURS if c != colour])
    phrase = Phrase(noun, colour, part=r.choice(KINDS[noun].parts) if part else "")
    return None if rivals(phrase, view) else (phrase,)
