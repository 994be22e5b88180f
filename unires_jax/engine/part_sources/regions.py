"""What a form reads: a picture's annotations; and what becomes of them: its regions.

All pieces of one name on one object are one region, as in the paper (section 4).
"""

import collections
import dataclasses
from collections.abc import Iterable, Sequence

from unires_jax.engine.part_sources.names import clean_category, clean_part
from unires_jax.errors import DataError, Kind, shorten
from unires_jax.pixels import masks
from unires_jax.pixels.masks import RunMask
from unires_jax.prepare.mres.fields import is_plain
from unires_jax.prepare.sources.coco import Image

CONTAINED = 0.8  # share of a part inside the object that it belongs to; ours
NAME = 200  # letters of a name; ours
Key = int | str  # how a source names an annotation within its picture


@dataclasses.dataclass(frozen=True)
class Annotation:
    """One mask as a source has it, with the names as they are written there."""

    key: Key
    mask: RunMask
    category: str  # of the object; "" where the source does not say
    part: str = ""
    parent: Key | None = None  # key of the object, or part, that it belongs to
    crowd: bool = False  # several things in one mask
    captions: tuple[str, ...] = ()  # sentences that a person wrote


@dataclasses.dataclass(frozen=True)
class AnnotatedPicture:
    """A picture of a source."""

    image: Image
    annotations: tuple[Annotation, ...]
    coco_id: int = -1
    partial: frozenset[str] = frozenset()  # categories not marked everywhere in it
    merged: bool = False  # whether one annotation may hold several pieces
    data: bytes | None = None  # the encoded picture, where the source holds it
    also: tuple[str, ...] = ()  # other names that its file may have


@dataclasses.dataclass(frozen=True)
class Region:
    """An object, or all pieces of one part of an object. Names are cleaned."""

    name: Key  # of its first annotation
    mask: RunMask
    category: str
    part: str = ""
    parent: int = -1  # index into the picture's regions
    pieces: int = 1  # annotations that it is the union of
    merged: bool = False  # whether one of these may hold several pieces
    crowd: bool = False
    captions: tuple[str, ...] = ()


def assemble(picture: AnnotatedPicture) -> tuple[Region, ...]:
    """The regions of a picture, each behind its parent.

    A parent is the one that the source names, else the object of that category which
    holds at least CONTAINED of the part, else none. Raises DataError for two
    annotations of one key, and for parents in a circle.
    """
    annotations = {a.key: a for a in picture.annotations}
    if len(annotations) < len(picture.annotations):
        counts = collections.Counter(a.key for a in picture.annotations)
        twice, count = counts.most_common(1)[0]
        raise DataError(
            f"{count} annotations of the picture have the id {twice!r}; number them",
            kind=Kind.ID_TWICE,
        )
    wholes = _wholes(picture.annotations)
    _require_comparable(picture.annotations, wholes)
    parents = {a.key: _parent(a, annotations, wholes) for a in annotations.values()}
    regions: list[list[Region]] = []  # those that become one, each
    places: dict[Key, int] = {}  # of the annotations' regions
    merged: dict[tuple[int, str], int] = {}  # regions of parts by parent and name
    for key in _parents_first(parents):
        annotation = annotations[key]
        parent = places[above] if (above := parents[key]) is not None else -1
        owner = regions[parent][0].category if parent >= 0 else ""
        region = _region(annotation, parent, owner, picture.merged)
        place = len(regions)
        if region.part and parent >= 0:
            place = merged.setdefault((parent, region.part), place)
        if place == len(regions):
            regions.append([])
        regions[place].append(region)
        places[key] = place
    return tuple(map(_joined, regions))


def _wholes(annotations: Iterable[Annotation]) -> dict[str, list[Annotation]]:
    """The objects by category; under "" all of them."""
    wholes: dict[str, list[Annotation]] = {"": []}
    for annotation in annotations:
        if not annotation.part and not annotation.crowd:
            category = clean_category(annotation.category)
            wholes[""].append(annotation)
            if category:
                wholes.setdefault(category, []).append(annotation)
    return wholes


def _require_comparable(
    annotations: Iterable[Annotation], wholes: dict[str, list[Annotation]]
) -> None:
    """Raise DataError where to find the objects of all parts would take too long."""
    parts: dict[str, list[int]] = {}
    for one in annotations:
        if one.part and one.parent is None:
            own = parts.setdefault(clean_category(one.category), [])
            own.append(len(one.mask.spans))
    for category, runs in parts.items():
        others = [len(whole.mask.spans) for whole in wholes.get(category, [])]
        masks.require_comparable(runs, others)


def _parent(
    annotation: Annotation,
    annotations: dict[Key, Annotation],
    wholes: dict[str, list[Annotation]],
) -> Key | None:
    if not annotation.part:
        return None
    if annotation.parent is not None:
        return annotation.parent if annotation.parent in annotations else None
    category = clean_category(annotation.category)
    return _container(annotation.mask, wholes.get(category, []))


def _container(part: RunMask, wholes: Iterable[Annotation]) -> Key | None:
    """The object that holds most of a part, the smaller one of equals."""
    best: tuple[float, int] = (0.0, 0)
    key: Key | None = None
    for whole in wholes:
        if not _touch(part.box, whole.mask.box):
            continue
        shared, _ = part.intersection_union(whole.mask)
        rank = (shared / max(part.area, 1), -whole.mask.area)
        if rank[0] >= CONTAINED and rank > best:
            best, key = rank, whole.key
    return key


def _touch(one: tuple[int, int, int, int], other: tuple[int, int, int, int]) -> bool:
    (ax, ay, aw, ah), (bx, by, bw, bh) = one, other
    return ax < bx + bw and bx < ax + aw and ay < by + bh and by < ay + ah


def _parents_first(parents: dict[Key, Key | None]) -> list[Key]:
    """All keys in their order, but each behind its parent. Raises for a circle."""
    order: dict[Key, None] = {}
    for key in parents:
        path: dict[Key, None] = {}
        at: Key | None = key
        while at is not None and at not in order:
            if at in path:
                raise DataError(
                    f"annotation {at!r} is a part of itself, over its parents; cut the "
                    "circle"
                )
            path[at] = None
            at = parents[at]
        order |= dict.fromkeys(reversed(list(path)))
    return list(order)


def _region(annotation: Annotation, parent: int, owner: str, merged: bool) -> Region:
    """The region of one annotation; `owner`: the category of its parent."""
    for name in (annotation.category, annotation.part):
        if len(name) > NAME or not is_plain(" ".join(name.split())):
            raise DataError(
                f"{shorten(name, NAME)!r}: expected a name of at most {NAME} letters, "
                "without control characters"
            )
    return Region(
        name=annotation.key,
        mask=annotation.mask,
        category=owner or clean_category(annotation.category),
        part=clean_part(annotation.part) if annotation.part else "",
        parent=parent,
        merged=merged,
        crowd=annotation.crowd,
        captions=annotation.captions,
    )


def _joined(pieces: Sequence[Region]) -> Region:
    first = pieces[0]
    if len(pieces) == 1:
        return first
    height, width = first.mask.height, first.mask.width
    return dataclasses.replace(
        first,
        mask=RunMask.union([piece.mask for piece in pieces], height, width),
        pieces=sum(piece.pieces for piece in pieces),
        captions=tuple(dict.fromkeys(c for piece in pieces for c in piece.captions)),
    )
