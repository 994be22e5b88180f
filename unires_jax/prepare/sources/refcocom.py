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

from unires_jax.data.records import PART, Mask
from unires_jax.errors import DataError
from unires_jax.pixels.masks import RunMask
from unires_jax.prepare.rejects import Rejects
from unires_jax.prepare.sources import cris
from unires_jax.prepare.sources.fields import check, read_json
from unires_jax.prepare.sources.part_names import UNNAMED, part_name
from unires_jax.prepare.sources.pictures import find_any_case
from unires_jax.prepare.sources.referent import Referent

SPLITS = ("val", "testA", "testB")
FOLDERS = (".", "RefCOCOm", "refcocom")
KINDS = ("part_only", "object_part")


def find(root: str | Path, relative: str) -> Path | None:
    """A file or folder of RefCOCOm below root, whatever its case."""
    places = (find_any_case(root, f"{folder}/{relative}") for folder in FOLDERS)
    return next((p for p in places if p), None)


def files(root: str | Path, kind: str) -> dict[str, Path]:
    """The annotation files of a kind ("part_only", "object_part") that are there."""
    found = {s: find(root, f"annotations/{s}_{kind}.json") for s in SPLITS}
    return {s: f for s, f in found.items() if f}


def read(
    root: str | Path, rejects: Rejects, objects: Sequence[Referent] | None = None
) -> list[Referent]:
    """Part referents of all splits that are there, and the object half.

    `objects` are RefCOCO-UNC's referents; where there are none, the objects of
    `_object_part` are taken if these files are there. Prints what was found. Raises
    DataError naming what is missing.
    """
    parts, masks = files(root, "part_only"), find(root, "masks")
    if not parts or masks is None:
        base = Path(root)
        lost = base / "masks" if parts else base / "annotations" / "val_part_only.json"
        raise DataError(f"{lost}: no such file or folder; it is part of RefCOCOm")
    found: list[Referent] = []
    for split in SPLITS:
        if split not in parts:
            print(f"{Path(root) / 'annotations'}/{split}_part_only.json: not there")
            continue
        bare = cris.read_file(parts[split], split, masks, rejects)
        if objects is None:
            whole = _object_half(root, split, parts[split], masks, rejects)
        else:
            whole = [r for r in objects if r.split == split]
        found += [*whole, *_parts(bare, whole, split)]
    rejects.check()
    return found


def _object_half(
    root: str | Path, split: str, parts: Path, masks: Path, rejects: Rejects
) -> list[Referent]:
    """The entries of `_object_part` that are no parts; none if the file is absent."""
    path = files(root, "object_part").get(split)
    if path is None:
        print(
            f"{parts.with_name(f'{split}_object_part.json')}: not there, and no RefCOCO"
            "-UNC was named with --objects: parts only, without parents"
        )
        return []
    known = {_segment_id(e) for e in check(read_json(parts), list, f"{parts}: whole")}
    entries = check(read_json(path), list, f"{path}: the whole")
    whole = [e for e in entries if _segment_id(e) not in known]
    return cris.read_entries(whole, split, masks, f"{path} (objects)", rejects)


def _segment_id(entry: Any) -> Any:
    found = entry.get("segment_id") if isinstance(entry, dict) else None
    return found if isinstance(found, int) else None


def _parts(bare: list[Referent], whole: list[Referent], split: str) -> list[Referent]:
    """The part referents with name and parent; prints how many have them."""
    candidates: dict[int, dict[int, Mask]] = {}
    for referent in whole:
        here = candidates.setdefault(referent.image_id, {})
        here.update((m.ann_id, m) for m in referent.masks)
    found = [_part(r, list(candidates.get(r.image_id, {}).values())) for r in bare]
    named = Counter(r.masks[0].part for r in found)
    parents = sum(r.masks[0].parent >= 0 for r in found)
    print(
        f"refcocom {split}: {len(whole)} object and {len(found)} part referents; of "
        f"these {len(found) - named[UNNAMED]} named by the lexicon "
        f"({len(named) - (UNNAMED in named)} names), {parents} with a parent"
    )
    return found


def _part(referent: Referent, objects: list[Mask]) -> Referent:
    sents = [part_name(s.sent) for s in referent.sentences]
    name = next((n for n in sents if n != UNNAMED), UNNAMED)
    size = referent.height, referent.width
    parent = find_parent(referent.masks[0], objects, *size)
    mask = dataclasses.replace(
        referent.masks[0],
        part=name,
        level=PART,
        parent=-1 if parent is None else 1,
        category=referent.masks[0].category or (parent.category if parent else ""),
        category_id=referent.masks[0].category_id
        or (parent.category_id if parent else 0),
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
