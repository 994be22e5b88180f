"""A COCO JSON file of any size: its lists, and the annotations picture by picture.

Source of the format: the COCO data format; LVIS's `coco_url` and
`not_exhaustive_category_ids`; `caption`, `attributes` as CVAT exports them.
"""

import re
from array import array
from collections import Counter
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from unires_jax import limits
from unires_jax.engine.part_sources.form import WrongForm
from unires_jax.engine.part_sources.json_lists import Entry, JsonLists
from unires_jax.engine.part_sources.names import clean_category
from unires_jax.engine.part_sources.regions import AnnotatedPicture, Annotation
from unires_jax.errors import DataError, Kind
from unires_jax.pixels.masks import RunMask
from unires_jax.prepare.notes import Notes
from unires_jax.prepare.pieces import STRAY, whole_pieces
from unires_jax.prepare.rejects import Rejects
from unires_jax.prepare.sources import coco
from unires_jax.prepare.sources.fields import check, get, is_key, short

LISTS = ("images", "annotations", "categories")
# Where an annotation names its object, and where it holds a person's words.
PARENTS = ("obj_ann_id", "parent_id", "parent", "parent_ann_id", "part_of")
CAPTIONS = ("caption", "captions", "sentence", "sentences", "description")
_SECONDS = 2  # of reading before a bar shows it
NO_SENTENCE = (
    "texts that are no sentences are passed over: without a word, unprintable, or of "
    f"more than {limits.SENTENCE:,} letters"
)
_SPACE = re.compile(r"\s+")


class Category(NamedTuple):
    """An entry of the list of categories."""

    name: str
    above: str  # its supercategory
    uses: int  # annotations that have it


class Listed(NamedTuple):
    """An entry of the list of images."""

    image: coco.Image
    partial: tuple[int, ...]  # categories not marked everywhere in it


class Names(NamedTuple):
    """What a category names."""

    category: str
    part: str = ""


class CocoFile:
    """The index of an open file. Raises DataError for what is no COCO JSON."""

    def __init__(self, lists: JsonLists, rejects: Rejects) -> None:
        self.path, self._lists, self._rejects = lists.path, lists, rejects
        self.fields = lists.names()
        absent = [name for name in LISTS if name not in self.fields]
        if absent:
            there = ", ".join(map(short, self.fields[:9])) or "nothing"
            raise WrongForm(
                f"is no COCO JSON: it has no list {absent[0]!r}, it has {there}",
                place=str(self.path),
            )
        self.images: dict[int, Listed] = {}
        self.categories: dict[int, Category] = {}
        self.first: dict[str, Any] = {}  # one annotation, to tell forms by
        self._index()

    def _index(self) -> None:
        """Walk through the file once."""
        rows, named, numbers = array("q"), Counter[int](), Counter[str]()
        listed: dict[int, tuple[str, str]] = {}  # name and supercategory
        for name, entry in self._entries():
            if name == "categories":
                self._add_category(self._lists.load(entry), listed)
                continue
            self._rejects.expect(1)
            place = f"{name}[{numbers[name]}]"
            numbers[name] += 1
            try:
                value = self._lists.load(entry)
                if name == "images":
                    self._add_image(value, place)
                else:
                    rows.extend(self._row(value, entry, place, named))
            except DataError as error:
                if error.kind is Kind.ID_TWICE:
                    raise
                self._rejects.note(f"{self.path}: {place}", error)
        self.categories = {k: Category(*v, named[k]) for k, v in listed.items()}
        self._rows = np.array(rows, np.int64).reshape(-1, 3)

    def _entries(self) -> Iterator[tuple[str, Entry]]:
        """The entries of the lists, behind a bar where they take long."""
        with tqdm(
            total=self._lists.size,
            desc=self.path.name,
            unit="B",
            unit_scale=True,
            leave=False,
            delay=_SECONDS,
        ) as bar:
            for name, entry in self._lists.entries(*LISTS):
                bar.update(entry.end - bar.n)
                yield name, entry

    def _add_category(self, value: Any, listed: dict[int, tuple[str, str]]) -> None:
        place = f"{self.path}: categories"
        key = get(value, "id", int, place)
        above = get(value, "supercategory", str, place, "")
        names = get(value, "name", str, f"{place}: id {key}"), above
        if listed.setdefault(key, names) != names:
            raise DataError(
                f"id {key} occurs twice, not the same; drop one",
                place=place,
                kind=Kind.ID_TWICE,
            )

    def _add_image(self, value: Any, place: str) -> None:
        if isinstance(value, dict):
            if not value.get("file_name"):
                url = get(value, "coco_url", str, place, "")
                path = url.partition("://")[2].partition("/")[2]  # behind the host
                value = {**value, "file_name": path}
            if value.get("height") is None and value.get("width") is None:
                # of Label Studio, which could not open it
                self._rejects.notes.add("pictures without a size are passed over")
                return
        image = coco.image(value, place)
        if image.image_id < 0:
            raise DataError(f"id {image.image_id}: expected 0 or more", place=place)
        ids = get(value, "not_exhaustive_category_ids", list, place, [])
        listed = Listed(image, tuple(i for i in ids if is_key(i)))
        if self.images.setdefault(image.image_id, listed) != listed:
            raise DataError(
                f"id {image.image_id} occurs twice, not the same; drop one",
                place=f"{self.path}: images",
                kind=Kind.ID_TWICE,
            )

    def _row(
        self, value: Any, entry: Entry, place: str, named: Counter[int]
    ) -> tuple[int, int, int]:
        image_id = get(value, "image_id", int, place)
        self.first = self.first or value
        category = value.get("category_id")
        if is_key(category):
            named[category] += 1
        return image_id, entry.start, entry.end

    def pictures(
        self, names: dict[int, Names], parent: str = ""
    ) -> Iterator[AnnotatedPicture]:
        """The pictures in the order of the list, those without annotations left out.

        `names` says what the categories are, `parent` which field holds the object of
        a part where it is not one of PARENTS. What cannot be used is refused.
        """
        order = np.argsort(self._rows[:, 0], kind="stable")
        rows = self._rows[order]
        ids, starts, counts = np.unique(
            rows[:, 0], return_index=True, return_counts=True
        )
        pairs = zip(starts.tolist(), (starts + counts).tolist(), strict=True)
        spans = dict(zip(ids.tolist(), pairs, strict=True))
        for image_id, listed in self.images.items():
            first, last = spans.pop(image_id, (0, 0))
            if first == last:
                self._rejects.notes.add("pictures without an annotation")
                continue
            entries = [Entry(int(a), int(b)) for _, a, b in rows[first:last]]
            yield self._picture(listed, entries, names, parent)
        for image_id, (first, last) in spans.items():
            error = DataError("not among the images", kind=Kind.IMAGE_ABSENT)
            for _ in range(first, last):
                self._rejects.note(f"{self.path}: image_id {image_id}", error)

    def _picture(
        self,
        listed: Listed,
        entries: list[Entry],
        names: dict[int, Names],
        parent: str,
    ) -> AnnotatedPicture:
        image = listed.image
        annotations: list[Annotation] = []
        for entry in entries:
            value = self._lists.load(entry)
            place = f"{self.path}: image {image.image_id}, annotation {value.get('id')}"
            try:
                if len(annotations) >= limits.MASKS:
                    raise DataError(f"more than {limits.MASKS} masks of one picture")
                key = get(value, "id", int, "", -1 - entry.start)  # some have none
                mask = read_mask(value, image.height, image.width, self._rejects.notes)
                annotations.append(
                    annotation(value, key, mask, names, self._rejects.notes, parent)
                )
            except DataError as error:
                self._rejects.note(place, error)
        partial = {names[i].category for i in listed.partial if i in names}
        return AnnotatedPicture(
            image=image,
            annotations=tuple(annotations),
            coco_id=_coco_id(image),
            merged=True,
            partial=frozenset(map(clean_category, partial)),
        )


def annotation(
    value: Any,
    key: int,
    mask: RunMask,
    names: dict[int, Names],
    notes: Notes,
    parent: str = "",
) -> Annotation:
    """An entry of the list of annotations. Raises DataError for no known category."""
    category_id = get(value, "category_id", int, "")
    if category_id not in names:
        raise DataError(f"category_id {category_id} is not among the categories")
    named = names[category_id]
    return Annotation(
        key=key,
        mask=mask,
        category=named.category,
        part=named.part,
        parent=_parent(value, key, parent) if named.part else None,
        crowd=_is_crowd(value),
        captions=captions(value, notes),
    )


def read_mask(
    value: Any, height: int, width: int, notes: Notes | None = None
) -> RunMask:
    """The mask of an annotation. Raises DataError where it has none, or no pixel."""
    pieces = value.get("segmentation")
    if not pieces:
        raise DataError(
            "has no mask; masks are made of boxes by `unires engine plan` and `run`",
            kind=Kind.MASK_EMPTY,
        )
    if isinstance(pieces, list):
        whole = list(whole_pieces(pieces).values())
        if notes and len(whole) < len(pieces):
            notes.add(STRAY)
        pieces = whole
    mask = coco.read_segmentation(pieces, height, width, "segmentation")
    if not mask.area:
        raise DataError("its mask holds no pixel; redraw it", kind=Kind.MASK_EMPTY)
    return mask


def _is_crowd(value: Any) -> bool:
    """Whether a mask is of several things.

    CVAT (by Datumaro) calls every mask that was not drawn as a polygon a crowd; its
    annotations are known by the attribute `occluded`.
    """
    attributes = value.get("attributes")
    if isinstance(attributes, dict) and "occluded" in attributes:
        return False
    return value.get("iscrowd") in (1, True)


def _parent(value: Any, key: int, field: str) -> int | None:
    """The object that a part names; itself (as PACO writes it for objects) is none."""
    attributes = value.get("attributes")
    for name in (field,) if field else PARENTS:
        for holder in (value, attributes):
            above: Any = holder.get(name) if isinstance(holder, dict) else None
            if is_key(above) and above != key:
                return int(above)
    return None


def captions(value: Any, notes: Notes) -> tuple[str, ...]:
    """What a person wrote of an annotation: in a field or an attribute of CAPTIONS."""
    attributes = value.get("attributes")
    found: list[Any] = []
    for holder in (value, attributes):
        for name in CAPTIONS if isinstance(holder, dict) else ():
            text = holder.get(name)
            found += text if isinstance(text, list) else [text]
    return sentences(found, notes)


def sentences(values: list[Any], notes: Notes) -> tuple[str, ...]:
    """Those of some values that are texts with words, each once, spaces made one.

    Other texts are noted, unless they are empty.
    """
    texts = [_SPACE.sub(" ", v).strip() for v in values if isinstance(v, str)]
    good = list(filter(_is_sentence, texts))
    if refused := sum(map(bool, texts)) - len(good):
        notes.add(NO_SENTENCE, count=refused)
    return tuple(dict.fromkeys(good))


def _is_sentence(text: str) -> bool:
    try:
        check(text, str, "", "caption")
    except DataError:
        return False
    plain = all(c.isprintable() or c == " " for c in text)
    return plain and bool(re.search(r"\w", text)) and len(text) <= limits.SENTENCE


def _coco_id(image: coco.Image) -> int:
    """COCO's id of a picture whose file has COCO's own name for it; else -1."""
    name = PurePosixPath(image.filename).name
    return image.image_id if coco.number(name) == image.image_id else -1
