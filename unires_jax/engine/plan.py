"""The stage `plan`: boxes of others become pictures in fixed shards. Source: ours.

Each picture's file is found, hashed, and decoded once to see that it can be; boxes are
cut at its border. What cannot be used stays in the record with its code.
"""

import dataclasses
import functools
import itertools
import json
from collections.abc import Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import ClassVar

from tqdm import tqdm

from unires_jax import files, process
from unires_jax.engine import picture_files, shard_files
from unires_jax.engine.box_sources import open_source
from unires_jax.engine.box_sources.common import Box, BoxSource
from unires_jax.engine.markers import FORMERLY, OUTPUT, StaleError, file_hash
from unires_jax.engine.plan_file import FILE, Plan
from unires_jax.engine.record import Picture, Region, to_line
from unires_jax.engine.runner import NOUN, SUFFIX, stem
from unires_jax.engine.stages import PLAN
from unires_jax.errors import DataError, Kind
from unires_jax.pixels.images import check_size, decode_image, image_size
from unires_jax.prepare import shards
from unires_jax.prepare.notes import Notes
from unires_jax.prepare.shards import Ledger, Marker, Refusal

MAX_BAD_SHARE = 0.1  # of pictures that cannot be used; ours
DIGITS = 2  # of a box: a hundredth of a pixel
THREADS = 16  # at most, that decode


@dataclasses.dataclass(frozen=True)
class PlanWork:
    """The work that makes a shard of a plan."""

    made_of: str  # the plan, as JSON
    index: int
    entries: int
    pictures: str = ""  # their folder
    planned: tuple[Picture | DataError, ...] = ()
    follow_links: bool = False  # of pictures, out of their folder
    before: tuple[str, ...] = ()  # hashes of the shard, which is made again
    noun: ClassVar[str] = "pictures"
    suffixes: ClassVar[tuple[str, ...]] = (SUFFIX,)

    @property
    def name(self) -> str:
        """The stage."""
        return PLAN

    @property
    def identity(self) -> Marker:
        """The plan, and which of its shards."""
        return {"plan": json.loads(self.made_of), "index": self.index}

    def write(
        self, paths: Mapping[str, Path], figures: Marker
    ) -> Generator[Refusal | None, None, None]:
        """Write what is known of the pictures; refused are those that stay unusable."""
        counts = {"pictures": 0, "regions": 0, "errors": 0}
        folder = Path(self.pictures)
        threads = min(process.usable_cores(), THREADS)
        with ThreadPoolExecutor(threads) as pool, shard_files.lines(paths[SUFFIX]) as f:
            look = functools.partial(_looked_at, folder, follow_links=self.follow_links)
            for picture in pool.map(look, self.planned):
                if isinstance(picture, DataError):
                    yield Refusal(picture.place, picture)
                    continue
                print(to_line(picture), file=f)
                counts["pictures"] += 1
                counts["regions"] += len(picture.regions)
                error = DataError("; ".join(picture.errors), place=picture.file)
                yield Refusal(picture.file, error) if picture.errors else None
        figures |= counts
        figures[OUTPUT] = file_hash(paths[SUFFIX])
        if self.before:
            figures[FORMERLY] = list(self.before)


def _looked_at(
    folder: Path, planned: Picture | DataError, *, follow_links: bool
) -> Picture | DataError:
    if isinstance(planned, DataError):
        return planned
    return look_at(folder, planned, follow_links=follow_links)


def look_at(folder: Path, picture: Picture, *, follow_links: bool = False) -> Picture:
    """The picture with its file, hash and size, its boxes cut at its border.

    A link may lead out of the folder where `follow_links` permits it. A picture that
    cannot be used has the code I1, no size, and the reason as its error.
    """
    try:
        file = _located(folder, picture.file, follow_links)
        data = files.read_inside(folder, file, follow_links=follow_links)
        height, width = image_size(data)
        if picture.height and picture.width:
            check_size(data, picture.height, picture.width)
        decode_image(data)
    except DataError as error:
        return dataclasses.replace(
            picture,
            height=0,
            width=0,
            keep=False,
            codes=("I1",),
            errors=(f"{PLAN}: {error}",),
        )
    return dataclasses.replace(
        picture,
        file=file,
        sha256=picture_files.digest(data),
        height=height,
        width=width,
        regions=tuple(_cut(region, height, width) for region in picture.regions),
    )


def _located(folder: Path, name: str, follow_links: bool) -> str:
    """The name below the folder: as stated, else without its first folders.

    Objects365 states folders that its archives do not have.
    """
    parts = PurePosixPath(name).parts
    for first in range(len(parts) if files.stays_inside(name) else 0):
        shorter = "/".join(parts[first:])
        try:
            files.find_inside(folder, shorter, follow_links=follow_links)
            return shorter
        except DataError as error:
            if error.kind is not Kind.IMAGE_ABSENT:
                raise
    files.find_inside(folder, name, follow_links=follow_links)  # raises
    return name


def _cut(region: Region, height: int, width: int) -> Region:
    """The region with its box cut at the border; code B1 if nothing of it is left."""
    x0, y0, x1, y1 = region.box
    inside: Box = (
        *(_within(x0, width), _within(y0, height)),
        *(_within(x1, width), _within(y1, height)),
    )
    had, left = ((b[2] - b[0]) * (b[3] - b[1]) for b in (region.box, inside))
    lost = had > 0 and left <= 0
    codes = ("B1",) if lost else ()
    return dataclasses.replace(region, box=inside, keep=not lost, codes=codes)


def _within(value: float, size: int) -> float:
    return round(min(max(value, 0.0), float(size)), DIGITS)


def plan(
    out: Path,
    boxes: list[Path],
    pictures: Path,
    *,
    shard: int,
    exhaustive: bool = False,
    max_bad_share: float = MAX_BAD_SHARE,
    follow_links: bool = False,
) -> Plan:
    """Write `<out>/plan/`: the shards, then plan.json. Goes on with a broken-off one.

    `pictures` is the folder below which the sources name them, out of which links may
    lead where `follow_links` permits it. Shards with pictures that could not be used
    are made again. Raises StaleError if another plan is there, and DataError for
    sources that are none and for more than `max_bad_share` of pictures that cannot be
    used.
    """
    notes = Notes()
    if not pictures.is_dir():
        raise DataError("no such folder of pictures", place=str(pictures))
    with shards.hold(out, NOUN):
        source = open_source(
            *(boxes, notes, pictures), exhaustive=exhaustive, follow_links=follow_links
        )
        made = Plan(
            form=source.form,
            sources=source.files,
            pictures=str(pictures.resolve()),
            exhaustive=exhaustive,
            shard=shard,
            count=source.count,
        )
        if not made.count:
            raise DataError("holds no picture", place=str(boxes[0]))
        _require_same(out, made)
        ledger = _ledger(out, made, max_bad_share)
        _write(ledger, source, made, follow_links)
        ledger.check()
        markers = [shard.finished() for shard in ledger.shards]
        refused = ledger.refused()
        ledger.list_refused(refused)
        names = ("pictures", "regions")
        counts = {name: sum(marker[name] for marker in markers) for name in names}
        counts["unusable"] = len(refused)
        done = dataclasses.replace(made, counts=counts, notes=notes.to_json())
        done.write(out)
    notes.print()
    return done


def _require_same(out: Path, made: Plan) -> None:
    if not (out / PLAN / FILE).exists():
        return
    there = Plan.read(out)
    differ = [n for n, value in made.made_of.items() if there.made_of[n] != value]
    if differ:
        raise StaleError(
            f"holds a plan of other {', '.join(differ)}; name another --out, or remove "
            "this one",
            place=str(out),
        )


def _ledger(out: Path, made: Plan, bad_share: float) -> Ledger:
    text = json.dumps(made.made_of)
    works = [PlanWork(text, i, made.entries(i)) for i in range(made.shards)]
    return Ledger(out / PLAN, works, bad_share, progress=".", stem=stem)


def _write(ledger: Ledger, source: BoxSource, made: Plan, follow_links: bool) -> None:
    """Write the shards that are not done, and those with what could not be used."""
    ledger.place.mkdir(parents=True, exist_ok=True)
    todo, entries = set(ledger.unfinished()), source.entries()
    with tqdm(total=made.count, unit=f" {PlanWork.noun}", desc=PLAN) as bar:

        def tick(taken: int, refused: int) -> None:
            bar.update(taken + refused)

        for shard in ledger.shards:
            planned = tuple(itertools.islice(entries, shard.work.entries))
            marker = shard.marker() or {}
            if shard not in todo and not marker.get("rejected"):
                tick(len(planned), 0)
                continue
            work = PlanWork(
                made_of=json.dumps(made.made_of),
                index=shard.index,
                entries=shard.work.entries,
                pictures=made.pictures,
                planned=planned,
                follow_links=follow_links,
                before=_before(marker),
            )
            shards.write(dataclasses.replace(shard, work=work), len(planned), tick)


def _before(marker: Marker) -> tuple[str, ...]:
    hashes = [*marker.get(FORMERLY, ()), marker.get(OUTPUT, "")]
    return tuple(text for text in hashes if text)
