"""What regions are called, by template: each text names one thing in its picture.

An object is its category alone only where the picture has one and the source marks
every one; else its place is said, by a clear margin; else nothing is, nor of its parts.
Source: ours.
"""

import collections
import zlib
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import cv2
import numpy as np

from unires_jax.engine.english import is_plural, plural
from unires_jax.engine.nouns import WIDER
from unires_jax.engine.part_sources import places, sides
from unires_jax.engine.part_sources.regions import Region
from unires_jax.pixels.masks import RunMask

# given: a person wrote it; the rest are templates.
Kind = Literal["given", "plain", "place", "part", "side", "both"]
KINDS: tuple[Kind, ...] = ("given", "plain", "place", "part", "side", "both")

LONG = 300  # letters of a name that has no parts: parts of parts of parts ...; ours
SPECK = 0.1  # of the largest piece's area; what is smaller is no piece of its own; ours

# Things have one of these; a mask of several pieces is then one that is partly hidden.
_SINGLE = """
back backrest barrel base beak bill body bonnet bottom brim case chassis chest
clock crown deck dial face footboard frame front fuselage grille handlebar head
headboard headstock hood hull inner interior keyboard lid lower mane mouth
muzzle neck nose outer plant pot roof saddle screen seat shaft snout spout stem
stern tabletop tail throat top torso trunk vamp waist windshield yoke
"""
SINGLE = frozenset(_SINGLE.split())


class Said(NamedTuple):
    """A sentence and the regions it denotes, by index; all of one level."""

    text: str
    targets: tuple[int, ...]
    kind: Kind


def describe(
    regions: Sequence[Region],
    every: Callable[[str], bool],
    seed: str = "",
) -> list[Said]:
    """What is said of a picture's regions, parents before their parts.

    `every` says of a category whether all its things are marked; `seed` chooses between
    two wordings of the same. What two different things would be called is not said;
    what a person wrote of several alike denotes all of them.
    """
    said = _given(regions)
    objects = _objects(regions, every, seed)
    said += objects.values()
    names = {i: one.text for i, one in objects.items()}
    counts = collections.Counter((r.category, r.part) for r in regions)
    crowded = {r.category for r in regions if r.crowd}
    children: dict[int, dict[str, list[int]]] = {}  # of a parent, by sideless name
    for i, region in enumerate(regions):
        if region.part and region.parent >= 0 and not region.crowd:
            of = children.setdefault(region.parent, {})
            of.setdefault(sides.sideless(region.part), []).append(i)
    for i, region in enumerate(regions):
        if not region.part or region.crowd:
            continue
        if region.parent < 0:
            kind = region.category
            alone = counts[kind, region.part] == 1 and counts[kind, ""] <= 1
            known = every(kind) and kind not in crowded
            own = _orphan(i, region) if alone and known else []
        elif len(names.get(region.parent, LONG * " ")) < LONG:
            alike = children[region.parent][sides.sideless(region.part)]
            own = _part(i, regions, alike, names[region.parent], seed)
        else:
            continue
        said += own
        if own and own[0].kind == "part":
            names[i] = own[0].text
    return _unambiguous(said, regions)


def _given(regions: Sequence[Region]) -> list[Said]:
    """What was written of regions, each text once a level; its case parts no two."""
    first: dict[tuple[str, bool], str] = {}
    targets: dict[tuple[str, bool], dict[int, None]] = {}
    for i, region in enumerate(regions):
        for text in region.captions:
            if not region.crowd:
                key = text.lower(), bool(region.part)
                first.setdefault(key, text)
                targets.setdefault(key, {})[i] = None
    return [Said(first[key], tuple(ids), "given") for key, ids in targets.items()]


def _objects(
    regions: Sequence[Region], every: Callable[[str], bool], seed: str
) -> dict[int, Said]:
    """The names of the objects that have one, in their order."""
    kinds: dict[str, list[int]] = {}
    ends: dict[str, list[str]] = {}  # kinds by their last letters
    for i, region in enumerate(regions):
        kind = region.category
        if not region.part and kind:
            if kind not in kinds:
                ends.setdefault(kind[-2:], []).append(kind)
            kinds.setdefault(kind, []).append(i)
    names: dict[int, Said] = {}
    for kind, ids in kinds.items():
        # A swivel chair is a chair, too, and a duck a bird.
        narrower = {k for k in ends[kind[-2:]] if k.endswith(kind)}
        narrower |= WIDER.get(kind, frozenset()) & kinds.keys()
        alike = [i for k in sorted(narrower) for i in kinds[k]]
        if any(regions[i].crowd for i in alike):
            continue
        if len(alike) == 1 and every(kind):
            names[ids[0]] = Said(kind, (ids[0],), "plain")
            continue
        own = set(ids)
        first = regions[alike[0]].mask
        boxes = [regions[i].mask.bbox for i in alike]
        where = places.extremes(boxes, first.height, first.width, every(kind))
        for i, side in zip(alike, where, strict=True):
            if side and i in own:
                sided = set(kind.split()) & set(places.SIDES)  # no "left right door"
                behind = _choice(f"{seed}/{i}") or not every(kind) or bool(sided)
                several = len(alike) > 2 and every(kind)
                text = places.at_side(kind, side, behind=behind, several=several)
                names[i] = Said(text, (i,), "place")
    return dict(sorted(names.items()))


def _choice(key: str) -> bool:
    return bool(zlib.crc32(key.encode(errors="replace")) & 1)


def _orphan(index: int, region: Region) -> list[Said]:
    """The one part of its name in a picture, its object not marked."""
    if not region.category or sides.own_side(region.part):
        return []
    noun = _noun(region, region.part)
    return [Said(f"{noun} of the {region.category}", (index,), "part")]


def _part(
    index: int,
    regions: Sequence[Region],
    alike: Sequence[int],
    whole: str,
    seed: str,
) -> list[Said]:
    """A part of a named object; `alike`: its parts of this name, on any side."""
    region = regions[index]
    side, base = sides.own_side(region.part), sides.sideless(region.part)
    if not side or not base:
        if len(alike) > 1:  # a left leg is a leg, too
            return []
        return [Said(_of(region, region.part, whole, seed), (index,), "part")]
    if len(alike) == 1:
        return [Said(_of(region, base, whole, seed), (index,), "part")]
    twins = [i for i in alike if i != index]
    if len(twins) > 1 or not sides.own_side(regions[twins[0]].part):
        return []  # whichever is meant, a third is not known from it
    return _twin(index, twins[0], regions, whole)


def _of(region: Region, part: str, whole: str, seed: str) -> str:
    """The name of a part: "wheels of the car" or "car's wheels"."""
    noun, first = _noun(region, part), whole.split()[0]
    long = "'" in whole or any(
        word in whole for word in (" of ", " on ", " at ", " to ")
    )
    if long or first in places.SIDES or _choice(f"{seed}/{region.name}"):
        return f"{noun} of the {whole}"
    return f"{whole}'{'' if whole.endswith('s') else 's'} {noun}"


def _noun(region: Region, part: str) -> str:
    """The name of a part, in the plural where the mask holds several."""
    if part.split()[-1] in SINGLE or is_plural(part) or plural(part) == part:
        return part
    apart = region.merged and count_pieces(region.mask) > 1
    several = region.pieces > 1 or apart
    return plural(part) if several else part


def count_pieces(mask: RunMask) -> int:
    """How many pieces lie apart in a mask, specks beside the largest not counted."""
    if not mask.area:
        return 0  # OpenCV ends the process over a picture without pixels
    x, y, width, height = mask.box
    pixels = mask.pixels()[y : y + height, x : x + width].astype(np.uint8)
    _, _, stats, _ = cv2.connectedComponentsWithStats(pixels, connectivity=8)
    areas = stats[1:, cv2.CC_STAT_AREA]
    return int((areas >= SPECK * areas.max(initial=0)).sum())


def _twin(index: int, twin: int, regions: Sequence[Region], whole: str) -> list[Said]:
    """One of a left and a right part: its side where it is sure, and both together."""
    region, other = regions[index], regions[twin]
    boxes = region.mask.bbox, other.mask.bbox
    own, base = sides.own_side(region.part), sides.sideless(region.part)
    seen = sides.seen_side(*boxes, regions[region.parent].mask.bbox)
    said = []
    if seen == own:
        said.append(Said(f"{region.part} of the {whole}", (index,), "side"))
    elif seen:
        size = region.mask.height, region.mask.width
        where = sides.where_seen(seen, *boxes, *size)
        said.append(Said(f"{base} of the {whole}, {where}", (index,), "side"))
    if index < twin:
        said.append(Said(f"{plural(base)} of the {whole}", (index, twin), "both"))
    return said


def _unambiguous(said: Sequence[Said], regions: Sequence[Region]) -> list[Said]:
    """Without templates that two things share, or that repeat what a person wrote."""
    targets: dict[tuple[str, bool], set[tuple[int, ...]]] = {}
    for one in said:
        level = bool(regions[one.targets[0]].part)
        targets.setdefault((one.text.lower(), level), set()).add(one.targets)
    kept: dict[tuple[str, tuple[int, ...]], Said] = {}
    for one in said:
        level = bool(regions[one.targets[0]].part)
        if one.kind == "given" or len(targets[one.text.lower(), level]) == 1:
            kept.setdefault((one.text.lower(), one.targets), one)
    return list(kept.values())
