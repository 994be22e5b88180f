"""Boxes of JSONL, a line a picture: the form that a short script writes. Ours."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

from unires_jax import limits
from unires_jax.engine.box_sources.common import (
    BAD_BOX,
    hashes,
    is_category,
    lines,
    region,
    with_regions,
)
from unires_jax.engine.record import Picture, Region
from unires_jax.errors import DataError, Kind
from unires_jax.prepare.mres.fields import Fields, load_json
from unires_jax.prepare.notes import Notes

LINE_FIELDS = ("image", "boxes", "image_id", "coco_id", "height", "width", "exhaustive")
BOX_FIELDS = ("box", "category", "crowd")


class BoxLines:
    """A line a picture: `{"image": "a.jpg", "boxes": [{"box": [...], ...}]}`.

    `box` is x0, y0, x1, y1 in pixels, `category` its name, `crowd` optional; so are
    `image_id` (else the line's position), `coco_id`, `height`, `width`, `exhaustive`.
    """

    form: ClassVar[str] = "boxes"

    def __init__(self, paths: Sequence[Path], notes: Notes, exhaustive: bool) -> None:
        """Counts the lines. Raises DataError for a file that cannot be read."""
        self._paths, self._notes, self._exhaustive = paths, notes, exhaustive
        self.files = hashes(paths)
        self.count = sum(1 for path in paths for _ in lines(path))

    def entries(self) -> Iterator[Picture | DataError]:
        """Each line that is not empty."""
        position, used = 0, set[int]()
        for path in self._paths:
            src = f"boxes@{self.files[path.name][:12]}"
            for row, text in lines(path):
                place = f"{path}:{row}"
                try:
                    picture = self._picture(load_json(text), position, src, place)
                    if picture.image_id in used:
                        raise DataError(
                            f"image_id {picture.image_id} occurs twice; give every "
                            "picture its own, or none",
                            kind=Kind.ID_TWICE,
                        )
                    used.add(picture.image_id)
                    yield picture
                except DataError as error:
                    yield error.at(place)
                position += 1

    def _picture(self, value: Any, position: int, src: str, place: str) -> Picture:
        fields = Fields(value, "", LINE_FIELDS)
        exhaustive = fields.get("exhaustive")
        picture = Picture(
            image_id=fields.integer("image_id", 0, default=position),
            file=fields.text("image"),
            sha256="",
            height=fields.integer("height", 0, limits.PIXELS, default=0),
            width=fields.integer("width", 0, limits.PIXELS, default=0),
            coco_id=fields.integer("coco_id", -1, default=-1),
            exhaustive=self._exhaustive if exhaustive is None else exhaustive is True,
        )
        regions = self._regions(fields.items("boxes"), src, place)
        return with_regions(picture, regions, self._notes)

    def _regions(self, items: list[Any], src: str, place: str) -> Iterator[Region]:
        for index, item in enumerate(items):
            fields = Fields(item, f"boxes[{index}]", BOX_FIELDS)
            try:
                x0, y0, x1, y1 = fields.numbers("box", 4)
                category = fields.text("category")
            except DataError as error:
                self._notes.add(BAD_BOX, f"{place}: {error.place}")
                continue
            if not is_category(category):
                self._notes.add(BAD_BOX, f"{place}: boxes[{index}].category")
                continue
            crowd = fields.get("crowd") is True
            yield region(index, (x0, y0, x1, y1), category, crowd, src)
