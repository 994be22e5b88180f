"""RefCOCOm: part expressions on RefCOCO's val, testA and testB, in CRIS's entries.

annotations/<split>_{part_only,object_part}.json, masks/<segment_id>.png. The files name
neither parent nor part. An entry is a part if its segment_id is in `_part_only`; its
parent is the object mask of that image which holds most of it, at least half, else
none; its part name comes from the sentence (part_names). All three rules are ours.
"""

import dataclasses
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unires_jax.data.catalogue import Benchmark
from unires_jax.data.records import PART, Mask
from unires_jax.errors import DataError, Kind, printable
from unires_jax.pixels.masks import RunMask, require_comparable
from unires_jax.prepare.rejects import Rejects
from unires_jax.prepare.sources import cris
from unires_jax.prepare.sources.fields import check, is_key, read_json
from unires_jax.prepare.sources.form import Files, Form, Raw, Source
from unires_jax.prepare.sources.grouping import by_split
from unires_jax.prepare.sources.part_names import UNNAMED, part_name
from unires_jax.prepare.sources.pictures import find_any_case
from unires_jax.prepare.sources.referent import Referent

SPLITS = ("val", "testA", "testB")
FOLDERS = (".", "RefCOCOm", "refcocom")


def find(root: Path, benchmark: Benchmark) -> Files:
    """The annotation files of parts."""
    if benchmark.name != "refcocom":
        return Files()
    usual = root / "annotations" / f"{SPLITS[0]}_part_only.json"
    return Files(tuple(_files(root, "part_only").values()), usual=(usual,))


def _files(root: Path, half: str) -> dict[str, Path]:
    """The annotation files of a half ("part_only", "object_part") that are there."""
    paths = {s: _find(root, f"annotations/{s}_{half}.json") for s in SPLITS}
    return {split: path for split, path in paths.items() if path}


def _find(root: Path, relative: str) -> Path | None:
    """A file or folder of RefCOCOm below root, whatever its case."""
    return find_any_case(root, *(f"{folder}/{relative}" for folder in FOLDERS))


def read(
    raw: Raw, benchmark: Benchmark, rejects: Rejects, objects: Source | None = None
) -> Source:
    """Part referents of all splits that are there, and the object half.

    `objects` are RefCOCO-UNC's referents; where there are none, the objects of
    `_object_part` are taken if these files are there. Prints what was found. Raises
    DataError naming what is missing.
    """
    parts, masks = _files(raw.root, "part_only"), _find(raw.root, "masks")
    if not parts or masks is None:
        lost = find(raw.root, benchmark).usual[0] if not parts else raw.root / "masks"
        raise DataError(
            "no such file or folder; it is part of RefCOCOm",
            place=str(lost),
            kind=Kind.FILE_MISSING,
        )
    beside = by_split(objects.referents) if objects else {}
    referents: list[Referent] = []
    for split in SPLITS:
        if split not in parts:
            path = raw.root / "annotations" / f"{split}_part_only.json"
            print(f"{printable(str(path))}: not there")
            continue
        bare = cris.read_file(parts[split], split, masks, rejects, raw.follow_links)
        if objects:
            whole = beside.get(split, [])
        else:
            whole = _object_half(raw, split, parts[split], masks, rejects)
        referents += [*whole, *_parts(bare, whole, split)]
    rejects.check()
    picture = objects.picture if objects else raw.pictures(rejects.notes)
    files = (*parts.values(), *(objects.files if objects else ()))
    return Source("refcocom", referents, picture, files)


def _object_half(
    raw: Raw, split: str, parts: Path, masks: Path, rejects: Rejects
) -> list[Referent]:
    """The entries of `_object_part` that are no parts; none if the file is absent."""
    path = _files(raw.root, "object_part").get(split)
    if path is None:
        place = printable(str(parts.with_name(f"{split}_object_part.json")))
        print(
            f"{place}: not there, and no RefCOCO-UNC was named with --objects: parts "
            "only, without parents"
        )
        return []
    part_ids = {
        _segment_id(e) for e in check(read_json(parts), list, str(parts), "whole")
    }
    entries = check(read_json(path), list, str(path), "the whole")
    whole = [e for e in entries if _segment_id(e) not in part_ids]
    place = f"{path} (objects)"
    return cris.read_entries(whole, split, masks, place, rejects, raw.follow_links)


def _segment_id(entry: Any) -> Any:
    number = entry.get("segment_id") if isinstance(entry, dict) else None
    return number if is_key(number) else None


def _parts(bare: list[Referent], whole: list[Referent], split: str) -> list[Referent]:
    """The part referents with name and parent; prints how many have them."""
    candidates: dict[int, dict[int, Mask]] = {}
    for referent in whole:
        here = candidates.setdefault(referent.image.image_id, {})
        here.update((m.ann_id, m) for m in referent.masks)
    _require_comparable(bare, candidates)
    parts = [
        _part(r, list(candidates.get(r.image.image_id, {}).values())) for r in bare
    ]
    names = Counter(r.masks[0].part for r in parts)
    parents = sum(r.masks[0].parent >= 0 for r in parts)
    print(
        f"refcocom {split}: {len(whole)} object and {len(parts)} part referents; of "
        f"these {len(parts) - names[UNNAMED]} named by the lexicon "
        f"({len(names) - (UNNAMED in names)} names), {parents} with a parent"
    )
    return parts


def _require_comparable(
    bare: list[Referent], candidates: dict[int, dict[int, Mask]]
) -> None:
    """Raise DataError naming a picture whose masks would take too long to compare."""
    parts: dict[int, list[int]] = {}
    for referent in bare:
        image_id = referent.image.image_id
        parts.setdefault(image_id, []).append(len(referent.masks[0].rle))
    for image_id, sizes in parts.items():
        others = [len(mask.rle) for mask in candidates.get(image_id, {}).values()]
        try:
            require_comparable(sizes, others)
        except DataError as error:
            raise error.at(f"image {image_id}") from None


def _part(referent: Referent, objects: list[Mask]) -> Referent:
    names = [part_name(s.sent) for s in referent.sentences]
    name = next((n for n in names if n != UNNAMED), UNNAMED)
    bare = referent.masks[0]
    parent = find_parent(bare, objects, referent.image.height, referent.image.width)
    mask = dataclasses.replace(
        bare,
        part=name,
        level=PART,
        parent=-1 if parent is None else 1,
        category=bare.category or (parent.category if parent else ""),
        category_id=bare.category_id or (parent.category_id if parent else 0),
    )
    masks = (mask,) if parent is None else (mask, parent)
    return dataclasses.replace(referent, level=PART, masks=masks, targets=(0,))


def find_parent(
    part: Mask, objects: Sequence[Mask], height: int, width: int
) -> Mask | None:
    """The object that holds most of a part, at least half of its pixels; else None."""
    runs = RunMask.from_counts(part.rle, height, width)
    best, most = None, runs.area / 2
    for candidate in objects:
        try:
            whole = RunMask.from_counts(candidate.rle, height, width)
        except DataError:
            continue  # of another size: its referent is refused later
        shared, _ = runs.intersection_union(whole)
        if shared >= most and shared > 0 and (best is None or shared > most):
            best, most = candidate, shared
    return best


FORM = Form("refcocom", 0, find, read)
