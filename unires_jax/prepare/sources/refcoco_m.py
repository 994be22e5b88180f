"""RefCOCO-M, moondream's re-masked RefCOCO val, from its parquet files.

Source: the schema of moondream/refcoco-m. It is neither RefCOCOm (parts) nor RefCOCO:
its masks are new and its referents fewer. `sentences` are texts without ids; their
place stands for sent_id, the sample's id for ref_id and ann_id.
"""

from pathlib import Path
from typing import Any

from unires_jax.errors import DataError
from unires_jax.prepare.rejects import Rejects
from unires_jax.prepare.sources import coco, parquet
from unires_jax.prepare.sources.fields import check, get
from unires_jax.prepare.sources.parquet import Spool
from unires_jax.prepare.sources.referent import Referent, Sentence


def read(root: str | Path, rejects: Rejects, spool: Spool) -> list[Referent]:
    """The referents of the one split, val. Raises DataError if no file holds them."""
    paths = [p for p, schema in parquet.files(root).items() if schema == "moondream"]
    if not paths:
        raise DataError(
            f"{Path(root) / 'data' / 'validation-*.parquet'}: no such file, nor one "
            f"with the columns {sorted(parquet.SCHEMAS['moondream'])}"
        )
    found: list[Referent] = []
    refused: list[tuple[str, str]] = []
    for path in paths:
        for i, row in enumerate(parquet.rows(path)):
            good, bad = _row(row, spool, f"{path}[{i}]")
            found += good
            refused += bad
    rejects.expect(len(found) + len(refused))
    for name, reason in refused:
        rejects.note(name, reason)
    rejects.check()
    return found


def _row(
    row: dict[str, Any], spool: Spool, where: str
) -> tuple[list[Referent], list[tuple[str, str]]]:
    """The referents of one image, and what of it cannot be used with the reason."""
    samples = row.get("samples")
    found: list[Referent] = []
    refused: list[tuple[str, str]] = []
    for i, sample in enumerate(samples if isinstance(samples, list) else [None]):
        at = f"{where}: samples[{i}]"
        try:
            found.append(_referent(row, sample, at))
        except DataError as error:
            refused.append((at, str(error)))
    if found:
        spool.add(found[0].filename, parquet.picture(row, where))
    return found, refused


def _referent(row: dict[str, Any], sample: Any, where: str) -> Referent:
    image_id = get(row, "image_id", int, where)
    filename = get(row, "file_name", str, where)
    if get(sample, "image_id", int, where, image_id) != image_id:
        raise DataError(f"{where}: image_id is not the row's {image_id}")
    parquet.picture(row, where)
    given = get(sample, "mask", dict, where)
    size = get(given, "size", list, f"{where}: mask")
    if len(size) != 2:
        raise DataError(f"{where}: mask: size {size}, expected height and width")
    image = coco.image(
        {"id": image_id, "file_name": filename, "height": size[0], "width": size[1]},
        f"{where}: mask: size",
    )
    number = get(sample, "id", int, where)
    annotation = {"id": number, "segmentation": given, "bbox": sample.get("bbox") or []}
    category = get(sample, "category", str, where, "")
    texts = [
        check(s, str, f"{where}: sentences")
        for s in get(sample, "sentences", list, where)
    ]
    mask = coco.mask(annotation, image.height, image.width, category, where)
    return Referent(
        filename=filename,
        image_id=image_id,
        split="val",
        ref_id=number,
        masks=(mask,),
        sentences=tuple(Sentence(i, s, s) for i, s in enumerate(texts)),
        height=image.height,
        width=image.width,
        coco_id=image_id,
    )
