"""CRIS's layout: anns/<data set>/<split>.json and masks/<data set>/<segment_id>.png.

Source: the files CRIS's data script writes; RefCOCOm comes in the same entries. There
is no `raw`, no annotation id and no polygon: `sent` stands for raw, segment_id (the
ref_id) for the annotation. A pixel that is not zero is target (overlaps are 254).
"""

import re
from pathlib import Path
from typing import Any

from unires_jax.data.records import OBJECT, Mask
from unires_jax.errors import DataError
from unires_jax.pixels.images import decode_png_mask
from unires_jax.pixels.masks import RunMask
from unires_jax.prepare.catalogue import Benchmark
from unires_jax.prepare.rejects import Rejects
from unires_jax.prepare.sources.coco_categories import by_place
from unires_jax.prepare.sources.fields import check, get, numbers, read_json
from unires_jax.prepare.sources.pictures import find_any_case
from unires_jax.prepare.sources.refer import sentences
from unires_jax.prepare.sources.referent import Referent, collect

_COCO_NUMBER = re.compile(r"(\d{12})(?:_\d+)?\.\w+$")


def read(root: str | Path, benchmark: Benchmark, rejects: Rejects) -> list[Referent]:
    """The referents of the splits that are there."""
    masks = find_masks(root, benchmark)
    found: list[Referent] = []
    for split, path in split_files(root, benchmark).items():
        found += read_file(path, split, masks, rejects)
    return found


def split_files(root: str | Path, benchmark: Benchmark) -> dict[str, Path]:
    """The annotation file of each split that is there."""
    for folder in benchmark.cris:
        files = {
            s: find_any_case(root, f"anns/{folder}/{s}.json") for s in benchmark.splits
        }
        if any(files.values()):
            return {s: f for s, f in files.items() if f}
    return {}


def find_masks(root: str | Path, benchmark: Benchmark) -> Path:
    """The folder of mask files. Raises DataError naming it if it is not there."""
    for folder in benchmark.cris:
        found = find_any_case(root, f"masks/{folder}")
        if found is not None:
            return found
    raise DataError(f"{Path(root) / 'masks' / benchmark.cris[0]}: no such folder")


def read_file(path: Path, split: str, masks: Path, rejects: Rejects) -> list[Referent]:
    """The referents of one annotation file."""
    entries = check(read_json(path), list, f"{path}: the whole")
    return read_entries(entries, split, masks, str(path), rejects)


def read_entries(
    entries: list[Any], split: str, masks: Path, where: str, rejects: Rejects
) -> list[Referent]:
    """The referents of entries whose masks lie in a folder."""

    def build(entry: Any, at: str) -> Referent:
        return referent(entry, split, masks, at)

    return collect(entries, build, where, rejects)


def referent(entry: Any, split: str, masks: Path, where: str) -> Referent:
    """One entry. Raises DataError naming what is wrong."""
    filename = get(entry, "img_name", str, where)
    image_id = coco_number(filename)
    if image_id is None:
        raise DataError(
            f"{where}: img_name {filename!r}: expected COCO's number of twelve digits"
        )
    segment_id = get(entry, "segment_id", int, where)
    runs = read_mask(masks / f"{segment_id}.png")
    box = get(entry, "bbox", list, where, [])
    corners = numbers(box, 4, f"{where}: bbox") if box else ()
    category_id, category = by_place(get(entry, "cat", int, where, -1))
    return Referent(
        filename=filename,
        image_id=image_id,
        split=split,
        ref_id=segment_id,
        masks=(_mask(segment_id, runs, corners, category_id, category),),
        sentences=sentences(entry, where),
        height=runs.height,
        width=runs.width,
        coco_id=image_id,
    )


def coco_number(filename: str) -> int | None:
    """COCO's image id in a file name, with or without a referent's suffix."""
    match = _COCO_NUMBER.search(filename)
    return int(match[1]) if match else None


def read_mask(path: Path) -> RunMask:
    """The pixels of a mask file that are not zero. Raises DataError naming the file."""
    try:
        return RunMask.from_pixels(decode_png_mask(path.read_bytes()))
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", place=str(path)) from None
    except DataError as error:
        raise error.at(str(path)) from None


def _mask(
    segment_id: int,
    runs: RunMask,
    corners: tuple[float, ...],
    category_id: int,
    category: str,
) -> Mask:
    if corners:
        left, top, right, bottom = corners
        box = left, top, right - left, bottom - top
    else:
        left, top, width, height = map(float, runs.box)
        box = left, top, width, height
    return Mask(
        ann_id=segment_id,
        category=category,
        category_id=category_id,
        rle=runs.counts,
        bbox=box,
        area=float(runs.area),
        level=OBJECT,
    )
