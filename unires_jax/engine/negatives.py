"""Texts that denote nothing: one word of a true text swapped. Source: ours.

What is swapped in is clearly not there, by masks and pixels. A colour is taken only if
the picture has something else of that colour and says so: no colour is always wrong.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from random import Random

from unires_jax.data.records import LEVELS, PART
from unires_jax.engine.clothes import garments
from unires_jax.engine.colours import Palette
from unires_jax.engine.english import plural
from unires_jax.engine.nouns import (
    confusable,
    is_called,
    may_be_called,
    near,
    part_name,
    spoken,
    taken_for,
)
from unires_jax.engine.record import Text
from unires_jax.engine.sayings import Name, text
from unires_jax.engine.scene import Scene, Thing
from unires_jax.pixels.masks import RunMask

Vocabulary = Mapping[str, Sequence[str]]  # names of parts by category
KINDS = ("colour", "part", "category", "side")
ABSENT_PARTS = 3  # of an object that are asked for
_OPPOSITE = {"left": "right", "right": "left"}
# Forms that need no other instance.
_SWAPPABLE = ("template", "place", "colour", "joint")


@dataclasses.dataclass(frozen=True)
class Negative:
    """A text about nothing, made of one about a region."""

    region: str  # its id
    kind: str  # one of KINDS
    level: str  # what it would be about: an object, or a part
    text: Text
    colour: str = ""  # that was swapped in


def swaps(
    scene: Scene,
    palette: Palette,
    names: Mapping[int, Sequence[Name]],
    said: Mapping[str, int],
    vocabulary: Vocabulary,
    r: Random,
) -> list[Negative]:
    """All negatives of a picture that geometry and pixels allow.

    `said` are the colours that its texts name.
    """
    negatives: list[Negative] = []
    for i, its_names in sorted(names.items()):
        thing = scene.objects[i]
        for name in its_names:
            if not name.of and not name.wide:
                negatives += _colours(scene, palette, thing, name, said, r)
                negatives += _clothes(scene, palette, thing, name, said, r)
                negatives += _categories(scene, thing, name, r)
                negatives += _sides(scene, thing, name, r)
        negatives += _parts(scene, i, its_names, vocabulary, r)
    return negatives


def _made(
    thing: Thing, kind: str, words: str, of: str, r: Random, colour: str = ""
) -> list[Negative]:
    region, negative = thing.region, text(words, "negative", (), of, r)
    if negative is None:
        return []
    level = LEVELS[PART] if kind == "part" else region.level
    if level != region.level:
        negative = dataclasses.replace(negative, level=level)
    return [Negative(region.id, kind, level, negative, colour)]


def _colours(
    scene: Scene,
    palette: Palette,
    thing: Thing,
    name: Name,
    said: Mapping[str, int],
    r: Random,
) -> list[Negative]:
    """Another colour of the thing, or of what it wears."""
    category, phrase = thing.region.category, name.phrase
    if not phrase.colour or not _known(scene, category):
        return []
    masks = [
        mask
        for o in scene.objects
        if _taken_for(spoken(o.region.category), spoken(category))
        for mask in (_worn(scene, o, phrase.worn) if phrase.worn else [o.mask])
    ]
    negatives: list[Negative] = []
    for colour in sorted(said):
        if all(palette.agree(colour, m) is False for m in masks):
            words = name.words.replace(phrase.colour, colour, 1)
            negatives += _made(thing, "colour", words, name.words, r, colour)
    return negatives


def _worn(scene: Scene, wearer: Thing, noun: str) -> list[RunMask | None]:
    """What an object wears that one may take for a garment; None where it is none."""
    alike = {plural(word) for word in taken_for(noun)}
    worn = [p for p in scene.parts if p.region.parent == wearer.region.id]
    ends = [part_name(p.region.part).noun.split()[-1] for p in worn]
    taken = [p.mask for p, end in zip(worn, ends, strict=True) if plural(end) in alike]
    return [*taken] or [None]


def _taken_for(noun: str, word: str) -> bool:
    """Whether one may call a thing by a word, rightly or not."""
    return may_be_called(noun, word) or noun in confusable(word)


def _clothes(
    scene: Scene,
    palette: Palette,
    thing: Thing,
    name: Name,
    said: Mapping[str, int],
    r: Random,
) -> list[Negative]:
    """Another colour of what the one object of its category wears."""
    negatives: list[Negative] = []
    if not scene.alone(thing.region.category) or name.phrase.worn:
        return negatives
    for noun, part in garments(scene, thing.region.id).items():
        own = palette.colour(part.mask)
        for colour in sorted(said) if own else ():
            worn = _worn(scene, thing, noun)
            if all(palette.agree(colour, m) is False for m in worn):
                words, of = (f"{c} {noun} of the {name.words}" for c in (colour, own))
                negatives += _made(part, "colour", words, of, r, colour)
    return negatives


def _known(scene: Scene, category: str) -> bool:
    """Whether all that one may take for a category's are marked one by one."""
    noun = spoken(category)
    crowds = any(_taken_for(spoken(c), noun) for c in scene.crowded)
    return scene.exhaustive and not crowds


def _categories(scene: Scene, thing: Thing, name: Name, r: Random) -> list[Negative]:
    if name.phrase.form not in _SWAPPABLE or not scene.exhaustive:
        return []
    there = {
        *scene.categories,
        *scene.crowded,
        *(p.region.category for p in scene.parts),
    }
    nouns = {spoken(c) for c in there}
    nouns |= {word for noun in nouns for word in noun.split()}
    others = [
        c
        for c in near(thing.region.category)
        if not any(_taken_for(noun, c) or is_called(c, noun) for noun in nouns)
    ]
    if not others:
        return []
    words = name.phrase.around(r.choice(others))
    return _made(thing, "category", words, name.words, r)


def _sides(scene: Scene, thing: Thing, name: Name, r: Random) -> list[Negative]:
    """The other side of the one thing of its kind, beside nothing like it.

    In a source that does not mark all, the detector's look at that side decides (U3).
    """
    side, category = name.phrase.side, thing.region.category
    others = {spoken(c) for c in (*scene.categories, *scene.crowded) if c != category}
    if not side or any(_taken_for(noun, spoken(category)) for noun in others):
        return []
    words = f"{name.noun} on the {_OPPOSITE[side]}"
    return _made(thing, "side", words, name.words, r)


def _parts(
    scene: Scene, index: int, names: Sequence[Name], vocabulary: Vocabulary, r: Random
) -> list[Negative]:
    """Parts that such a thing may have and none in the picture shows, or never has."""
    thing = scene.objects[index]
    category = thing.region.category
    its_own = {part_name(p).noun for p in vocabulary.get(category, ())}
    if not its_own or not names or not _known(scene, category):
        return []
    shown: dict[str, set[str]] = {}
    for part in scene.parts:
        noun = part_name(part.region.part).noun
        shown.setdefault(part.region.category, set()).add(noun)
    foreign = {n for c, nouns in shown.items() if c != category for n in nouns}
    if all(part.region.parent != thing.region.id for part in scene.parts):
        return []  # too small to be searched, perhaps
    # "heels" may be there where "shoe" is.
    there = {plural(w) for n in shown[category] for w in taken_for(n)}
    absent = {n for n in its_own | foreign if plural(n.split()[-1]) not in there}
    negatives: list[Negative] = []
    for noun in r.sample(sorted(absent), min(ABSENT_PARTS, len(absent))):
        words = r.choice(names).words
        negatives += _made(thing, "part", f"{noun} of the {words}", words, r)
    return negatives


def choose(
    negatives: Sequence[Negative],
    counts: Mapping[str, int],
    colours: Mapping[str, int],
    r: Random,
) -> list[Negative]:
    """At most `counts` of each level, the kinds in turn; no colour more than truly."""
    left, wanted = dict(colours), dict(counts)
    by_kind = {k: [n for n in negatives if n.kind == k] for k in KINDS}
    for pool in by_kind.values():
        r.shuffle(pool)
    order = r.sample(KINDS, len(KINDS))
    chosen: list[Negative] = []
    while any(wanted.values()) and any(by_kind.values()):
        for kind in order:
            if not by_kind[kind]:
                continue
            negative = by_kind[kind].pop()
            if not wanted.get(negative.level, 0):
                continue
            if negative.colour and not left.get(negative.colour, 0):
                continue
            if negative.colour:
                left[negative.colour] -= 1
            wanted[negative.level] -= 1
            chosen.append(negative)
    return chosen
