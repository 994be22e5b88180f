"""Referents grouped into records, one for each image of a split."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator

from unires_jax import limits
from unires_jax.data import records
from unires_jax.data.records import Expression, Mask, Record
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
            data = _picture(picture(image.filename), image, masks)
        except DataError as error:
            for referent in group:
                rejects.add(referent.name, error)
            continue
        growing = _Growing(
            Record(
                image=data,
                image_id=image_id,
                height=image.height,
                width=image.width,
                masks=(),
                expressions=(),
                coco_id=image_id,
                filename=image.filename,
                source=source,
            ),
            image,
        )
        for referent in group:
            try:
                growing.add(referent)
            except DataError as error:
                rejects.add(referent.name, error)
        if growing.expressions:
            yield growing.record()


def _picture(data: bytes, image: Image, masks: orientation.Masks) -> bytes:
    try:
        return orientation.for_masks(data, image.height, image.width, masks)
    except DataError as error:
        raise error.at(image.filename) from None


class _Growing:
    """A record to which referents are added: time goes with them, however many."""

    def __init__(self, bare: Record, image: Image) -> None:
        self._bare, self._image = bare, image
        self._places: dict[int, int] = {}  # of masks by ann_id
        self._keys: set[tuple[int, int]] = set()
        self.masks: list[Mask] = []
        self.expressions: list[Expression] = []

    def record(self) -> Record:
        """The record of all that was added."""
        masks, expressions = tuple(self.masks), tuple(self.expressions)
        return dataclasses.replace(self._bare, masks=masks, expressions=expressions)

    def add(self, referent: Referent) -> None:
        """Add a referent. Raises DataError if it cannot be taken, and takes none of it.

        A picture has at most limits.MASKS and limits.EXPRESSIONS.
        """
        self._check(referent)
        for mask in referent.masks:
            if mask.ann_id not in self._places:
                self._places[mask.ann_id] = len(self.masks)
                self.masks.append(mask)
        places = [self._places[mask.ann_id] for mask in referent.masks]
        for mask, place in zip(referent.masks, places, strict=True):
            if mask.parent >= 0:
                parent = places[mask.parent]
                self.masks[place] = dataclasses.replace(mask, parent=parent)
        targets = tuple(dict.fromkeys(places[t] for t in _targets(referent)))
        expressions = _expressions(referent, targets)
        self._keys |= {(x.ref_id, x.sent_id) for x in expressions}
        self.expressions += expressions

    def _check(self, referent: Referent) -> None:
        """Raise DataError unless a referent can stand alone, and beside those taken."""
        image, record = self._image, self._bare
        if referent.image != image:
            here, there = tuple(referent.image[1:]), tuple(image[1:])
            raise DataError(f"image_id {image.image_id} names {here} and {there}")
        if not referent.sentences:
            raise DataError(
                "none, expected at least one",
                place="sentences",
                kind=Kind.SENTENCE_EMPTY,
            )
        targets = _targets(referent)
        expressions = _expressions(referent, targets)
        records.validate(
            dataclasses.replace(
                record, masks=referent.masks, expressions=expressions, source=""
            )
        )
        self._check_room(referent)
        for key in ((x.ref_id, x.sent_id) for x in expressions):
            if key in self._keys:
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
        rles: dict[int, str] = {}
        for mask in referent.masks:
            place = self._places.get(mask.ann_id)
            earlier = mask if place is None else self.masks[place]
            if rles.setdefault(mask.ann_id, earlier.rle) != mask.rle:
                raise DataError(
                    f"ann_id {mask.ann_id} names two different masks",
                    kind=Kind.ID_TWICE,
                )

    def _check_room(self, referent: Referent) -> None:
        masks = len(self.masks) + len(referent.masks)
        expressions = len(self.expressions) + len(referent.sentences)
        if masks > limits.MASKS or expressions > limits.EXPRESSIONS:
            raise DataError(
                f"its picture would have {masks} masks and {expressions} expressions, "
                f"the limits are {limits.MASKS} and {limits.EXPRESSIONS}"
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
