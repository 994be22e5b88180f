"""What an expression means: structured phrases evaluated against the scene graph.

A phrase that meets a near tie denotes nothing certain and is never uttered.
"""

import dataclasses
from collections.abc import Sequence

from unires_jax.data.predicates import (
    RELATIONS,
    Truth,
    counted,
    every,
    placed,
    sized,
)
from unires_jax.partworld.kinds import KINDS, NOVEL_COLOURS, NOVEL_PARTS, members
from unires_jax.partworld.render import View, VisibleRegion

Target = tuple[int, str]  # object index, part name or "" for the object itself


@dataclasses.dataclass(frozen=True)
class Phrase:
    """A noun phrase about objects, or about parts of the objects it selects."""

    noun: str  # a kind, a group, or "" for whatever has the part
    colour: str = ""
    size: str = ""  # "big" or "small": the clear extreme among noun and colour
    place: str = ""  # a key of PLACES
    ordinal: int = 0  # counted along x from `side`, 1 = the first
    side: str = ""  # "left" or "right"
    relation: str = ""  # a key of RELATIONS
    anchor: "Phrase | None" = None
    part: str = ""
    several: bool = False  # plural: means all that match, at least two


Description = tuple[Phrase, ...]  # several phrases are joined by "and"


def denotes(description: Description, view: View) -> frozenset[Target] | None:
    """Exactly the targets of a description; None where it is unclear or misnumbered."""
    union: set[Target] = set()
    for phrase in description:
        targets = _phrase_targets(phrase, view)
        alone = len(description) == 1
        if targets is None or union & targets or not (targets or alone):
            return None
        union |= targets
    return frozenset(union)


def _phrase_targets(phrase: Phrase, view: View) -> set[Target] | None:
    chosen = select(phrase, view)
    if chosen is None or (len(chosen) > 1) != phrase.several:
        return None
    if not phrase.part:
        return {(i, "") for i in chosen}
    having = [i for i in chosen if phrase.part in KINDS[view.objects[i].kind].parts]
    mixed = phrase.several and len(having) < len(chosen)
    if mixed or _clear_parts(phrase.part, having, view) is None:
        return None
    return {(i, phrase.part) for i in having}


def _clear_parts(
    part: str, objects: list[int], view: View
) -> list[VisibleRegion] | None:
    """The part's region on each object; None unless all can be referred to."""
    visible = [view.objects[i].parts.get(part) for i in objects]
    regions = [r for r in visible if r is not None and r.clear]
    return regions if len(regions) == len(visible) else None


def rivals(phrase: Phrase, view: View) -> list[int]:
    """The objects that noun and colour alone allow: the class that is compared."""
    if not phrase.noun:
        return [i for i, o in enumerate(view.objects) if phrase.part in o.parts]
    kinds = members(phrase.noun)
    return [
        i
        for i, o in enumerate(view.objects)
        if o.kind in kinds and phrase.colour in ("", o.colour)
    ]


def select(phrase: Phrase, view: View) -> list[int] | None:
    """The objects a phrase selects; None at a near tie."""
    among = rivals(phrase, view)
    wholes = [view.objects[i].whole for i in among]
    by_object = _filter(phrase, view, among, wholes)
    if not phrase.part or not (phrase.place or phrase.ordinal or not phrase.noun):
        return by_object
    # "left dog head" may be read as the left one of the heads: both must agree.
    having = [i for i in among if phrase.part in view.objects[i].parts]
    regions = _clear_parts(phrase.part, having, view)
    by_part = None if regions is None else _filter(phrase, view, having, regions)
    return by_object if by_object == by_part else None


def _filter(
    phrase: Phrase, view: View, among: list[int], regions: Sequence[VisibleRegion]
) -> list[int] | None:
    """Those for which every modifier holds; None if one is uncertain about any."""
    columns: list[list[Truth]] = [[True] * len(among)]
    if phrase.size:
        columns.append(sized(phrase.size, [view.objects[i] for i in among]))
    if phrase.place:
        columns.append(placed(phrase.place, phrase.several, view, regions))
    if phrase.ordinal:
        columns.append(counted(phrase.ordinal, phrase.side, view, regions))
    if phrase.relation:
        columns.append(_related(phrase, view, among))
    verdicts = [every(row) for row in zip(*columns, strict=True)]
    if None in verdicts:
        return None
    return [i for i, holds in zip(among, verdicts, strict=True) if holds]


def _related(phrase: Phrase, view: View, among: list[int]) -> list[Truth]:
    anchors = select(phrase.anchor, view) if phrase.anchor else None
    if anchors is None or len(anchors) != 1:
        return [None] * len(among)
    holds = RELATIONS[phrase.relation]
    return [i != anchors[0] and holds(view, i, anchors[0]) for i in among]


def names_novel(phrase: Phrase) -> bool:
    """Whether the phrase's own words name both halves of a held-out pair."""
    pair, part = (phrase.colour, phrase.noun), (phrase.noun, phrase.part)
    return pair in NOVEL_COLOURS or part in NOVEL_PARTS


def touches_novel(
    description: Description, targets: frozenset[Target], view: View
) -> bool:
    """Whether words or targets of a description involve any held-out pair."""
    spoken = [q for p in description for q in (p, p.anchor) if q is not None]
    hit = [(view.objects[i].kind, part) for i, part in targets]
    return any(names_novel(p) for p in spoken) or any(h in NOVEL_PARTS for h in hit)
