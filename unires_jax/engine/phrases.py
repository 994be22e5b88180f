"""What singles an object out among those of its category. Source: ours.

A phrase is true of one object (or of the several meant) and clearly false of every
other of the category; a near tie says nothing.
"""

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence

from unires_jax.data.predicates import (
    CORNERS,
    SIDES,
    Truth,
    counted,
    every,
    extreme,
    placed,
    sized,
)
from unires_jax.engine.clothes import CLOTHES, garments, wears
from unires_jax.engine.colours import COLOURS, Palette
from unires_jax.engine.english import nth
from unires_jax.engine.nouns import (
    has_no_colour,
    is_called,
    shows_others,
    spoken,
)
from unires_jax.engine.relations import related
from unires_jax.engine.scene import Box, Scene

MOST = 30  # of a category: more are not compared
FARTHEST = 4  # counted up to the fourth
ALL = 5  # of more, "all" may leave out one that nobody marked
ASIDE = 1 / 3  # share of the picture from a side, of the middle of what is "on" it
REACH = 0.05  # share of the picture by which it may cross the middle


@dataclasses.dataclass(frozen=True)
class Phrase:
    """Words around the name of a thing: "the {before} car {after}"."""

    form: str  # one of record.FORMS
    before: str = ""
    after: str = ""
    colour: str = ""
    worn: str = ""  # the garment that has the colour
    side: str = ""  # of a lone thing: where it is

    def around(self, noun: str) -> str:
        """The name with these words, no article."""
        return " ".join(w for w in (self.before, noun, self.after) if w)


_EXTREMES = {
    "left": (("leftmost",), ("furthest to the left",)),
    "right": (("rightmost",), ("furthest to the right",)),
    "top": (("topmost", "highest"), ()),
    "bottom": (("lowest",), ()),
}
_FAR = {
    "left": (("far left",), ("on the far left",)),
    "right": (("far right",), ("on the far right",)),
}
_OF_TWO = {
    "left": (("left",), ("on the left", "on the left side")),
    "right": (("right",), ("on the right", "on the right side")),
    "top": (("top", "upper"), ("at the top",)),
    "bottom": (("bottom", "lower"), ("at the bottom",)),
}
_SIZES = {  # of two, of more, of any number: there the one that is clearly so
    "big": (("bigger", "larger"), ("biggest", "largest"), ("big", "large")),
    "small": (("smaller",), ("smallest",), ("small", "little")),
}
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
    for i, phrase in _single(among, _candidates(scene, palette, category, among)):
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
        _places(scene, among),
        _sizes(scene, among),
        _ordinals(scene, among),
        _looks(scene, palette, wide, among),
    )
    for i, phrase in _single(among, candidates):
        phrases[i].append(phrase)
    return phrases


def _called_widely(scene: Scene, wide: str) -> list[int]:
    """All that a word of WIDER means, of other names too; [] where it is not known."""
    among, known = scene.called(wide), scene.exhaustive and scene.clear(wide)
    nouns = {spoken(scene.objects[i].region.category) for i in among}
    return list(among) if known and len(among) <= MOST and nouns != {wide} else []


def _single(
    among: Sequence[int], candidates: Iterable[tuple[Phrase, list[Truth]]]
) -> Iterator[tuple[int, Phrase]]:
    """Phrases that are true of one, and clearly false of every other, with that one."""
    for phrase, truths in candidates:
        if truths.count(True) == 1 and None not in truths:
            yield among[truths.index(True)], phrase


def _candidates(
    scene: Scene, palette: Palette, category: str, among: Sequence[int]
) -> Iterator[tuple[Phrase, list[Truth]]]:
    """Phrases, and of which of the instances each is true."""
    yield from _places(scene, among)
    yield from _sizes(scene, among)
    if scene.exhaustive:
        yield from _ordinals(scene, among)
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
    spots = [*_places(scene, among), *_sizes(scene, among)]
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
    ordinals = _ordinals(scene, alike) if scene.exhaustive else ()
    for phrase, truths in itertools.chain(
        _places(scene, alike), _sizes(scene, alike), ordinals
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


def _places(scene: Scene, among: Sequence[int]) -> Iterator[tuple[Phrase, list[Truth]]]:
    spots = [scene.objects[i].whole for i in among]
    if len(among) == 1:
        for side in ("left", "right"):
            yield (
                Phrase("place", after=f"on the {side}", side=side),
                [_aside(scene, side, spots[0].box)],
            )
        return
    for side in SIDES:
        # The furthest of several on the left is not "the car on the left".
        inside = placed(side, len(among) > 2, scene, spots)
        words = _OF_TWO[side] if len(among) == 2 else ((), _OF_TWO[side][1][:1])
        yield from _said("place", words, inside)
        yield from _said("place", _EXTREMES[side], extreme(side, scene, spots))
        if side in _FAR and len(among) > 2:
            furthest = placed(f"far {side}", False, scene, spots)
            yield from _said("place", _FAR[side], furthest)
    for corner in CORNERS:
        truths = [
            _in_corner(scene, corner, spot.box) if truth else truth
            for spot, truth in zip(
                spots, placed(corner, False, scene, spots), strict=True
            )
        ]
        yield Phrase("place", after=f"in the {corner} corner"), truths
    yield Phrase("place", after="in the middle"), placed("middle", False, scene, spots)


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


def _aside(scene: Scene, side: str, box: Box) -> bool:
    """Whether a lone thing lies so far to a side that nobody would say the other."""
    width = scene.size[1]
    near, far = box[0] / width, (box[0] + box[2]) / width
    middle = (near + far) / 2
    if side == "left":
        return middle <= ASIDE and far <= 0.5 + REACH
    return middle >= 1 - ASIDE and near >= 0.5 - REACH


def _in_corner(scene: Scene, corner: str, box: Box) -> Truth:
    """True of what is near both sides, None of what is only within their halves."""
    height, width = scene.size
    x, y = (box[0] + box[2] / 2) / width, (box[1] + box[3] / 2) / height
    near = {"left": x, "right": 1 - x, "top": y, "bottom": 1 - y}
    return True if all(near[side] <= ASIDE for side in corner.split()) else None


def _sizes(scene: Scene, among: Sequence[int]) -> Iterator[tuple[Phrase, list[Truth]]]:
    things = [scene.objects[i] for i in among]
    for size, (of_two, of_more, of_any) in _SIZES.items():
        words = of_two if len(among) == 2 else of_more
        truths = sized(size, things)
        if size == "small":  # what the frame cuts may be larger than it looks
            cut = [_is_cut(scene, o.whole.box) for o in things]
            truths = [None if t and c else t for t, c in zip(truths, cut, strict=True)]
        for word in words + of_any:
            yield Phrase("size", before=word), truths


def _is_cut(scene: Scene, box: Box) -> bool:
    """Whether a box ends at the picture's frame."""
    (height, width), (x, y, w, h) = scene.size, box
    return min(x, y, width - x - w, height - y - h) < 1


def _ordinals(
    scene: Scene, among: Sequence[int]
) -> Iterator[tuple[Phrase, list[Truth]]]:
    """The first to the FARTHEST from a side; what lies beyond it need not be clear."""
    for side in SIDES:
        order = sorted(among, key=lambda i: _distance(scene, side, i))
        for position in range(1, min(FARTHEST, len(among) - 1) + 1):
            near = order[: max(position + 1, 3)]
            spots = [scene.objects[i].whole for i in near]
            of_near = dict(
                zip(near, counted(position, side, scene, spots), strict=True)
            )
            truths = [of_near.get(i, False) for i in among]
            place, word = f"from the {side}", nth(position)
            yield Phrase("ordinal", before=word, after=place), truths
            yield Phrase("ordinal", after=f"{word} {place}"), truths


def _distance(scene: Scene, side: str, index: int) -> float:
    x, y, w, h = scene.objects[index].whole.box
    along = x + w / 2 if side in ("left", "right") else y + h / 2
    return along if side in ("left", "top") else -along


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
        for i, phrase in _single(among, coloured):
            yield i, phrase.around(noun)


def _said(
    form: str, words: tuple[Sequence[str], Sequence[str]], truths: list[Truth]
) -> Iterator[tuple[Phrase, list[Truth]]]:
    for before in words[0]:
        yield Phrase(form, before=before), truths
    for after in words[1]:
        yield Phrase(form, after=after), truths


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
