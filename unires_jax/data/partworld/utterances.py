"""Which expressions a scene gets: drawn descriptions that denote exactly their targets."""

import dataclasses
from random import Random

from unires_jax.data.partworld import wording
from unires_jax.data.partworld.description import (
    CORNERS,
    PLACES,
    RELATIONS,
    SIDES,
    Description,
    Phrase,
    Target,
    denotes,
    names_novel,
    rivals,
    touches_novel,
)
from unires_jax.data.partworld.kinds import COLOURS, GROUPS, KINDS, PARTS, members
from unires_jax.data.partworld.render import View

TRIES = 12  # draws for each expression wanted
MULTI_SHARE, NONE_SHARE = 0.11, 0.035
# Which modifiers a phrase carries, and how often it is tried. Easy ones come first so
# that a small model learns words before it learns to count.
_MODIFIERS: tuple[tuple[tuple[str, ...], int], ...] = (
    ((), 14),
    (("colour",), 30),
    (("place",), 22),
    (("colour", "place"), 9),
    (("size",), 9),
    (("size", "colour"), 4),
    (("ordinal",), 8),
    (("relation",), 9),
    (("colour", "relation"), 3),
)


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


def utterances(
    view: View, living: bool | None, novel: bool, r: Random
) -> list[Utterance]:
    """Distinct, checked expressions of a scene, about half of them about parts.

    `living` restricts targets to people and animals (True) or to the rest (False);
    `novel` asks for expressions that name a held-out pair, otherwise none does.
    """
    allowed = [
        i
        for i, o in enumerate(view.objects)
        if living is None or KINDS[o.kind].living == living
    ]
    wanted = min(r.randint(8, 16), 4 + 4 * len(allowed))
    made: dict[str, Utterance] = {}
    for _ in range(TRIES * wanted):
        if len(made) >= wanted or not allowed:
            break
        parts = sum(u.part for u in made.values())
        empty = not novel and r.random() < NONE_SHARE
        draw = _none if empty else _one_or_more
        description = draw(view, allowed, 2 * parts <= len(made), novel, r)
        utterance = description and _check(view, description, living, novel, r)
        if utterance and bool(utterance.targets) != empty:
            made.setdefault(utterance.text, utterance)
    return list(made.values())


def _check(
    view: View, description: Description, living: bool | None, novel: bool, r: Random
) -> Utterance | None:
    targets = denotes(description, view)
    if targets is None:
        return None
    if novel and not all(names_novel(p) for p in description):
        return None
    if not novel and touches_novel(description, targets, view):
        return None
    kinds = {view.objects[i].kind for i, _ in targets}
    named = {k for p in description for k in members(p.noun)} if not targets else kinds
    if living is not None and any(KINDS[k].living != living for k in named):
        return None
    instances = len(targets)
    if description[0].part and targets:
        instances = sum(view.objects[i].parts[part].count for i, part in targets)
    elif description[0].part:
        instances = r.choice((1, 2))
    compared = len(rivals(description[0], view))
    text = wording.say(description, compared, len(targets), instances, r)
    return Utterance(text, description, targets)


def _one_or_more(
    view: View, allowed: list[int], part: bool, novel: bool, r: Random
) -> Description | None:
    if not novel and r.random() < MULTI_SHARE:
        return _multi(view, allowed, part, r)
    return _single(view, r.choice(allowed), part, novel, r)


def _single(
    view: View, target: int, part: bool, novel: bool, r: Random
) -> Description | None:
    seen = view.objects[target]
    noun = seen.kind
    group = KINDS[noun].group
    if group and not novel and r.random() < 0.15:
        noun = group
    name = ""
    if part:
        clear = [p for p, region in seen.parts.items() if region.clear]
        if not clear:
            return None
        name = r.choice(sorted(clear))
        if not novel and r.random() < 0.12:
            return (Phrase("", part=name, place=r.choice(("", "", *SIDES))),)
    modifiers, weights = zip(*_MODIFIERS, strict=True)
    phrase = Phrase(noun, part=name)
    for modifier in r.choices(modifiers, weights)[0]:
        phrase = _modify(phrase, modifier, view, target, r)
    return (phrase,)


def _modify(
    phrase: Phrase, modifier: str, view: View, target: int, r: Random
) -> Phrase:
    if modifier == "colour":
        return dataclasses.replace(phrase, colour=view.objects[target].colour)
    if modifier == "size":
        return dataclasses.replace(phrase, size=r.choice(("big", "small")))
    if modifier == "place":
        weights = [3 if p in SIDES[:2] else 2 if p in SIDES else 1 for p in PLACES]
        return dataclasses.replace(phrase, place=r.choices(PLACES, weights)[0])
    if modifier == "ordinal":
        side = r.choice(("left", "right"))
        return dataclasses.replace(phrase, ordinal=r.choice((1, 2, 2, 3)), side=side)
    others = [o for i, o in enumerate(view.objects) if i != target]
    other = r.choice(others)
    anchor = Phrase(other.kind, other.colour if r.random() < 0.3 else "")
    return dataclasses.replace(
        phrase, relation=r.choice(list(RELATIONS)), anchor=anchor
    )


def _multi(view: View, allowed: list[int], part: bool, r: Random) -> Description | None:
    seen = view.objects[r.choice(allowed)]
    if not part and r.random() < 0.35 and len(allowed) > 1:
        pair = r.sample(allowed, 2)
        return tuple(
            Phrase(o.kind, o.colour if r.random() < 0.5 else "")
            for o in (view.objects[i] for i in pair)
        )
    noun = KINDS[seen.kind].group if r.random() < 0.3 else seen.kind
    if not noun:
        noun = seen.kind
    return (
        Phrase(
            noun,
            colour=seen.colour if r.random() < 0.25 else "",
            place=r.choice(("left", "right", "top", "bottom"))
            if r.random() < 0.3
            else "",
            part=r.choice(sorted(seen.parts)) if part and seen.parts else "",
            several=True,
        ),
    )


def _none(
    view: View, allowed: list[int], part: bool, novel: bool, r: Random
) -> Description | None:
    """A description close to the scene that fits nothing in it."""
    seen = view.objects[r.choice(allowed)]
    if part and r.random() < 0.6:
        absent = [p for p in PARTS if p not in KINDS[seen.kind].parts]
        return (
            Phrase(
                seen.kind, colour=r.choice(("", seen.colour)), part=r.choice(absent)
            ),
        )
    noun, colour = seen.kind, seen.colour
    if r.random() < 0.5:
        noun = r.choice([k for k in KINDS if k != noun])
    else:
        colour = r.choice([c for c in COLOURS if c != colour])
    name = r.choice(KINDS[noun].parts) if part else ""
    phrase = Phrase(noun, colour=colour, part=name)
    return (phrase,) if not rivals(phrase, view) else None


__all__ = ["CORNERS", "GROUPS", "Utterance", "utterances"]
