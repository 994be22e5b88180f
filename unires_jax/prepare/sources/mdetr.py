"""MDETR's finetune_<data set>_<split>.json: COCO's form, a caption in each image entry.

Source: the files MDETR's and gRefCOCO's conversion scripts write. They carry neither
masks nor ref_ids: annotations are looked up in an instances.json by `original_id`, and
captions of one image on the same annotations make one referent, whose ref_id is the
id of its first caption (our numbering). `caption` is `sent`; `raw` is not kept.
"""

import dataclasses
from pathlib import Path
from typing import Any

from unires_jax.errors import DataError
from unires_jax.prepare.catalogue import Benchmark
from unires_jax.prepare.rejects import Rejects
from unires_jax.prepare.sources.coco import Instances
from unires_jax.prepare.sources.fields import get, read_json
from unires_jax.prepare.sources.pictures import find_any_case
from unires_jax.prepare.sources.refer import targets
from unires_jax.prepare.sources.referent import Referent, Sentence, collect

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


def read(root: str | Path, benchmark: Benchmark, rejects: Rejects) -> list[Referent]:
    """The referents of the splits that are there."""
    path = find_instances(root, benchmark)
    if path is None:
        raise DataError(
            f"{Path(root) / INSTANCES[1]}: no such file; MDETR's files hold no masks, "
            "so COCO's instances_train2014.json (or refer's instances.json) must lie "
            "beside them"
        )
    index = Instances.open(path)
    found: list[Referent] = []
    for split, file in split_files(root, benchmark).items():
        found += _read_file(file, split, index, rejects)
    return found


def split_files(root: str | Path, benchmark: Benchmark) -> dict[str, Path]:
    """The file of each split that is there."""
    found = {}
    for split in benchmark.splits if benchmark.mdetr else ():
        name = f"finetune_{benchmark.mdetr}_{split}.json"
        files = (find_any_case(root, f"{folder}/{name}") for folder in FOLDERS)
        path = next((f for f in files if f), None)
        if path:
            found[split] = path
    return found


def find_instances(root: str | Path, benchmark: Benchmark) -> Path | None:
    """The file of masks; refer's own instances.json of the data set comes first."""
    places = (f"{benchmark.folder}/instances.json", *INSTANCES)
    return next((f for p in places if (f := find_any_case(root, p))), None)


def _read_file(
    path: Path, split: str, index: Instances, rejects: Rejects
) -> list[Referent]:
    content, where = read_json(path), str(path)
    boxes: dict[Any, list[Any]] = {}
    for entry in get(content, "annotations", list, where):
        if isinstance(entry, dict) and type(entry.get("image_id")) is int:
            boxes.setdefault(entry["image_id"], []).append(entry)

    def build(entry: Any, at: str) -> Referent:
        return _referent(entry, boxes, index, split, at)

    captions = collect(get(content, "images", list, where), build, where, rejects)
    return _joined(captions)


def _referent(
    entry: Any, boxes: dict[Any, list[Any]], index: Instances, split: str, where: str
) -> Referent:
    """One caption as a referent of one sentence."""
    number = get(entry, "id", int, where)
    image = index.image(get(entry, "original_id", int, where))
    caption = get(entry, "caption", str, where)
    ids = [
        get(box, "original_id", int, f"{where}: its annotation")
        for box in boxes.get(number, [])
    ]
    masks = targets(
        {"ann_id": ids}, where, lambda ann_id: index.mask(ann_id, image.image_id)
    )
    return Referent(
        filename=image.filename,
        image_id=image.image_id,
        split=split,
        ref_id=number,
        masks=masks,
        sentences=(Sentence(number, caption, caption),),
        height=image.height,
        width=image.width,
        no_target=not masks,
        coco_id=image.image_id,
    )


def _joined(captions: list[Referent]) -> list[Referent]:
    """Captions on the same annotations of one image as one referent."""
    groups: dict[tuple[int, ...], list[Referent]] = {}
    for one in captions:
        ids = tuple(m.ann_id for m in one.masks) or (-1, one.ref_id)
        groups.setdefault((one.image_id, *ids), []).append(one)
    return [
        dataclasses.replace(g[0], sentences=tuple(s for r in g for s in r.sentences))
        for g in groups.values()
    ]
