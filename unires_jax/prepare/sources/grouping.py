"""Referents grouped into records, one for each image of a split."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator

from unires_jax.data import records
from unires_jax.data.records import Expression, Record
from unires_jax.errors import DataError, Kind
from unires_jax.pixels import orientation
from unires_jax.pixels.masks import RunMask
from unires_jax.prepare.rejects import Rejects
from unires_jax.prepare.sources.coco import Image
from unires_jax.prepare.sources.referent import Referent


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
    masks: orientation.Masks = "stored",
) -> Iterator[Record]:
    """The records of one split in the order of image ids; refs by ref_id.

    `picture(filename)` gives the encoded image, `masks` says which of its pixels the
    annotations belong to (`pixels.orientation`). A referent that breaks the record's
    contract (masks without a pixel, a key that occurs twice, an empty sentence), and
    every referent of an image that is absent or of another size, goes to `rejects`.
    """
    images: dict[int, list[Referent]] = {}
    for referent in referents:
        images.setdefault(referent.image.image_id, []).append(referent)
    for image_id in sorted(images):
        group = sorted(images[image_id], key=lambda r: r.ref_id)
        image = group[0].image
        try:
            size = image.height, image.width
            data = orientation.for_masks(picture(image.filename), *size, masks)
        except DataError as error:
            for referent in group:
                rejects.add(referent.name, error)
            continue
        record = Record(
            image=data,
            image_id=image_id,
            height=image.height,
            width=image.width,
            masks=(),
            expressions=(),
            coco_id=image_id,
            filename=image.filename,
            source=source,
        )
        for referent in group:
            try:
                record = _extended(record, referent, image)
            except DataError as error:
                rejects.add(referent.name, error)
        if record.expressions:
            yield record


def _extended(record: Record, referent: Referent, image: Image) -> Record:
    """The record with one more referent. Raises DataError if it cannot be taken."""
    _check(record, referent, image)
    masks, places = list(record.masks), []
    by_id = {mask.ann_id: place for place, mask in enumerate(masks)}
    for mask in referent.masks:
        place = by_id.setdefault(mask.ann_id, len(masks))
        if place == len(masks):
            masks.append(mask)
        elif masks[place].rle != mask.rle:
            raise DataError(
                f"ann_id {mask.ann_id} names two different masks", kind=Kind.ID_TWICE
            )
        places.append(place)
    for mask, place in zip(referent.masks, places, strict=True):
        if mask.parent >= 0:
            masks[place] = dataclasses.replace(mask, parent=places[mask.parent])
    targets = tuple(dict.fromkeys(places[t] for t in _targets(referent)))
    expressions = (*record.expressions, *_expressions(referent, targets))
    return dataclasses.replace(record, masks=tuple(masks), expressions=expressions)


def _check(record: Record, referent: Referent, image: Image) -> None:
    """Raise DataError unless a referent can stand alone, and beside those taken."""
    if referent.image != image:
        here, there = tuple(referent.image[1:]), tuple(image[1:])
        raise DataError(f"image_id {image.image_id} names {here} and {there}")
    if not referent.sentences:
        raise DataError(
            "none, expected at least one", place="sentences", kind=Kind.SENTENCE_EMPTY
        )
    targets = _targets(referent)
    expressions = _expressions(referent, targets)
    records.validate(
        dataclasses.replace(
            record, masks=referent.masks, expressions=expressions, source=""
        )
    )
    keys = {(x.ref_id, x.sent_id) for x in record.expressions}
    for key in ((x.ref_id, x.sent_id) for x in expressions):
        if key in keys:
            raise DataError(
                f"ref_id and sent_id {key} occur twice in the split",
                kind=Kind.ID_TWICE,
            )
    masks = [records.runs_of(record, referent.masks[t]) for t in targets]
    if masks and not RunMask.union(masks, image.height, image.width).area:
        raise DataError(
            "its masks hold no pixel, and it is not marked no-target",
            kind=Kind.MASK_EMPTY,
        )


def _targets(referent: Referent) -> tuple[int, ...]:
    return referent.targets or tuple(range(len(referent.masks)))


def _expressions(
    referent: Referent, targets: tuple[int, ...]
) -> tuple[Expression, ...]:
    return tuple(
        Expression(
            ref_id=referent.ref_id,
            sent_id=sentence.sent_id,
            raw=sentence.raw,
            sent=sentence.sent,
            level=referent.level,
            targets=targets,
            sent_index=index,
            no_target=not referent.masks,
        )
        for index, sentence in enumerate(referent.sentences)
    )
