"""Where a thing is among others and how large: words, and of which they are true.

True of one by a clear margin, false of every other as clearly; None of a near tie.
Source: ours.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence

from unires_jax.data.predicates import (
    CORNERS,
    SIDES,
    Truth,
    counted,
    extreme,
    placed,
    sized,
)
from unires_jax.engine.english import nth
from unires_jax.engine.scene import Box, Scene

FARTHEST = 4  # counted up to the fourth
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


def single(
    among: Sequence[int], candidates: Iterable[tuple[Phrase, list[Truth]]]
) -> Iterator[tuple[int, Phrase]]:
    """Phrases that are true of one, and clearly false of every other, with that one."""
    for phrase, truths in candidates:
        if truths.count(True) == 1 and None not in truths:
            yield among[truths.index(True)], phrase


def places(scene: Scene, among: Sequence[int]) -> Iterator[tuple[Phrase, list[Truth]]]:
    """Sides, corners and the middle of the picture."""
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


def sizes(scene: Scene, among: Sequence[int]) -> Iterator[tuple[Phrase, list[Truth]]]:
    """Which is large, and which small."""
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


def ordinals(
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


def _said(
    form: str, words: tuple[Sequence[str], Sequence[str]], truths: list[Truth]
) -> Iterator[tuple[Phrase, list[Truth]]]:
    for before in words[0]:
        yield Phrase(form, before=before), truths
    for after in words[1]:
        yield Phrase(form, after=after), truths
