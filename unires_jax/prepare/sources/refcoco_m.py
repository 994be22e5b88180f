"""RefCOCO-M, moondream's re-masked RefCOCO val, from its parquet files.

Source: the schema of moondream/refcoco-m. It is neither RefCOCOm (parts) nor RefCOCO:
its masks are new and its referents fewer. `sentences` are texts without ids; their
place stands for sent_id, the sample's id for ref_id and ann_id.
"""

from pathlib import Path
from typing import Any

from unires_jax.data.catalogue import Benchmark
from unires_jax.errors import DataError, Kind
from unires_jax.prepare.rejects import Rejects
from unires_jax.prepare.sources import coco, parquet
from unires_jax.prepare.sources.fields import get
from unires_jax.prepare.sources.form import Files, Form, Raw, Source
from unires_jax.prepare.sources.pictures import Spool
from unires_jax.prepare.sources.referent import Referent, hold, texts


def find(root: Path, benchmark: Benchmark) -> Files:
    """The parquet files of its schema."""
    if benchmark.name != "refcoco_m":
        return Files()
    schemas, passed, broken = parquet.scan(root)
    present = [path for path, schema in schemas.items() if schema == "moondream"]
    others = {p: f"of {s}'s schema" for p, s in schemas.items() if p not in present}
    return Files(
        present=tuple(present),
        missing=tuple(parquet.lost_shards(present, broken, ("validation", "val"))),
        usual=(root / "data" / "validation-*.parquet",),
        passed=passed | others,
    )


def read(raw: Raw, benchmark: Benchmark, rejects: Rejects) -> Source:
    """The referents of the one split, val."""
    files = find(raw.root, benchmark)
    once = parquet.Once(rejects.notes, has_ids=True)
    refused: list[tuple[str, DataError]] = []
    for path in files.present:
        referents: list[Referent] = []
        for i, row in enumerate(parquet.rows(path)):
            taken = _row(row, raw.spool, f"{path}[{i}]", refused)
            for referent in taken:
                hold(referent, str(path), rejects, set())
            referents += taken
        once.add(path, referents)
    rejects.expect(len(once.referents) + len(refused))
    for place, error in refused:
        rejects.note(place, error)
    rejects.check()
    return Source("moondream", once.referents, raw.spool)


def _row(
    row: dict[str, Any],
    spool: Spool,
    place: str,
    refused: list[tuple[str, DataError]],
) -> list[Referent]:
    """The referents of one image; `refused` takes what of it cannot be used, and why.

    A picture is kept if a referent can be used.
    """
    samples = row.get("samples")
    referents: list[Referent] = []
    for i, sample in enumerate(samples if isinstance(samples, list) else [None]):
        at = f"{place}: samples[{i}]"
        try:
            referents.append(_referent(row, sample, at))
        except DataError as error:
            refused.append((at, error))
    if referents:
        spool.add(referents[0].image.filename, parquet.picture(row, place))
    return referents


def _referent(row: dict[str, Any], sample: Any, place: str) -> Referent:
    image_id = get(row, "image_id", int, place)
    filename = get(row, "file_name", str, place)
    if get(sample, "image_id", int, place, image_id) != image_id:
        raise DataError(f"image_id is not the row's {image_id}", place=place)
    parquet.picture(row, place)
    rle = get(sample, "mask", dict, place)
    image = _image(rle, image_id, filename, f"{place}: mask")
    number = get(sample, "id", int, place)
    annotation = {"id": number, "segmentation": rle, "bbox": sample.get("bbox") or []}
    category = get(sample, "category", str, place, "")
    sentences = texts(sample, "sentences", place)
    mask = coco.mask(annotation, image.height, image.width, category, place)
    return Referent(
        image=image,
        split="val",
        ref_id=number,
        masks=(mask,),
        sentences=sentences,
    )


def _image(rle: dict[str, Any], image_id: int, filename: str, place: str) -> coco.Image:
    """The image, whose height and width the mask alone states."""
    size = get(rle, "size", list, place)
    if len(size) != 2:
        raise DataError(f"size {size}, expected height and width", place=place)
    listed = {"id": image_id, "file_name": filename}
    listed |= {"height": size[0], "width": size[1]}
    try:
        return coco.image(listed, f"{place}: size")
    except DataError as error:
        error.kind = Kind.SIZE_DIFFERS
        raise


FORM = Form("parquet", 1, find, read)
