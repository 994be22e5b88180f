"""What singles an object out among those of its category. Source: ours.

A phrase is true of one object (or of the several meant) and clearly false of every
other of the category; a near tie says nothing.
"""

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence

from unires_jax.data.predicates import Truth, every, placed
from unires_jax.engine.clothes import CLOTHES, garments, wears
from unires_jax.engine.colours import COLOURS, Palette
from unires_jax.engine.nouns import (
    has_no_colour,
    is_called,
    shows_others,
    spoken,
)
from unires_jax.engine.phrases import Phrase, ordinals, places, single, sizes
from unires_jax.engine.relations import related
from unires_jax.engine.scene import Scene

MOST = 30  # of a category: more are not compared
ALL = 5  # of more, "all" may leave out one that nobody marked
_LINKS = {
    "left of": ("to the left of", "left of"),
    "right of": ("to the right of", "right of"),
    "above": ("above",),  # of the picture: what is "over" it may be behind on a table
    "below": ("below",),
    "next to": ("next to", "beside"),
    "in front of": ("in front of",),
    "behind": ("behind",),
}


def singling(scene: Scene, palette: Palette, category: str) -> dict[int, list[Phrase]]:
    """Of each instance of a category, the phrases that are true of it alone."""
    own, among = scene.instances(category), scene.called(spoken(category))
    phrases: dict[int, list[Phrase]] = {i: [] for i in own}
    if not scene.clear(spoken(category)) or not 0 < len(among) <= MOST:
        return phrases
    if scene.alone(category):
        phrases[among[0]].append(Phrase("template"))
    for i, phrase in single(among, _candidates(scene, palette, category, among)):
        if i in phrases:
            phrases[i].append(phrase)
    return phrases


def singling_widely(
    scene: Scene, palette: Palette, wide: str
) -> dict[int, list[Phrase]]:
    """The same among all that a word of WIDER means: "the animal on the left".

    {} where it says no more than the categories do, or others may be there unmarked.
    """
    among = _called_widely(scene, wide)
    phrases: dict[int, list[Phrase]] = {i: [] for i in among}
    if not among:
        return phrases
    if len(among) == 1:
        phrases[among[0]].append(Phrase("template"))
    candidates = itertools.chain(
        places(scene, among),
        sizes(scene, among),
        ordinals(scene, among),
        _looks(scene, palette, wide, among),
    )
    for i, phrase in single(among, candidates):
        phrases[i].append(phrase)
    return phrases


def _called_widely(scene: Scene, wide: str) -> list[int]:
    """All that a word of WIDER means, of other names too; [] where it is not known."""
    among, known = scene.called(wide), scene.exhaustive and scene.clear(wide)
    nouns = {spoken(scene.objects[i].region.category) for i in among}
    return list(among) if known and len(among) <= MOST and nouns != {wide} else []


def _candidates(
    scene: Scene, palette: Palette, category: str, among: Sequence[int]
) -> Iterator[tuple[Phrase, list[Truth]]]:
    """Phrases, and of which of the instances each is true."""
    yield from places(scene, among)
    yield from sizes(scene, among)
    if scene.exhaustive:
        yield from ordinals(scene, among)
        yield from _relations(scene, palette, category, among)
    yield from _looks(scene, palette, category, among)


def _looks(
    scene: Scene, palette: Palette, category: str, among: Sequence[int]
) -> Iterator[tuple[Phrase, list[Truth]]]:
    """Colours, or those of clothes, alone and with a place or a size."""
    if has_no_colour(category):
        looks = _clothes(scene, palette, among)
    else:
        looks = (
            (Phrase("colour", before=colour, colour=colour), truths)
            for colour, truths in _coloured(scene, palette, category, among)
        )
    spots = [*places(scene, among), *sizes(scene, among)]
    for phrase, truths in looks:
        yield phrase, truths
        yield from _joint(scene, phrase, truths, among, spots)


def _coloured(
    scene: Scene, palette: Palette, category: str, among: Sequence[int]
) -> Iterator[tuple[str, list[Truth]]]:
    """Colours, and which of the instances have each."""
    if shows_others(category):
        return
    for colour in COLOURS:
        if colour not in spoken(category).split():  # an orange
            yield colour, [palette.agree(colour, scene.objects[i].mask) for i in among]


def _joint(
    scene: Scene,
    look: Phrase,
    looks: Sequence[Truth],
    among: Sequence[int],
    spots: Sequence[tuple[Phrase, list[Truth]]],
) -> Iterator[tuple[Phrase, list[Truth]]]:
    """ "left red car": what singles one out among all, or among those of a colour."""
    alike = [i for i, truth in zip(among, looks, strict=True) if truth]
    if alike:
        for phrase, truths in spots:
            both = [every(pair) for pair in zip(truths, looks, strict=True)]
            yield _together(phrase, look), both
    if None in looks or not 2 <= len(alike) < len(among):
        return
    order = ordinals(scene, alike) if scene.exhaustive else ()
    for phrase, truths in itertools.chain(
        places(scene, alike), sizes(scene, alike), order
    ):
        of_alike = dict(zip(alike, truths, strict=True))
        yield _together(phrase, look), [of_alike.get(i, False) for i in among]


def _together(phrase: Phrase, look: Phrase) -> Phrase:
    """A place, a size or an order, and how the thing looks."""
    before, after = (
        " ".join(filter(None, words))
        for words in ((phrase.before, look.before), (look.after, phrase.after))
    )
    return dataclasses.replace(look, form="joint", before=before, after=after)


def _clothes(
    scene: Scene, palette: Palette, among: Sequence[int]
) -> Iterator[tuple[Phrase, list[Truth]]]:
    """Who wears what colour, where the garment of everybody is marked."""
    wardrobes = [garments(scene, scene.objects[i].region.id) for i in among]
    for noun in sorted(set.intersection(*(set(w) for w in wardrobes))):
        for colour in COLOURS:
            truths = [palette.agree(colour, w[noun].mask) for w in wardrobes]
            after = f"in the {colour} {noun}"
            yield Phrase("colour", after=after, colour=colour, worn=noun), truths
    for colour in COLOURS:
        truths = [
            wears(palette, colour, scene.objects[i].mask, w)
            for i, w in zip(among, wardrobes, strict=True)
        ]
        for word in ("in", "wearing"):
            yield Phrase("colour", after=f"{word} {colour}", worn=CLOTHES), truths


def _relations(
    scene: Scene, palette: Palette, category: str, among: Sequence[int]
) -> Iterator[tuple[Phrase, list[Truth]]]:
    """Where it is to another thing."""
    for anchor, words in _anchors(scene, palette, category):
        for name, links in _LINKS.items():
            truths = [related(name, scene, i, anchor) for i in among]
            for link in links:
                yield Phrase("relation", after=f"{link} the {words}"), truths


def _anchors(
    scene: Scene, palette: Palette, category: str
) -> Iterator[tuple[int, str]]:
    """Things that one name means, and it: alone of another kind, or of a colour."""
    for other in scene.categories:
        noun = spoken(other)
        among = scene.called(noun)
        if scene.alone(other) and not is_called(noun, spoken(category)):
            yield among[0], noun
        if has_no_colour(other) or not scene.clear(noun) or len(among) > MOST:
            continue
        coloured = (
            (Phrase("colour", before=colour), truths)
            for colour, truths in _coloured(scene, palette, other, among)
        )
        for i, phrase in single(among, coloured):
            yield i, phrase.around(noun)


Group = tuple[str, tuple[int, ...], str]  # words before the plural, members, after it


def groups(
    scene: Scene,
    palette: Palette,
    category: str,
    quantity: Callable[[int, bool], str],
) -> list[Group]:
    """All instances of a category, those on one side and those of one colour.

    Only where there are several.
    """
    among, noun = scene.instances(category), spoken(category)
    countable = scene.exhaustive and scene.clear(noun) and scene.called(noun) == among
    return _groups(scene, palette, category, among if countable else [], quantity)


def groups_widely(
    scene: Scene, palette: Palette, wide: str, quantity: Callable[[int, bool], str]
) -> list[Group]:
    """The same of all that a word of WIDER means: "both animals", "two red vehicles".

    None where they are of one kind, whose own name then says as much.
    """
    among = _called_widely(scene, wide)
    kinds = {scene.objects[i].region.category for i in among}
    return _groups(scene, palette, wide, among if len(kinds) > 1 else [], quantity)


def _groups(
    scene: Scene,
    palette: Palette,
    category: str,
    among: Sequence[int],
    quantity: Callable[[int, bool], str],
) -> list[Group]:
    if not 2 <= len(among) <= MOST:
        return []
    spots = [scene.objects[i].whole for i in among]
    several: list[Group] = []
    if len(among) <= ALL:
        several.append((quantity(len(among), True), tuple(among), ""))
    for side in ("left", "right"):
        truths = placed(side, True, scene, spots)
        if None not in truths and 2 <= truths.count(True) < len(among):
            members = tuple(i for i, t in zip(among, truths, strict=True) if t)
            words = quantity(len(members), False)
            several.append((words, members, f"on the {side}"))
    if has_no_colour(category):
        return several
    for colour, truths in _coloured(scene, palette, category, among):
        if None not in truths and 2 <= truths.count(True) <= ALL:
            members = tuple(i for i, t in zip(among, truths, strict=True) if t)
            words = quantity(len(members), True)
            several.append((f"{words} {colour}", members, ""))
    return several
