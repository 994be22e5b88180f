"""Referents grouped into records, one for each image of a split."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator

from unires_jax.data import records
from unires_jax.data.records import Expression, Mask, Record
from unires_jax.errors import DataError, Kind
from unires_jax.pixels.images import check_size
from unires_jax.pixels.masks import RunMask
from unires_jax.prepare.rejects import Rejects
from unires_jax.prepare.sources.referent import Referent, Sentence


def by_split(referents: Iterable[Referent]) -> dict[str, list[Referent]]:
    """The referents of each split, in their order."""
    splits: dict[str, list[Referent]] = {}
    for referent in referents:
        splits.setdefault(referent.split, []).append(referent)
    return splits


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
                rejects.add(referent.name, error)
            continue
        draft = _Draft(first)
        for referent in group:
            try:
                draft.add(referent)
            except DataError as error:
                rejects.add(referent.name, error)
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
            position = index.setdefault(mask.ann_id, len(masks))
            if position == len(masks):
                masks.append(mask)
            elif masks[position].rle != mask.rle:
                raise DataError(
                    f"ann_id {mask.ann_id} names two different masks",
                    kind=Kind.ID_TWICE,
                )
            places.append(position)
        for mask, place in zip(referent.masks, places, strict=True):
            if mask.parent >= 0:
                moved = dataclasses.replace(mask, parent=places[mask.parent])
                masks[place] = moved
        targets = referent.targets or tuple(range(len(places)))
        unique = tuple(dict.fromkeys(places[t] for t in targets))
        self.masks, self._index = masks, index
        for position, sentence in enumerate(referent.sentences):
            self._keys.add((referent.ref_id, sentence.sent_id))
            self.expressions.append(_expression(referent, sentence, position, unique))

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
            raise DataError(
                "none, expected at least one",
                place="sentences",
                kind=Kind.SENTENCE_EMPTY,
            )
        records.validate(_record(referent, b"-", referent.masks, alone, ""))
        for sentence in referent.sentences:
            key = (referent.ref_id, sentence.sent_id)
            if key in self._keys:
                raise DataError(
                    f"ref_id and sent_id {key} occur twice in the split",
                    kind=Kind.ID_TWICE,
                )
        size = first.height, first.width
        masks = [RunMask.from_counts(referent.masks[t].rle, *size) for t in targets]
        if not referent.no_target and not RunMask.union(masks, *size).area:
            raise DataError(
                "its masks hold no pixel, and it is not marked no-target",
                kind=Kind.MASK_EMPTY,
            )

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
