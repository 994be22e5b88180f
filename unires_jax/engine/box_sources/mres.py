"""Boxes of the object masks of MRES JSONL."""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from unires_jax.data.records import OBJECT, Record
from unires_jax.engine.box_sources.common import hashes, lines, region, with_regions
from unires_jax.engine.record import Picture
from unires_jax.errors import DataError, Kind
from unires_jax.prepare.mres import plan
from unires_jax.prepare.mres.jsonl import find_files
from unires_jax.prepare.notes import Notes


class MresBoxes:
    """MRES JSONL: the boxes of its object masks. Its pictures must be files."""

    form: ClassVar[str] = "mres"

    def __init__(
        self,
        paths: Sequence[Path],
        notes: Notes,
        exhaustive: bool,
        pictures: Path,
        follow_links: bool,
    ) -> None:
        """Counts the lines. Raises DataError for what is no MRES JSONL."""
        self._notes, self._exhaustive = notes, exhaustive
        self._pictures, self._follow_links = str(pictures), follow_links
        self._paths = [
            path
            for named in paths
            for group in find_files(named, "all" if named.is_file() else "").values()
            for path in group
        ]
        self.files = hashes(self._paths)
        self.count = sum(1 for path in self._paths for _ in lines(path))

    def entries(self) -> Iterator[Picture | DataError]:
        """Each line that is not empty."""
        used = set[int]()
        for path in self._paths:
            src = f"mres@{self.files[path.name][:12]}"
            for whole in plan.cut(path, "", plan.SHARD_TEXT):
                run = dataclasses.replace(
                    whole, images=self._pictures, follow_links=self._follow_links
                )
                for row, record in run.read(self._notes):
                    try:
                        yield self._picture(record, used, src)
                    except DataError as error:
                        placed = isinstance(record, DataError)
                        yield error if placed else error.at(run.place(row))

    def _picture(self, record: Record | DataError, used: set[int], src: str) -> Picture:
        if isinstance(record, DataError):
            raise record
        if not record.filename:
            raise DataError("holds its picture in the line; write it as a file")
        if record.image_id in used:
            raise DataError(
                f"image_id {record.image_id} occurs twice; give every picture its own",
                kind=Kind.ID_TWICE,
            )
        used.add(record.image_id)
        picture = Picture(
            image_id=record.image_id,
            file=record.filename,
            sha256="",
            height=record.height,
            width=record.width,
            coco_id=record.coco_id,
            exhaustive=self._exhaustive,
        )
        regions = []
        for i, mask in enumerate(record.masks):
            if mask.level == OBJECT:
                x, y, width, height = mask.bbox
                box = (x, y, x + width, y + height)
                regions.append(region(i, box, mask.category, mask.iscrowd, src))
        return with_regions(picture, regions, self._notes)
