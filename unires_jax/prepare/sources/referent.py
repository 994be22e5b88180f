"""A referent, as every raw form gives it, and what several forms share to read one."""

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from unires_jax.data.records import OBJECT, Mask
from unires_jax.errors import DataError
from unires_jax.prepare.rejects import Rejects
from unires_jax.prepare.sources.coco import Image
from unires_jax.prepare.sources.fields import check, get, short


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

    image: Image
    split: str
    ref_id: int
    masks: tuple[Mask, ...]  # () = it denotes nothing
    sentences: tuple[Sentence, ...]
    level: int = OBJECT
    targets: tuple[int, ...] = ()  # into masks; () = all of them

    @property
    def name(self) -> str:
        """How messages call it."""
        return f"{self.split} image {self.image.image_id} ref {self.ref_id}"


def collect(
    entries: Iterable[Any],
    build: Callable[[Any, str], Referent],
    where: str,
    rejects: Rejects,
    count: int,
) -> list[Referent]:
    """The referents that `build(entry, place)` makes of `count` entries.

    Those that it refuses are noted. Raises DataError if all others take too much.
    """
    rejects.expect(count)
    referents: list[Referent] = []
    known: set[int] = set()  # masks that several referents share
    for i, entry in enumerate(entries):
        place = f"{where}[{i}]"
        try:
            referents.append(build(entry, place))
        except DataError as error:
            rejects.note(place, error)
        else:
            hold(referents[-1], where, rejects, known)
    return referents


def hold(referent: Referent, where: str, rejects: Rejects, known: set[int]) -> None:
    """Count what a referent that is kept takes of limits.REFERENTS_MEMORY.

    `known` holds the identities of masks that are counted. Raises DataError.
    """
    fresh = {id(m): m for m in referent.masks if id(m) not in known}
    known.update(fresh)
    masks = sum(len(m.rle) + len(m.segmentation) for m in fresh.values())
    words = sum(len(s.raw) + len(s.sent) for s in referent.sentences)
    try:
        rejects.hold(masks + words)
    except DataError as error:
        raise error.at(where) from None


def require_entries(entries: list[Any], where: str) -> list[Any]:
    """The entries of a file. Raises DataError if there is none."""
    if not entries:
        raise DataError("holds no entry; fetch the file again", place=where)
    return entries


def targets(entry: Any, place: str, mask: Callable[[int], Mask]) -> tuple[Mask, ...]:
    """The masks of an entry's ann_id, a number or a list; () for [-1] (no target).

    Raises DataError if `no_target`, where it is stated, says otherwise.
    """
    value = entry["ann_id"] if "ann_id" in entry else get(entry, "ann_id", int, place)
    ids = value if isinstance(value, list) else [value]
    ids = [check(i, int, place, "ann_id") for i in ids]
    none = ids == [-1]
    if get(entry, "no_target", bool, place, none) != none or not ids:
        raise DataError(
            f"ann_id {short(value)} with no_target {short(entry.get('no_target'))}; "
            "[-1] alone means no target",
            place=place,
        )
    return () if none else tuple(mask(i) for i in dict.fromkeys(ids))


def sentences(entry: Any, place: str) -> tuple[Sentence, ...]:
    """The sentences of an entry; `raw` falls back to `sent`."""
    items = get(entry, "sentences", list, place)
    return tuple(
        _sentence(item, f"{place}: sentences[{i}]") for i, item in enumerate(items)
    )


def _sentence(item: Any, place: str) -> Sentence:
    sent = get(item, "sent", str, place)
    raw = get(item, "raw", str, place, sent)
    return Sentence(get(item, "sent_id", int, place), raw, sent)


def texts(entry: Any, name: str, place: str) -> tuple[Sentence, ...]:
    """The sentences of a list of texts without ids: their place stands for sent_id."""
    items = [check(s, str, place, name) for s in get(entry, name, list, place)]
    return tuple(Sentence(i, text, text) for i, text in enumerate(items))
