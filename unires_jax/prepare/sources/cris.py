"""CRIS's layout: anns/<data set>/<split>.json and masks/<data set>/<segment_id>.png.

Source: the files CRIS's data script writes; RefCOCOm comes in the same entries. There
is no `raw`, no annotation id and no polygon: `sent` stands for raw, segment_id (the
ref_id) for the annotation. A pixel that is not zero is target (overlaps are 254).
"""

import dataclasses
import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from unires_jax.data.catalogue import Benchmark
from unires_jax.data.records import Mask
from unires_jax.errors import DataError
from unires_jax.files import read_content, require_inside
from unires_jax.pixels.images import decode_png_mask
from unires_jax.pixels.masks import RunMask
from unires_jax.prepare.rejects import Rejects
from unires_jax.prepare.sources import coco
from unires_jax.prepare.sources.coco_categories import by_place
from unires_jax.prepare.sources.fields import (
    Remembered,
    check,
    get,
    numbers,
    read_json,
)
from unires_jax.prepare.sources.form import Files, Form, Raw, Source
from unires_jax.prepare.sources.pictures import find_any_case
from unires_jax.prepare.sources.referent import (
    Referent,
    collect,
    require_entries,
    sentences,
)


def find(root: Path, benchmark: Benchmark) -> Files:
    """The annotation files, and the folder of masks."""
    if not benchmark.cris:
        return Files()
    files = _split_files(root, benchmark)
    usual = root / "anns" / benchmark.cris[0]
    folder = next(iter(files.values())).parent if files else usual
    places = {split: folder / f"{split}.json" for split in benchmark.splits}
    return Files.of_splits(files, places, _masks(root, benchmark, folder.name))


def _split_files(root: Path, benchmark: Benchmark) -> dict[str, Path]:
    """The annotation file of each split that is there."""
    for folder in benchmark.cris:
        files = {
            s: find_any_case(root, f"anns/{folder}/{s}.json") for s in benchmark.splits
        }
        if any(files.values()):
            return {s: f for s, f in files.items() if f}
    return {}


def _masks(root: Path, benchmark: Benchmark, usual: str) -> Path:
    """The folder of mask files, or where it belongs."""
    folder = find_any_case(root, *(f"masks/{name}" for name in benchmark.cris))
    return folder or root / "masks" / usual


def read(raw: Raw, benchmark: Benchmark, rejects: Rejects) -> Source:
    """The referents of the splits that are there."""
    picture = raw.pictures(rejects.notes)  # before the long reading
    masks = _masks(raw.root, benchmark, benchmark.cris[0])
    referents: list[Referent] = []
    for split, path in _split_files(raw.root, benchmark).items():
        referents += read_file(path, split, masks, rejects, raw.follow_links)
    return Source("cris", referents, picture)


def read_file(
    path: Path, split: str, masks: Path, rejects: Rejects, follow_links: bool
) -> list[Referent]:
    """The referents of one annotation file."""
    entries = check(read_json(path), list, str(path), "the whole")
    require_entries(entries, str(path))
    return read_entries(entries, split, masks, str(path), rejects, follow_links)


def read_entries(
    entries: list[Any],
    split: str,
    masks: Path,
    place: str,
    rejects: Rejects,
    follow_links: bool,
) -> list[Referent]:
    """The referents of entries whose masks lie in a folder, out of which links may
    lead where `follow_links` permits it.
    """
    read = Remembered(functools.partial(_read_bare, follow_links=follow_links))
    build = functools.partial(_referent, split=split, masks=masks, read=read)
    return collect(entries, build, place, rejects, len(entries))


def _referent(
    entry: Any, place: str, split: str, masks: Path, read: Callable[[Path], "_Bare"]
) -> Referent:
    filename = get(entry, "img_name", str, place)
    image_id = coco.number(filename)
    if image_id is None:
        raise DataError(
            "expected COCO's number of twelve digits",
            place=f"{place}: img_name {filename!r}",
        )
    segment_id = get(entry, "segment_id", int, place)
    bare = read(masks / f"{segment_id}.png")
    x, y, width, height = bare.mask.bbox
    if box := get(entry, "bbox", list, place, []):
        x, y, right, bottom = numbers(box, 4, place, "bbox")
        width, height = right - x, bottom - y
    category_id, category = by_place(get(entry, "cat", int, place, -1))
    mask = dataclasses.replace(
        bare.mask,
        ann_id=segment_id,
        category=category,
        category_id=category_id,
        bbox=(x, y, width, height),
    )
    return Referent(
        image=coco.Image(image_id, filename, bare.height, bare.width),
        split=split,
        ref_id=segment_id,
        masks=(mask,),
        sentences=sentences(entry, place),
    )


class _Bare(NamedTuple):
    """A mask file: what is kept of it is its text, which referents share."""

    mask: Mask
    height: int  # pixels
    width: int


def _read_bare(path: Path, *, follow_links: bool) -> _Bare:
    real = Path(os.path.realpath(path))
    require_inside(path.parent, real, path.name, follow_links)
    runs = read_mask(path)
    mask = Mask(0, "", rle=runs.counts, bbox=runs.bbox, area=float(runs.area))
    return _Bare(mask, runs.height, runs.width)


def read_mask(path: Path) -> RunMask:
    """The pixels of a mask file that are not zero. Raises DataError naming the file."""
    data = read_content(path)
    try:
        return RunMask.from_pixels(decode_png_mask(data))
    except DataError as error:
        raise error.at(str(path)) from None


FORM = Form("cris", 3, find, read)  # neither raw nor polygons
