"""Boxes of COCO's JSON, as Objects365 and LVIS have it too.

Source of the form: the COCO data format, and what LVIS v1 adds to it.
"""

import array
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from unires_jax import limits
from unires_jax.engine.box_sources.common import (
    BAD_BOX,
    is_category,
    region,
    with_regions,
)
from unires_jax.engine.json_members import members
from unires_jax.engine.markers import file_hash
from unires_jax.engine.record import Picture, Region
from unires_jax.errors import DataError, Kind
from unires_jax.prepare.mres.fields import finite
from unires_jax.prepare.notes import Notes
from unires_jax.prepare.sources.coco import number
from unires_jax.prepare.sources.fields import get, is_key

_BYTES = 45  # of a box


class CocoBoxes:
    """COCO's JSON, as Objects365 and LVIS have it too; outlines are not read.

    Boxes take 45 bytes each in memory, pictures some 300. LVIS states a file by its
    address (`coco_url`). Files named as COCO's carry their number as `coco_id`.
    """

    form: ClassVar[str] = "coco"

    def __init__(self, path: Path, notes: Notes, exhaustive: bool) -> None:
        """Reads the file. Raises DataError for what is no such JSON."""
        self._place, self._notes, self._exhaustive = str(path), notes, exhaustive
        digest = file_hash(path)
        self.files, self._src = {path.name: digest}, f"coco@{digest[:12]}"
        self._pictures: list[Picture | DataError] = []
        self._categories: dict[int, str] = {}
        self._positions: dict[int, int] = {}
        self._owners = array.array("q")  # of boxes: their picture's id
        self._kinds = array.array("q")
        self._corners = array.array("d")
        self._crowds = array.array("b")
        takes = {"images": self._take_image, "annotations": self._take_box}
        takes["categories"] = self._take_category
        read = Counter[str]()
        for name, entry in members(path, takes):
            takes[name](entry, f"{self._place}: {name}[{read[name]}]")
            read[name] += 1
        self.count = len(self._pictures)
        if not self.count:
            raise DataError("lists no images; expected COCO's JSON", place=self._place)

    def _take_category(self, entry: Any, place: str) -> None:
        key = get(entry, "id", int, place)
        self._categories[key] = get(entry, "name", str, place)

    def _take_image(self, entry: Any, place: str) -> None:
        position = len(self._pictures)
        try:
            picture = self._picture(entry, place)
        except DataError as error:
            self._pictures.append(error)
            return
        if self._positions.setdefault(picture.image_id, position) != position:
            raise DataError(
                f"id {picture.image_id} occurs twice; give every picture its own",
                place=place,
                kind=Kind.ID_TWICE,
            )
        self._pictures.append(picture)

    def _picture(self, entry: Any, place: str) -> Picture:
        image_id = get(entry, "id", int, place)
        if image_id < 0:
            raise DataError(f"id {image_id}, expected at least 0", place=place)
        url = get(entry, "coco_url", str, place, "")
        file = get(entry, "file_name", str, place, "") or "/".join(url.split("/")[-2:])
        if not file:
            raise DataError("has neither file_name nor coco_url", place=place)
        coco_id = number(file.rpartition("/")[2])
        return Picture(
            image_id=image_id,
            file=file,
            sha256="",
            height=get(entry, "height", int, place, 0),
            width=get(entry, "width", int, place, 0),
            coco_id=-1 if coco_id is None else coco_id,
            exhaustive=self._exhaustive and "neg_category_ids" not in entry,  # LVIS
        )

    def _take_box(self, entry: Any, place: str) -> None:
        values = entry if isinstance(entry, dict) else {}
        owner, kind = (values.get(name, "") for name in ("image_id", "category_id"))
        box, crowd = values.get("bbox"), values.get("iscrowd")
        keyed = is_key(owner) and is_key(kind)
        if not (isinstance(box, list) and len(box) == 4 and finite(box) and keyed):
            self._notes.add(BAD_BOX, place)
            return
        x, y, width, height = box
        self._owners.append(owner)
        self._kinds.append(kind)
        self._corners.extend((x, y, x + width, y + height))
        self._crowds.append(crowd is True or crowd == 1)
        if len(self._owners) * _BYTES > limits.JSON_MEMORY:
            raise DataError("holds more boxes than fit; cut the file", place=place)

    def entries(self) -> Iterator[Picture | DataError]:
        """Each image of the list, with its boxes in their order."""
        owners = np.frombuffer(self._owners, np.int64)
        ids = np.array(sorted(self._positions), np.int64)
        order = np.argsort(owners, kind="stable")
        starts = np.searchsorted(owners[order], ids, "left")
        ends = np.searchsorted(owners[order], ids, "right")
        places = {int(i): (a, b) for i, a, b in zip(ids, starts, ends, strict=True)}
        if lost := len(owners) - int((ends - starts).sum()):
            text = "passed over: a box on an image that the file does not list"
            self._notes.add(text, self._place, lost)
        for picture in self._pictures:
            if isinstance(picture, DataError):
                yield picture
                continue
            start, end = places[picture.image_id]
            yield with_regions(picture, self._regions(order[start:end]), self._notes)

    def _regions(self, boxes: np.ndarray) -> Iterator[Region]:
        for index, box in enumerate(boxes.tolist()):
            category = self._categories.get(self._kinds[box], "")
            if not is_category(category):
                self._notes.add(BAD_BOX, f"{self._place}: category {self._kinds[box]}")
                continue
            x0, y0, x1, y1 = self._corners[4 * box : 4 * box + 4]
            corners, crowd = (x0, y0, x1, y1), bool(self._crowds[box])
            yield region(index, corners, category, crowd, self._src)
