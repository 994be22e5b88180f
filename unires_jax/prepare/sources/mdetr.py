"""MDETR's finetune_<data set>_<split>.json: COCO's form, a caption in each image entry.

Source: the files MDETR's and gRefCOCO's conversion scripts write. They carry neither
masks nor ref_ids: annotations are looked up in an instances.json by `original_id`, and
captions of one image on the same annotations make one referent, whose ref_id is the
id of its first caption (our numbering). `caption` is `sent`; `raw` is not kept.
"""

import dataclasses
import functools
from collections import Counter
from pathlib import Path
from typing import Any

from unires_jax.data.catalogue import Benchmark
from unires_jax.errors import DataError, Kind
from unires_jax.prepare.rejects import Rejects
from unires_jax.prepare.sources.coco import Instances
from unires_jax.prepare.sources.fields import get, is_key, read_json
from unires_jax.prepare.sources.form import Files, Form, Raw, Source
from unires_jax.prepare.sources.pictures import find_any_case
from unires_jax.prepare.sources.referent import (
    Referent,
    Sentence,
    collect,
    require_entries,
    targets,
)

FOLDERS = (".", "mdetr_annotations", "OpenSource", "annotations")
INSTANCES = (
    "instances.json",
    "instances_train2014.json",
    "annotations/instances_train2014.json",
    "annotations/instances.json",
    "refcoco/instances.json",
    "refcoco+/instances.json",
    "refcocog/instances.json",
)


def find(root: Path, benchmark: Benchmark) -> Files:
    """The files of captions, and COCO's annotations."""
    if not benchmark.mdetr:
        return Files()
    files = _split_files(root, benchmark)
    folder = next(iter(files.values())).parent if files else root
    places = {split: folder / _name(split, benchmark) for split in benchmark.splits}
    return Files.of_splits(files, places, _instances(root, benchmark))


def _name(split: str, benchmark: Benchmark) -> str:
    return f"finetune_{benchmark.mdetr}_{split}.json"


def _split_files(root: Path, benchmark: Benchmark) -> dict[str, Path]:
    """The file of each split that is there."""
    files = {}
    for split in benchmark.splits:
        name = _name(split, benchmark)
        if path := find_any_case(root, *(f"{folder}/{name}" for folder in FOLDERS)):
            files[split] = path
    return files


def _instances(root: Path, benchmark: Benchmark) -> Path:
    """The file of masks (refer's own comes first), or where it belongs."""
    of_refer = f"{benchmark.folder}/instances.json"
    return find_any_case(root, of_refer, *INSTANCES) or root / INSTANCES[1]


def read(raw: Raw, benchmark: Benchmark, rejects: Rejects) -> Source:
    """The referents of the splits that are there."""
    picture = raw.pictures(rejects.notes)  # before the long reading
    instances = _instances(raw.root, benchmark)
    index = Instances.open(instances, rejects.notes)
    referents: list[Referent] = []
    files = _split_files(raw.root, benchmark)
    for split, file in files.items():
        referents += _read_file(file, split, index, rejects)
    return Source("mdetr", referents, picture, (*files.values(), instances))


def _read_file(
    path: Path, split: str, index: Instances, rejects: Rejects
) -> list[Referent]:
    content, place = read_json(path), str(path)
    boxes: dict[Any, list[Any]] = {}
    for entry in get(content, "annotations", list, place):
        if isinstance(entry, dict) and is_key(entry.get("image_id")):
            boxes.setdefault(entry["image_id"], []).append(entry)
    images = require_entries(get(content, "images", list, place), place)
    _require_once(images, f"{place}: images")
    build = functools.partial(_referent, boxes=boxes, index=index, split=split)
    return _joined(collect(images, build, place, rejects, len(images)))


def _require_once(images: list[Any], place: str) -> None:
    """Raise DataError if two captions share an id: each would have all boxes of it."""
    ids = (i.get("id") for i in images if isinstance(i, dict))
    for number, count in Counter(filter(is_key, ids)).items():
        if count > 1:
            raise DataError(
                f"id {number} names {count} captions; fetch the file again",
                place=place,
                kind=Kind.ID_TWICE,
            )


def _referent(
    entry: Any, place: str, boxes: dict[Any, list[Any]], index: Instances, split: str
) -> Referent:
    """One caption as a referent of one sentence."""
    number = get(entry, "id", int, place)
    image = index.image(get(entry, "original_id", int, place))
    caption = get(entry, "caption", str, place)
    ids = [
        get(box, "original_id", int, f"{place}: its annotation")
        for box in boxes.get(number, [])
    ]
    return Referent(
        image=image,
        split=split,
        ref_id=number,
        masks=targets({"ann_id": ids}, place, lambda i: index.mask(i, image.image_id)),
        sentences=(Sentence(number, caption, caption),),
    )


def _joined(captions: list[Referent]) -> list[Referent]:
    """Captions on the same annotations of one image as one referent."""
    groups: dict[tuple[int, ...], list[Referent]] = {}
    for caption in captions:
        ids = tuple(m.ann_id for m in caption.masks) or (-1, caption.ref_id)
        groups.setdefault((caption.image.image_id, *ids), []).append(caption)
    return [
        dataclasses.replace(g[0], sentences=tuple(s for r in g for s in r.sentences))
        for g in groups.values()
    ]


FORM = Form("mdetr", 4, find, read)  # nor ids
