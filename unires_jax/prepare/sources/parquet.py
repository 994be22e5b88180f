"""Parquet files of the Hugging Face hub, read without its library.

Three schemas, known by their columns:
- `jxu124` (jxu124/refcoco, refcocoplus, refcocog): the refer layout in full, a referent
  a row, annotation and image as JSON texts; pictures lie in a folder of their own.
- `lmms-lab` (lmms-lab/RefCOCO, RefCOCOplus, RefCOCOg): a referent a row with its
  picture; no ids, no `raw`, one polygon only. Its refcoco and refcocog `val` mix the
  unc or umd rows with google's and cannot be told apart, so they are left out.
- `moondream` (moondream/refcoco-m): an image a row with its referents (refcoco_m.py).
"""

import functools
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from unires_jax import limits
from unires_jax.data.catalogue import Benchmark
from unires_jax.errors import DataError, Kind, shorten
from unires_jax.files import require_regular
from unires_jax.pixels.images import image_size
from unires_jax.prepare.rejects import Rejects
from unires_jax.prepare.sources import coco
from unires_jax.prepare.sources.coco_categories import NAMES
from unires_jax.prepare.sources.fields import get, parse_json
from unires_jax.prepare.sources.form import Files, Form, Raw, Source
from unires_jax.prepare.sources.pictures import Spool
from unires_jax.prepare.sources.referent import Referent, collect, sentences, texts

SCHEMAS = {
    "jxu124": {
        "ref_id",
        "image_id",
        "split",
        "sentences",
        "raw_anns",
        "raw_image_info",
    },
    "lmms-lab": {"question_id", "image", "answer", "segmentation", "bbox", "file_name"},
    "moondream": {"image", "image_id", "file_name", "samples"},
}
# lmms-lab's splits that hold one benchmark only, by their counts of rows.
_LMMS_SPLITS = {
    "refcoco_unc": ("testA", "testB"),
    "refcoco_google": ("test",),
    "refcocoplus_unc": ("val", "testA", "testB"),
    "refcocog_umd": ("test",),
}
_ROWS = 64  # read at once


def files(root: str | Path) -> dict[Path, str]:
    """The parquet files below root that have a known schema, with its name."""
    schemas = {}
    for path in sorted(Path(root).rglob("*.parquet")):
        columns = set(_open(path).schema_arrow.names)
        schema = next((s for s, need in SCHEMAS.items() if need <= columns), None)
        if schema:
            schemas[path] = schema
    return schemas


def rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a file as plain values. Raises DataError if it is damaged."""
    import pyarrow as pa

    file = _open(path)
    try:
        count = _rows_at_once(file.metadata)
        for batch in file.iter_batches(batch_size=count, use_threads=False):
            batch.validate(full=True)
            if batch.nbytes > limits.ROWS_BYTES:
                raise DataError(f"{count} rows of {batch.nbytes} bytes")
            yield from batch.to_pylist()
    except DataError as error:
        raise error.at(str(path)) from None
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        raise DataError(f"damaged: {shorten(str(error))}", place=str(path)) from None


def _rows_at_once(metadata: Any) -> int:
    """How many rows stay within limits.ROWS_BYTES, whatever they are made of.

    A value of a dictionary is written once and may stand in every row. Raises DataError
    for a column of more than limits.COLUMN_BYTES.
    """
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    columns = (g.column(i) for g in groups for i in range(g.num_columns))
    largest = max((c.total_uncompressed_size for c in columns), default=1)
    if not 0 <= largest <= limits.COLUMN_BYTES:
        raise DataError(
            f"a column of {largest} bytes in one row group, the limit is "
            f"{limits.COLUMN_BYTES}; write smaller row groups"
        )
    return max(1, min(_ROWS, limits.ROWS_BYTES // max(largest, 1)))


def count(path: Path) -> int:
    """The rows that a file announces."""
    return _open(path).metadata.num_rows


def _open(path: Path) -> Any:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise DataError(
            "reading parquet needs pyarrow: pip install 'unires_jax[convert]'",
            place=str(path),
        ) from None
    require_regular(path)
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(
            f"is no parquet: {shorten(str(error))}", place=str(path)
        ) from None


def find(root: Path, benchmark: Benchmark) -> Files:
    """The files of the first two schemas, which hold RefCOCO, RefCOCO+ and RefCOCOg."""
    if benchmark.refs != "refs":
        return Files()
    paths = [path for path, schema in files(root).items() if schema != "moondream"]
    usual = root / "data" / f"{benchmark.splits[0]}-*.parquet"
    return Files(present=tuple(paths), usual=(usual,))


def read(raw: Raw, benchmark: Benchmark, rejects: Rejects) -> Source:
    """The referents of a benchmark; pictures within rows go to the spool.

    They are taken from there, unless a folder of pictures is named or needed.
    """
    schemas = files(raw.root)
    referents: list[Referent] = []
    first = 0  # number of a file's first row
    for path, schema in schemas.items():
        if schema == "jxu124":
            build = functools.partial(_jxu124, benchmark=benchmark)
            referents += collect(rows(path), build, str(path), rejects, count(path))
        elif schema == "lmms-lab":
            referents += _read_lmms(path, benchmark, rejects, raw.spool, first)
        first += count(path)
    names = set(schemas.values())
    inside = "lmms-lab" in names and "jxu124" not in names
    picture = raw.spool if inside and not raw.images else raw.pictures()
    return Source("parquet", referents, picture)


def _read_lmms(
    path: Path, benchmark: Benchmark, rejects: Rejects, spool: Spool, first: int
) -> list[Referent]:
    split = _split_of(path)
    if split not in _LMMS_SPLITS.get(benchmark.name, ()):
        print(f"{path}: left out: its rows are not {benchmark.name}'s alone")
        return []
    numbers = itertools.count(first)
    build = functools.partial(_lmms, numbers=numbers, split=split, spool=spool)
    return collect(rows(path), build, str(path), rejects, count(path))


def _split_of(path: Path) -> str:
    """The split in a file's name (`val-00000-of-00004`), else in its folder's."""
    stem, dash, _ = path.stem.partition("-")
    return stem if dash else path.parent.name


def _jxu124(row: dict[str, Any], place: str, benchmark: Benchmark) -> Referent:
    word = get(row, "split", str, place)
    if word == "test" and "test" not in benchmark.splits:
        word = "testA"  # as its file of that split is called
    at_info, at_mask = f"{place}: raw_image_info", f"{place}: raw_anns"
    image = coco.image(
        parse_json(get(row, "raw_image_info", str, place), at_info), at_info
    )
    annotation = parse_json(get(row, "raw_anns", str, place), at_mask)
    if get(annotation, "image_id", int, place) != image.image_id:
        raise DataError(
            "of different images", place=f"{place}: raw_anns and raw_image_info"
        )
    category = NAMES.get(get(annotation, "category_id", int, place), "")
    mask = coco.mask(annotation, image.height, image.width, category, at_mask)
    return Referent(
        image=image,
        split=benchmark.split(word),
        ref_id=get(row, "ref_id", int, place),
        masks=(mask,),
        sentences=sentences(row, place),
    )


def _lmms(
    row: dict[str, Any], place: str, numbers: Iterator[int], split: str, spool: Spool
) -> Referent:
    """A row without ids: its number stands for ref_id and ann_id."""
    ref_id = next(numbers)
    filename = get(row, "file_name", str, place)
    image_id = coco.number(filename)
    if image_id is None:
        raise DataError(f"file_name {filename!r} has no COCO number", place=place)
    data = picture(row, place)
    height, width = image_size(data)
    annotation = {
        "id": ref_id,
        "segmentation": [get(row, "segmentation", list, place)],
        "bbox": get(row, "bbox", list, place),
        "iscrowd": get(row, "iscrowd", int, place, 0),
    }
    answers = texts(row, "answer", place)
    name = f"COCO_train2014_{image_id:012d}.jpg"
    mask = coco.mask(annotation, height, width, "", place)
    spool.add(name, data)
    return Referent(
        image=coco.Image(image_id, name, height, width),
        split=split,
        ref_id=ref_id,
        masks=(mask,),
        sentences=answers,
    )


def picture(row: dict[str, Any], place: str) -> bytes:
    """The encoded picture of a row (`image`: {"bytes", "path"})."""
    data = get(row, "image", dict, place).get("bytes")
    if not isinstance(data, bytes):
        raise DataError(
            "holds no bytes", place=f"{place}: image", kind=Kind.IMAGE_ABSENT
        )
    if len(data) > limits.PICTURE_BYTES:
        raise DataError(
            f"has {len(data)} bytes, the limit is {limits.PICTURE_BYTES}",
            place=f"{place}: image",
            kind=Kind.IMAGE_UNREADABLE,
        )
    return data


FORM = Form("parquet", 1, find, read)
