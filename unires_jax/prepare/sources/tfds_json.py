"""The refcoco.json that TFDS's `ref_coco` builder asks its users to prepare.

Source: that builder: {"ref": refs of all benchmarks, each with
its annotation `ann`, `dataset` and `dataset_partition`, "coco_anns": {image id:
{"info", "anns"}}}. It lists no categories: COCO's own names are taken.
"""

import functools
from pathlib import Path
from typing import Any

from unires_jax.data.catalogue import Benchmark
from unires_jax.errors import DataError
from unires_jax.prepare.notes import Notes
from unires_jax.prepare.rejects import Rejects
from unires_jax.prepare.sources import coco
from unires_jax.prepare.sources.coco_categories import NAMES
from unires_jax.prepare.sources.fields import get, read_json
from unires_jax.prepare.sources.form import Files, Form, Raw, Source
from unires_jax.prepare.sources.pictures import find_any_case
from unires_jax.prepare.sources.referent import Referent, collect, sentences

FILE = "refcoco.json"


def find(root: Path, benchmark: Benchmark) -> Files:
    """The file, of which the builder lists every benchmark but gRefCOCO."""
    if benchmark.refs != "refs":
        return Files()
    path = find_any_case(root, FILE)
    return Files(present=(path,) if path else (), usual=(root / FILE,))


def read(raw: Raw, benchmark: Benchmark, rejects: Rejects) -> Source:
    """The referents of one benchmark; the file holds all five."""
    picture = raw.pictures(rejects.notes)  # before the long reading
    path = find_any_case(raw.root, FILE) or raw.root / FILE
    content, place = read_json(path), str(path)
    images = get(content, "coco_anns", dict, place)
    refs = [r for r in get(content, "ref", list, place) if _belongs(r, benchmark)]
    if not refs:
        raise DataError(f"holds no referent of {benchmark.name}", place=place)
    build = functools.partial(
        _referent, images=images, benchmark=benchmark, notes=rejects.notes
    )
    where = f"{place}: {benchmark.name}"
    referents = collect(refs, build, where, rejects, len(refs))
    return Source("tfds", referents, picture)


def _belongs(ref: Any, benchmark: Benchmark) -> bool:
    if not isinstance(ref, dict):
        return True  # let it be refused and counted
    name = str(ref.get("dataset")).replace("refcocoplus", "refcoco+")
    same_split = ref.get("dataset_partition") == benchmark.split_by
    return name == benchmark.folder and same_split


def _referent(
    entry: Any,
    place: str,
    images: dict[str, Any],
    benchmark: Benchmark,
    notes: Notes,
) -> Referent:
    image_id = get(entry, "image_id", int, place)
    listed = get(images, str(image_id), dict, f"{place}: coco_anns")
    image = coco.image(get(listed, "info", dict, place), f"{place}: its image")
    annotation = get(entry, "ann", dict, place)
    if (image.image_id, get(annotation, "image_id", int, place)) != (image_id,) * 2:
        raise DataError(
            f"image_id {image_id}, its annotation or image differ", place=place
        )
    category = NAMES.get(get(annotation, "category_id", int, place), "")
    size = image.height, image.width
    mask = coco.mask(annotation, *size, category, f"{place}: ann", notes)
    return Referent(
        image=image,
        split=benchmark.split(get(entry, "split", str, place)),
        ref_id=get(entry, "ref_id", int, place),
        masks=(mask,),
        sentences=sentences(entry, place),
    )


FORM = Form("tfds", 2, find, read)
