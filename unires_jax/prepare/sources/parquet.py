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
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from unires_jax.errors import DataError, shorten
from unires_jax.pixels.images import image_size
from unires_jax.prepare.catalogue import Benchmark, split_name
from unires_jax.prepare.rejects import Rejects
from unires_jax.prepare.sources import coco
from unires_jax.prepare.sources.coco_categories import NAMES
from unires_jax.prepare.sources.cris import coco_number
from unires_jax.prepare.sources.fields import check, get, parse_json
from unires_jax.prepare.sources.refer import sentences
from unires_jax.prepare.sources.referent import Referent, Sentence

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


class Spool:
    """Pictures that came within rows, kept as files: `spool(name) -> bytes`.

    Rows come in any order and records in that of image ids; the bytes of a data set
    do not fit in memory.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def add(self, name: str, data: bytes) -> None:
        """Keep a picture; the first of a name stays."""
        path = self._path(name)
        if not path.exists():
            path.write_bytes(data)

    def __call__(self, name: str) -> bytes:
        """The picture. Raises DataError if none of that name came."""
        try:
            return self._path(name).read_bytes()
        except FileNotFoundError:
            raise DataError(
                f"{name}: no row holds its picture; name a folder that does with "
                "--images"
            ) from None

    def _path(self, name: str) -> Path:
        return self.folder / hashlib.sha256(name.encode()).hexdigest()[:32]


def files(root: str | Path) -> dict[Path, str]:
    """The parquet files below root that have a known schema, with its name."""
    found = {}
    for path in sorted(Path(root).rglob("*.parquet")):
        columns = set(_open(path).schema_arrow.names)
        schema = next((s for s, need in SCHEMAS.items() if need <= columns), None)
        if schema:
            found[path] = schema
    return found


def rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a file as plain values. Raises DataError if it is damaged."""
    import pyarrow as pa

    file = _open(path)
    try:
        for batch in file.iter_batches(batch_size=_ROWS, use_threads=False):
            batch.validate(full=True)
            yield from batch.to_pylist()
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        raise DataError(f"{path}: damaged: {shorten(str(error))}") from None


def count(path: Path) -> int:
    """The rows that a file announces."""
    return _open(path).metadata.num_rows


def _open(path: Path) -> Any:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise DataError(
            f"{path}: reading parquet needs pyarrow: pip install 'unires_jax[convert]'"
        ) from None
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path}: is no parquet: {shorten(str(error))}") from None


def read(
    root: str | Path, benchmark: Benchmark, rejects: Rejects, spool: Spool
) -> list[Referent]:
    """The referents of a benchmark; pictures of the rows go to the spool."""
    found: list[Referent] = []
    first = 0  # number of a file's first row
    for path, schema in files(root).items():
        if schema == "jxu124":
            build = functools.partial(_jxu124, benchmark=benchmark)
            found += _read(path, rejects, build, first)
        elif schema == "lmms-lab":
            found += _read_lmms(path, benchmark, rejects, spool, first)
        first += count(path)
    return found


def _read_lmms(
    path: Path, benchmark: Benchmark, rejects: Rejects, spool: Spool, first: int
) -> list[Referent]:
    split = split_of(path)
    if split not in _LMMS_SPLITS.get(benchmark.name, ()):
        print(f"{path}: left out: its rows are not {benchmark.name}'s alone")
        return []
    build = functools.partial(_lmms, split=split, spool=spool)
    return _read(path, rejects, build, first)


def split_of(path: Path) -> str:
    """The split in a file's name (`val-00000-of-00004`), else in its folder's."""
    stem, dash, _ = path.stem.partition("-")
    return stem if dash else path.parent.name


def _read(
    path: Path, rejects: Rejects, build: Callable[..., Referent], first: int
) -> list[Referent]:
    rejects.expect(count(path))
    found = []
    for i, row in enumerate(rows(path)):
        name = f"{path}[{i}]"
        try:
            found.append(build(row, first + i, name))
        except DataError as error:
            rejects.note(name, str(error))
    return found


def _jxu124(
    row: dict[str, Any], number: int, where: str, benchmark: Benchmark
) -> Referent:
    word = get(row, "split", str, where)
    if word == "test" and "test" not in benchmark.splits:
        word = "testA"  # as its file of that split is called
    info = parse_json(
        get(row, "raw_image_info", str, where), f"{where}: raw_image_info"
    )
    annotation = parse_json(get(row, "raw_anns", str, where), f"{where}: raw_anns")
    image = coco.image(info, f"{where}: raw_image_info")
    if get(annotation, "image_id", int, where) != image.image_id:
        raise DataError(f"{where}: raw_anns and raw_image_info: of different images")
    category = NAMES.get(get(annotation, "category_id", int, where), "")
    mask = coco.mask(
        annotation, image.height, image.width, category, f"{where}: raw_anns"
    )
    return Referent(
        filename=image.filename,
        image_id=image.image_id,
        split=split_name(word, benchmark),
        ref_id=get(row, "ref_id", int, where),
        masks=(mask,),
        sentences=sentences(row, where),
        height=image.height,
        width=image.width,
        coco_id=image.image_id,
    )


def _lmms(
    row: dict[str, Any], ref_id: int, where: str, split: str, spool: Spool
) -> Referent:
    """A row without ids: its number stands for ref_id and ann_id."""
    filename = get(row, "file_name", str, where)
    image_id = coco_number(filename)
    if image_id is None:
        raise DataError(f"{where}: file_name {filename!r} has no COCO number")
    data = picture(row, where)
    height, width = image_size(data)
    annotation = {
        "id": ref_id,
        "segmentation": [get(row, "segmentation", list, where)],
        "bbox": get(row, "bbox", list, where),
        "iscrowd": get(row, "iscrowd", int, where, 0),
    }
    answers = [
        check(s, str, f"{where}: answer") for s in get(row, "answer", list, where)
    ]
    name = f"COCO_train2014_{image_id:012d}.jpg"
    mask = coco.mask(annotation, height, width, "", where)
    spool.add(name, data)
    return Referent(
        filename=name,
        image_id=image_id,
        split=split,
        ref_id=ref_id,
        masks=(mask,),
        sentences=tuple(Sentence(i, s, s) for i, s in enumerate(answers)),
        height=height,
        width=width,
        coco_id=image_id,
    )


def picture(row: dict[str, Any], where: str) -> bytes:
    """The encoded picture of a row (`image`: {"bytes", "path"})."""
    data = get(row, "image", dict, where).get("bytes")
    if not isinstance(data, bytes):
        raise DataError(f"{where}: image: holds no bytes")
    return data
