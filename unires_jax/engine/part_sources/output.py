"""Annotated pictures as MRES JSONL, and conversion/<split>/summary.json of them."""

import contextlib
import dataclasses
import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from tqdm import tqdm

from unires_jax import disk, documents
from unires_jax.data.records import (
    OBJECT,
    PART,
    Expression,
    Mask,
    Record,
    decode_record_image,
)
from unires_jax.engine.part_sources import texts
from unires_jax.engine.part_sources.form import Form, Opened
from unires_jax.engine.part_sources.json_lists import CONVERSION
from unires_jax.engine.part_sources.regions import (
    AnnotatedPicture,
    Region,
    assemble,
)
from unires_jax.errors import ConfigError, DataError, Kind, printable
from unires_jax.files import write_whole
from unires_jax.pixels import orientation
from unires_jax.prepare.build_summary import files
from unires_jax.prepare.mres.write import write
from unires_jax.prepare.rejects import Rejects
from unires_jax.prepare.sources.part_names import UNNAMED
from unires_jax.prepare.sources.pictures import ImageFolder, safe_parts

# In the folder CONVERSION: what lies beside lines is taken for lines.
SUMMARY = "summary.json"
PICTURES = "images"  # folder below the output that pictures are copied to

# What becomes a sentence: what people wrote, templates of names, or both.
Sentences = Literal["both", "captions", "names"]
SENTENCES: tuple[Sentences, ...] = ("both", "captions", "names")


@dataclasses.dataclass(frozen=True)
class Task:
    """What to make of a source."""

    form: Form
    source: Path
    pictures: Path  # their folder
    out: Path
    split: str
    every: bool  # whether the source marks every thing of its categories
    masks: orientation.Masks  # the pixels of a picture that they belong to
    embed: bool = False  # pictures within the lines
    overwrite: bool = False  # lines of another source
    follow_links: bool = False  # out of the folder of pictures
    sentences: Sentences = "both"

    @property
    def told(self) -> Path:
        """The folder of what is told of the split."""
        return self.out / CONVERSION / self.split

    def require_own(self) -> None:
        """Raise ConfigError where the split holds what another source gave."""
        lines, given = self.out / f"{self.split}.jsonl.gz", None
        if self.overwrite or not lines.exists():
            return
        with contextlib.suppress(DataError):
            given = documents.read_object(self.told / SUMMARY).get("place")
        if given != str(self.source.resolve()):
            raise ConfigError(
                f"{lines} was made of {given or 'something else'}; name another --out "
                "or --split, or give --overwrite"
            )


class Output:
    """Writes the lines of one source and counts."""

    def __init__(self, task: Task, rejects: Rejects) -> None:
        """Raises DataError where the folder of pictures is not there."""
        self.task, self.rejects = task, rejects
        notes = rejects.notes
        self._folder = ImageFolder(
            task.pictures, notes, "--pictures", follow_links=task.follow_links
        )
        self.counts: Counter[str] = Counter()
        self.kinds: Counter[str] = Counter()
        self._ids: set[int] = set()

    def write(self, opened: Opened) -> dict[str, Any]:
        """Write the file of lines, then the summary; what that holds.

        Raises DataError where nothing can be used, or more cannot than is allowed.
        """
        task = self.task
        task.out.mkdir(parents=True, exist_ok=True)
        disk.require_writable(task.out)
        path = task.out / f"{task.split}.jsonl.gz"
        bar = tqdm(opened.pictures, task.split, opened.total, unit=" images")
        write(path, self._records(iter(bar)), embed=task.embed)
        summary = self._summary()
        task.told.mkdir(parents=True, exist_ok=True)
        write_whole(task.told / SUMMARY, json.dumps(summary, indent=1) + "\n")
        return summary

    def _records(self, pictures: Iterator[AnnotatedPicture]) -> Iterator[Record]:
        for picture in pictures:
            image = picture.image
            place = f"{self.task.source}: image {image.image_id} ({image.filename})"
            try:
                record = self._record(picture)
            except DataError as error:
                self.rejects.note(place, error)
                continue
            if record is not None:
                self.counts["pictures"] += 1
                yield record
        self.rejects.check()
        if not self.counts["pictures"]:
            raise DataError(
                "no picture of it can be described: "
                f"{self.rejects.summary() or self._unsaid()}",
                place=str(self.task.source),
            )

    def _record(self, picture: AnnotatedPicture) -> Record | None:
        """The record of a picture; None where nothing can be said of it."""
        image = picture.image
        if image.image_id in self._ids:
            raise DataError(
                f"image_id {image.image_id} occurs twice", kind=Kind.ID_TWICE
            )
        self._ids.add(image.image_id)
        name, data = self._read(picture)
        regions = assemble(picture)
        said = self._describe(regions, picture)
        self._count(regions, said)
        if not said:
            self.rejects.notes.add("pictures of which nothing can be said")
            return None
        kept = [i for i, r in enumerate(regions) if not r.crowd]
        places = {region: place for place, region in enumerate(kept)}
        record = Record(
            image=data,
            image_id=image.image_id,
            height=image.height,
            width=image.width,
            masks=tuple(_mask(regions[i], places[i], places) for i in kept),
            expressions=tuple(_expressions(said, regions, places)),
            coco_id=picture.coco_id,
            filename=name,
            source=self.task.form.name,
        )
        decode_record_image(record)  # what is damaged is refused here
        return record

    def _unsaid(self) -> str:
        if self.task.sentences == "both":
            return "none of its regions has a text"
        return (
            f"none of its regions has a text by --sentences {self.task.sentences}; "
            "leave that out"
        )

    def _describe(
        self, regions: tuple[Region, ...], picture: AnnotatedPicture
    ) -> list[texts.Said]:
        """What is said of the regions, of the kind that is wanted."""
        wanted = self.task.sentences
        if wanted == "names":
            regions = tuple(dataclasses.replace(r, captions=()) for r in regions)
        seed = str(picture.image.image_id)
        said = texts.describe(regions, self._every(picture), seed)
        return [one for one in said if wanted != "captions" or one.kind == "given"]

    def _every(self, picture: AnnotatedPicture) -> Callable[[str], bool]:
        return lambda category: self.task.every and category not in picture.partial

    def _read(self, picture: AnnotatedPicture) -> tuple[str, bytes]:
        """The name of a picture below the output, and its bytes.

        The name is where it lies, or where a copy of it will.
        """
        image, data, inside = picture.image, picture.data, ""
        name = image.filename
        if data is None:
            name = self._find(picture)
            data, inside = self._folder(name), self._inside(self._folder.path(name))
        size = image.height, image.width
        shown = orientation.for_masks(data, *size, self.task.masks)
        if inside and shown == data:  # it was not turned
            return inside, shown
        return str(PurePosixPath(PICTURES, *safe_parts(name))), shown

    def _find(self, picture: AnnotatedPicture) -> str:
        """Under which of its names a picture is there, else the last."""
        name = picture.image.filename
        for other in picture.also:
            with contextlib.suppress(DataError):
                self._folder.path(name)
                return name
            name = other
        return name

    def _inside(self, path: Path) -> str:
        """Where a picture lies below the output; "" where it does not."""
        out, real = self.task.out.resolve(), path.resolve()
        return real.relative_to(out).as_posix() if real.is_relative_to(out) else ""

    def _count(self, regions: tuple[Region, ...], said: list[texts.Said]) -> None:
        named = {t for one in said for t in one.targets}
        self.counts["texts"] += len(said)
        self.kinds.update(one.kind for one in said)
        for i, region in enumerate(regions):
            level = "crowds" if region.crowd else "parts" if region.part else "objects"
            self.counts[level] += 1
            self.counts[f"{level} without a text"] += i not in named
            self.counts["parts without a parent"] += bool(
                region.part and region.parent < 0
            )

    def _summary(self) -> dict[str, Any]:
        task = self.task
        given = self.kinds["given"]
        return {
            "form": task.form.name,
            "licence": task.form.licence,
            "source": files([task.source]) or str(task.source),
            "place": str(task.source.resolve()),
            "split": task.split,
            "exhaustive": task.every,
            "masks": task.masks,
            **{name: self.counts[name] for name in COUNTS},
            "forms": {"given": given, "template": self.counts["texts"] - given},
            "kinds": {kind: self.kinds[kind] for kind in texts.KINDS},
            "entries": self.rejects.total,
            "rejected": self.rejects.count,
            "notes": self.rejects.notes.to_json(),
        }


COUNTS = (
    *("pictures", "objects", "parts", "crowds", "texts"),
    *("objects without a text", "parts without a text", "parts without a parent"),
)


def _mask(region: Region, number: int, places: dict[int, int]) -> Mask:
    return Mask(
        ann_id=number,
        category=region.category or UNNAMED,
        rle=region.mask.counts,
        bbox=region.mask.bbox,
        area=float(region.mask.area),
        part=region.part,
        level=PART if region.part else OBJECT,
        parent=places.get(region.parent, -1),
    )


def _expressions(
    said: list[texts.Said], regions: tuple[Region, ...], places: dict[int, int]
) -> Iterator[Expression]:
    """The sentences, those of the same targets as one referent."""
    referents: dict[tuple[int, ...], int] = {}
    for number, one in enumerate(said):
        targets = tuple(places[t] for t in one.targets)
        yield Expression(
            ref_id=referents.setdefault(targets, len(referents)),
            sent_id=number,
            raw=one.text,
            sent=one.text.lower(),
            level=PART if regions[one.targets[0]].part else OBJECT,
            targets=targets,
        )


def tell(summary: dict[str, Any], rejects: Rejects) -> None:
    """Print what was made, and what was passed over, by kind."""
    counts = ", ".join(f"{summary[name]:,} {name}" for name in COUNTS[:5])
    print(f"{summary['split']}: {counts}")
    kinds = ", ".join(f"{n:,} {kind}" for kind, n in summary["kinds"].items() if n)
    print(f"texts: {kinds}")
    for name in COUNTS[5:]:
        if summary[name]:
            print(f"{name}: {summary[name]:,}")
    if not summary["exhaustive"]:
        print("the source is taken not to mark every thing: no bare name is given")
    print(f"licence of the annotations: {summary['licence']}")
    rejects.notes.print()
    if rejects.count:
        print(printable(rejects.summary()))
