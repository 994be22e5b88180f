"""A referent as every raw form gives it, and its grouping into records."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from unires_jax.data import records
from unires_jax.data.records import OBJECT, Expression, Mask, Record
from unires_jax.errors import DataError
from unires_jax.pixels.images import check_size
from unires_jax.pixels.masks import RunMask
from unires_jax.prepare.rejects import Rejects


class Sentence(NamedTuple):
    """One sentence of a referent."""

    sent_id: int
    raw: str  # as written by the annotator; `sent` where the form has no other
    sent: str  # as the source cleaned it


@dataclasses.dataclass(frozen=True)
class Referent:
    """What one entry of a raw form refers to, and how it is said.

    `masks` are its targets; a mask that several referents of an image share has one
    ann_id and is stored once. `Mask.parent` counts within `masks` of this referent.
    """

    filename: str  # of the image, as the form's image list names it
    image_id: int
    split: str
    ref_id: int
    masks: tuple[Mask, ...]
    sentences: tuple[Sentence, ...]
    height: int  # of the image, pixels
    width: int
    level: int = OBJECT
    no_target: bool = False
    coco_id: int = -1
    targets: tuple[int, ...] = ()  # into masks; () = all of them

    @property
    def name(self) -> str:
        """How messages call it."""
        return f"{self.split} image {self.image_id} ref {self.ref_id}"


def collect(
    entries: Sequence[Any],
    build: Callable[[Any, str], Referent],
    where: str,
    rejects: Rejects,
) -> list[Referent]:
    """The referents that `build(entry, where)` makes; entries it refuses are noted."""
    rejects.expect(len(entries))
    found = []
    for i, entry in enumerate(entries):
        name = f"{where}[{i}]"
        try:
            found.append(build(entry, name))
        except DataError as error:
            rejects.note(name, str(error))
    return found


def to_records(
    referents: Iterable[Referent],
    picture: Callable[[str], bytes],
    source: str,
    rejects: Rejects,
) -> Iterator[Record]:
    """The records of one split in the order of image ids; refs by ref_id.

    `picture(filename)` gives the encoded image. A referent that breaks the record's
    contract (masks without a pixel, a key that occurs twice, an empty sentence), and
    every referent of an image that is absent or of another size, goes to `rejects`.
    """
    images: dict[int, list[Referent]] = {}
    for referent in referents:
        images.setdefault(referent.image_id, []).append(referent)
    for image_id in sorted(images):
        group = sorted(images[image_id], key=lambda r: r.ref_id)
        first = group[0]
        try:
            image = picture(first.filename)
            check_size(image, first.height, first.width)
        except DataError as error:
            for referent in group:
                rejects.add(referent.name, str(error))
            continue
        draft = _Draft(first)
        for referent in group:
            try:
                draft.add(referent)
            except DataError as error:
                rejects.add(referent.name, str(error))
        if draft.expressions:
            yield draft.record(image, source)


class _Draft:
    """A record that takes referents one by one, each as a whole or not at all."""

    def __init__(self, first: Referent) -> None:
        self.first = first
        self.masks: list[Mask] = []
        self.expressions: list[Expression] = []
        self._index: dict[int, int] = {}  # ann_id -> place in masks
        self._keys: set[tuple[int, int]] = set()

    def add(self, referent: Referent) -> None:
        """Take a referent. Raises DataError, and stays as it was, if it cannot be."""
        self._check(referent)
        masks, index, places = list(self.masks), dict(self._index), []
        for mask in referent.masks:
            known = index.setdefault(mask.ann_id, len(masks))
            if known == len(masks):
                masks.append(mask)
            elif masks[known].rle != mask.rle:
                raise DataError(f"ann_id {mask.ann_id} names two different masks")
            places.append(known)
        for mask, place in zip(referent.masks, places, strict=True):
            if mask.parent >= 0:
                moved = dataclasses.replace(mask, parent=places[mask.parent])
                masks[place] = moved
        targets = referent.targets or tuple(range(len(places)))
        found = tuple(dict.fromkeys(places[t] for t in targets))
        self.masks, self._index = masks, index
        for position, sentence in enumerate(referent.sentences):
            self._keys.add((referent.ref_id, sentence.sent_id))
            self.expressions.append(_expression(referent, sentence, position, found))

    def _check(self, referent: Referent) -> None:
        first = self.first
        here = referent.filename, referent.height, referent.width
        there = first.filename, first.height, first.width
        if here != there:
            raise DataError(f"image_id {first.image_id} names {here} and {there}")
        targets = referent.targets or tuple(range(len(referent.masks)))
        alone = tuple(
            _expression(referent, s, i, targets)
            for i, s in enumerate(referent.sentences)
        )
        if not alone:
            raise DataError("sentences: none, expected at least one")
        records.validate(_record(referent, b"-", referent.masks, alone, ""))
        for sentence in referent.sentences:
            key = (referent.ref_id, sentence.sent_id)
            if key in self._keys:
                raise DataError(f"ref_id and sent_id {key} occur twice in the split")
        size = first.height, first.width
        masks = [RunMask.from_counts(referent.masks[t].rle, *size) for t in targets]
        if not referent.no_target and not RunMask.union(masks, *size).area:
            raise DataError("its masks hold no pixel, and it is not marked no-target")

    def record(self, image: bytes, source: str) -> Record:
        """The record of what was taken."""
        masks, expressions = tuple(self.masks), tuple(self.expressions)
        return _record(self.first, image, masks, expressions, source)


def _expression(
    referent: Referent, sentence: Sentence, position: int, targets: tuple[int, ...]
) -> Expression:
    return Expression(
        ref_id=referent.ref_id,
        sent_id=sentence.sent_id,
        raw=sentence.raw,
        sent=sentence.sent,
        level=referent.level,
        targets=targets,
        sent_index=position,
        no_target=referent.no_target,
    )


def _record(
    referent: Referent,
    image: bytes,
    masks: tuple[Mask, ...],
    expressions: tuple[Expression, ...],
    source: str,
) -> Record:
    return Record(
        image=image,
        image_id=referent.image_id,
        height=referent.height,
        width=referent.width,
        masks=masks,
        expressions=expressions,
        coco_id=referent.coco_id,
        filename=referent.filename,
        source=source,
    )
