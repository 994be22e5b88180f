"""The refcoco.json that TFDS's `ref_coco` builder asks its users to prepare.

Source: that builder: {"ref": refs of all benchmarks, each with
its annotation `ann`, `dataset` and `dataset_partition`, "coco_anns": {image id:
{"info", "anns"}}}. It lists no categories: COCO's own names are taken.
"""

from pathlib import Path
from typing import Any

from unires_jax.errors import DataError
from unires_jax.prepare.catalogue import Benchmark, split_name
from unires_jax.prepare.rejects import Rejects
from unires_jax.prepare.sources import coco
from unires_jax.prepare.sources.coco_categories import NAMES
from unires_jax.prepare.sources.fields import get, read_json
from unires_jax.prepare.sources.pictures import find_any_case
from unires_jax.prepare.sources.refer import sentences
from unires_jax.prepare.sources.referent import Referent, collect

FILE = "refcoco.json"


def find(root: str | Path) -> Path | None:
    """The file, if it is there."""
    return find_any_case(root, FILE)


def read(root: str | Path, benchmark: Benchmark, rejects: Rejects) -> list[Referent]:
    """The referents of one benchmark; the file holds all five."""
    path = find(root) or Path(root) / FILE
    content, where = read_json(path), str(path)
    images = get(content, "coco_anns", dict, where)
    wanted = [r for r in get(content, "ref", list, where) if _belongs(r, benchmark)]
    if not wanted:
        raise DataError(f"{path}: holds no referent of {benchmark.name}")

    def build(entry: Any, at: str) -> Referent:
        return _referent(entry, images, benchmark, at)

    return collect(wanted, build, f"{where}: {benchmark.name}", rejects)


def _belongs(ref: Any, benchmark: Benchmark) -> bool:
    if not isinstance(ref, dict):
        return True  # let it be refused and counted
    name = str(ref.get("dataset")).replace("refcocoplus", "refcoco+")
    return (name, ref.get("dataset_partition")) == (
        benchmark.folder,
        benchmark.split_by,
    )


def _referent(
    entry: Any, images: dict[str, Any], benchmark: Benchmark, where: str
) -> Referent:
    image_id = get(entry, "image_id", int, where)
    listed = get(images, str(image_id), dict, f"{where}: coco_anns")
    image = coco.image(get(listed, "info", dict, where), f"{where}: its image")
    annotation = get(entry, "ann", dict, where)
    if (image.image_id, get(annotation, "image_id", int, where)) != (image_id,) * 2:
        raise DataError(f"{where}: image_id {image_id}, its annotation or image differ")
    category = NAMES.get(get(annotation, "category_id", int, where), "")
    mask = coco.mask(annotation, image.height, image.width, category, f"{where}: ann")
    return Referent(
        filename=image.filename,
        image_id=image_id,
        split=split_name(get(entry, "split", str, where), benchmark),
        ref_id=get(entry, "ref_id", int, where),
        masks=(mask,),
        sentences=sentences(entry, where),
        height=image.height,
        width=image.width,
        coco_id=image_id,
    )
