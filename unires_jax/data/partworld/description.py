"""What an expression means: structured phrases evaluated against the scene graph.

Truth has three values. A predicate holds by a clear margin (True), fails by a clear
margin (False), or is a near tie (None). A phrase that meets a near tie denotes nothing
certain and is never uttered.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence

from unires_jax.data.partworld.kinds import KINDS, NOVEL_COLOURS, NOVEL_PARTS, members
from unires_jax.data.partworld.render import Region, Seen, View

Truth = bool | None
Target = tuple[int, str]  # object index, part name or "" for the object itself

# Margins, in pixels of the stored picture unless said otherwise.
APART = 14.0  # between two objects of which one is further left (right, up, down)
BESIDE = 20.0  # along the axis of a relation
SIZE_RATIO = 1.3  # between the sizes of the biggest and the next
SEEN_RATIO = 1.1  # the same for what is visible of them
NEAR, FAR = 0.44, 0.56  # share of the picture: within a side's half, beyond it
TOUCHING, DISTANT = 6.0, 26.0  # gap of two boxes: "next to", not "next to"


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
        found = _phrase_targets(phrase, view)
        if found is None or union & found or (len(description) > 1 and not found):
            return None
        union |= found
    return frozenset(union)


def _phrase_targets(phrase: Phrase, view: View) -> set[Target] | None:
    chosen = select(phrase, view)
    if chosen is None or (len(chosen) > 1) != phrase.several:
        return None
    if not phrase.part:
        return {(i, "") for i in chosen}
    having = [i for i in chosen if phrase.part in KINDS[view.objects[i].kind].parts]
    if phrase.several and len(having) < len(chosen):
        return None
    regions = [view.objects[i].parts.get(phrase.part) for i in having]
    if any(r is None or not r.clear for r in regions):
        return None
    return {(i, phrase.part) for i in having}


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
    by_object = _filter(phrase, view, among, [view.objects[i].whole for i in among])
    if not phrase.part or not (phrase.place or phrase.ordinal or not phrase.noun):
        return by_object
    # "left dog head" may be read as the left one of the heads: both must agree.
    parts = {i: view.objects[i].parts.get(phrase.part) for i in among}
    shown = [i for i in among if parts[i] is not None]
    if not phrase.noun and any(not parts[i].clear for i in shown):
        return None
    by_part = _filter(phrase, view, shown, [parts[i] for i in shown])
    return by_object if by_object == by_part else None


def _filter(
    phrase: Phrase, view: View, among: list[int], regions: Sequence[Region]
) -> list[int] | None:
    verdicts: list[list[Truth]] = []
    if phrase.size:
        verdicts.append(_sized(phrase.size, [view.objects[i] for i in among]))
    if phrase.place:
        verdicts.append(_placed(phrase, view, regions))
    if phrase.ordinal:
        verdicts.append(_counted(phrase.ordinal, phrase.side, regions))
    if phrase.relation:
        verdicts.append(_related(phrase, view, among))
    kept = []
    for member, truths in (
        zip(among, zip(*verdicts, strict=True), strict=True)
        if (verdicts)
        else ((i, ()) for i in among)
    ):
        if False in truths:
            continue
        if None in truths:
            return None
        kept.append(member)
    return kept


def _sized(size: str, objects: Sequence[Seen]) -> list[Truth]:
    sign = 1 if size == "big" else -1
    if len(objects) < 2:
        return [None] * len(objects)
    whole = [sign * math.log(o.extent[0] * o.extent[1]) / 2 for o in objects]
    seen = [sign * math.log(o.whole.box[2] * o.whole.box[3]) / 2 for o in objects]
    first = max(range(len(objects)), key=whole.__getitem__)
    clear = all(
        whole[first] - whole[i] >= math.log(SIZE_RATIO)
        and seen[first] - seen[i] >= math.log(SEEN_RATIO)
        for i in range(len(objects))
        if i != first
    )
    return [(i == first) if clear else None for i in range(len(objects))]


def centre(region: Region) -> tuple[float, float]:
    """The middle of a region's visible box, in pixels."""
    x, y, w, h = region.box
    return x + w / 2, y + h / 2


def _toward(side: str, region: Region) -> float:
    """How far a region lies toward a side, in pixels; larger is further."""
    x, y = centre(region)
    return {"left": -x, "right": x, "top": -y, "bottom": y}[side]


def _share(side: str, region: Region, view: View) -> float:
    """A region's distance from a side as a share of the picture."""
    height, width = view.image.shape[:2]
    x, y = centre(region)
    u, v = x / width, y / height
    return {"left": u, "right": 1 - u, "top": v, "bottom": 1 - v}[side]


def _within(side: str, region: Region, view: View) -> Truth:
    share = _share(side, region, view)
    return True if share <= NEAR else False if share >= FAR else None


def _placed(phrase: Phrase, view: View, regions: Sequence[Region]) -> list[Truth]:
    if phrase.place == "middle":
        return [_central(r, view) for r in regions]
    sides = phrase.place.removeprefix("far ").split()
    inside = [_all([_within(s, r, view) for s in sides]) for r in regions]
    if len(sides) == 2 or phrase.several or len(regions) == 1:
        return [None] * len(regions) if phrase.place.startswith("far ") else inside
    order = sorted(range(len(regions)), key=lambda i: -_toward(sides[0], regions[i]))
    if not order:
        return []
    first, second = (_toward(sides[0], regions[i]) for i in order[:2])
    if first - second < APART:
        return [None] * len(regions)
    return [inside[i] if i == order[0] else False for i in range(len(regions))]


def _all(truths: Sequence[Truth]) -> Truth:
    return False if False in truths else None if None in truths else True


def _central(region: Region, view: View) -> Truth:
    away = abs(_share("left", region, view) - 0.5)
    return True if away <= 0.1 else False if away >= 0.2 else None


def _counted(ordinal: int, side: str, regions: Sequence[Region]) -> list[Truth]:
    order = sorted(range(len(regions)), key=lambda i: -_toward(side, regions[i]))
    along = [_toward(side, regions[i]) for i in order]
    gaps = [a - b for a, b in zip(along[:-1], along[1:], strict=True)]
    if len(regions) < 3 or min(gaps) < APART or ordinal > len(regions):
        return [None] * len(regions)
    return [i == order[ordinal - 1] for i in range(len(regions))]


def _related(phrase: Phrase, view: View, among: list[int]) -> list[Truth]:
    anchors = select(phrase.anchor, view) if phrase.anchor else None
    if anchors is None or len(anchors) != 1:
        return [None] * len(among)
    holds = RELATIONS[phrase.relation]
    return [i != anchors[0] and holds(view, i, anchors[0]) for i in among]


def _beside(side: str) -> Callable[[View, int, int], Truth]:
    def holds(view: View, one: int, other: int) -> Truth:
        a, b = view.objects[one].whole, view.objects[other].whole
        (ax, ay), (bx, by) = centre(a), centre(b)
        along = _toward(side, a) - _toward(side, b)
        across = abs(ay - by) if side in ("left", "right") else abs(ax - bx)
        if along <= 0.4 * BESIDE:
            return False
        return True if along >= BESIDE and across <= along else None

    return holds


def _next_to(view: View, one: int, other: int) -> Truth:
    ax, ay, aw, ah = view.objects[one].whole.box
    bx, by, bw, bh = view.objects[other].whole.box
    gap_x = max(ax, bx) - min(ax + aw, bx + bw)
    gap_y = max(ay, by) - min(ay + ah, by + bh)
    if max(gap_x, gap_y) >= DISTANT:
        return False
    level = -gap_y >= 0.5 * min(ah, bh)
    return True if level and -TOUCHING <= gap_x <= TOUCHING else None


def _in_front(view: View, one: int, other: int) -> Truth:
    if other in view.objects[one].hides:
        return True
    if one in view.objects[other].hides or _apart(view, one, other):
        return False
    return None


def _apart(view: View, one: int, other: int) -> bool:
    ax, ay, aw, ah = view.objects[one].whole.box
    bx, by, bw, bh = view.objects[other].whole.box
    return max(ax, bx) >= min(ax + aw, bx + bw) or max(ay, by) >= min(ay + ah, by + bh)


RELATIONS: dict[str, Callable[[View, int, int], Truth]] = {
    "left of": _beside("left"),
    "right of": _beside("right"),
    "above": _beside("top"),
    "below": _beside("bottom"),
    "next to": _next_to,
    "in front of": _in_front,
    "behind": lambda view, one, other: _in_front(view, other, one),
}
SIDES = ("left", "right", "top", "bottom")
CORNERS = ("top left", "top right", "bottom left", "bottom right")
PLACES = (*SIDES, "far left", "far right", "middle", *CORNERS)


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
