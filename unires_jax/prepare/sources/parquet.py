"""Parquet files of the Hugging Face hub, read without its library.

Three schemas, known by their columns:
- `jxu124` (jxu124/refcoco, refcocoplus, refcocog): the refer layout in full, a referent
  a row, annotation and image as JSON texts; pictures lie in a folder of their own.
- `lmms-lab` (lmms-lab/RefCOCO, RefCOCOplus, RefCOCOg): a referent a row with its
  picture; no ids, no `raw`, one polygon only. Its refcoco and refcocog `val` mix the
  unc or umd rows with google's and cannot be told apart, so they are left out.
- `moondream` (moondream/refcoco-m): an image a row with its referents (refcoco_m.py).
"""

import dataclasses
import functools
import itertools
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from unires_jax import limits
from unires_jax.data.catalogue import Benchmark
from unires_jax.errors import DataError, Kind, shorten
from unires_jax.files import require_regular
from unires_jax.pixels.images import image_size
from unires_jax.prepare.notes import Notes
from unires_jax.prepare.rejects import Rejects
from unires_jax.prepare.sources import coco, identity
from unires_jax.prepare.sources.coco_categories import NAMES
from unires_jax.prepare.sources.fields import get, parse_json
from unires_jax.prepare.sources.form import Files, Form, Raw, Source
from unires_jax.prepare.sources.pictures import Spool
from unires_jax.prepare.sources.referent import Referent, collect, sentences, texts
from unires_jax.texts import require_content

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
_FREE = 1 << 30  # bytes that the rows of any file may take
_SHARD = re.compile(r"-(\d{1,6})-of-(\d{1,6})")
MAX_SHARDS = 1000  # that are looked for; ours


class Scan(NamedTuple):
    """The parquet files below a folder."""

    schemas: dict[Path, str]  # of those that have a known one, its name
    passed: dict[Path, str]  # the others, and why they cannot be read
    broken: set[Path]  # of these, what might be data once it is mended


def scan(root: str | Path) -> Scan:
    """Look at the columns of every parquet file below a folder."""
    schemas, passed, broken = {}, {}, set[Path]()
    for path in sorted(p for p in Path(root).rglob("*.parquet") if not p.is_dir()):
        if any(part.startswith(".") for part in path.relative_to(root).parts):
            passed[path] = "its name begins with a dot, as what macOS and tools leave"
            continue
        try:
            if not path.is_file():
                raise DataError("is no regular file, or a link to nothing")
            present = columns(path)
        except DataError as error:
            passed[path] = error.text
            broken.add(path)
            continue
        if schema := _schema_of(present):
            schemas[path] = schema
        else:
            names = shorten(", ".join(present))
            passed[path] = f"its columns {names} are of no known schema"
    return Scan(schemas, passed, broken)


def _schema_of(names: Collection[str]) -> str:
    """The name of the schema that has these columns; "" if none is known."""
    return next((s for s, need in SCHEMAS.items() if need <= set(names)), "")


def columns(path: Path) -> list[str]:
    """The names of a file's columns. Raises DataError if it is damaged."""
    return list(_open(path).schema_arrow.names)


def rows(path: Path, names: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
    """The rows of a file as plain values, of all columns or of those `names`.

    Raises DataError if it is damaged, and where its rows take more than
    limits.GZIP_RATIO times its size: a value may stand once for all of them.
    """
    import pyarrow as pa

    file = _open(path)
    total, most = 0, max(_FREE, limits.GZIP_RATIO * path.stat().st_size)
    try:
        count = _rows_at_once(file.metadata)
        for batch in file.iter_batches(
            batch_size=count,
            columns=None if names is None else list(names),
            use_threads=False,
        ):
            batch.validate(full=True)
            if batch.nbytes > limits.ROWS_BYTES:
                raise DataError(f"{count} rows of {batch.nbytes} bytes")
            for row in batch.to_pylist():
                total += _bytes_of(row)
                if total > most:
                    raise DataError(
                        f"its rows take more than {most} bytes, {limits.GZIP_RATIO} "
                        "times the file: values that stand once in it are in very "
                        "many rows; write fewer rows to a file"
                    )
                yield row
    except DataError as error:
        raise error.at(str(path)) from None
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        raise DataError(f"damaged: {shorten(str(error))}", place=str(path)) from None


def _bytes_of(value: Any) -> int:
    """How much a plain value holds, about."""
    if isinstance(value, (bytes, str)):
        return len(value)
    if isinstance(value, dict):
        return sum(map(_bytes_of, value.values()))
    if isinstance(value, list):
        plain = not value or isinstance(value[0], (int, float))
        return 8 * len(value) if plain else sum(map(_bytes_of, value))
    return 8


def _rows_at_once(metadata: Any) -> int:
    """How many rows stay within limits.ROWS_BYTES, whatever they are made of.

    A value of a dictionary is written once and may stand in every row. Raises DataError
    for a column of more than limits.COLUMN_BYTES.
    """
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    pieces = (g.column(i) for g in groups for i in range(g.num_columns))
    largest = max((c.total_uncompressed_size for c in pieces), default=1)
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
        with path.open("rb") as file:
            require_content(file.read(64))
        return pq.ParquetFile(path)
    except DataError as error:
        raise error.at(str(path)) from None
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(
            f"is no parquet: {shorten(str(error))}", place=str(path)
        ) from None


def find(root: Path, benchmark: Benchmark) -> Files:
    """The files of the first two schemas, which hold RefCOCO, RefCOCO+ and RefCOCOg."""
    if benchmark.refs != "refs":
        return Files()
    schemas, passed, broken = scan(root)
    for path in list(schemas):
        if reason := _foreign(path, schemas[path], root, benchmark):
            passed[path] = reason
            del schemas[path]
    has_ids = "jxu124" in schemas.values()
    lmms = _LMMS_SPLITS.get(benchmark.name, ())
    words = {*benchmark.splits, "validation", "test"} if has_ids else set(lmms)
    present: list[Path] = []
    for path, schema in schemas.items():
        if schema == "jxu124" or (not has_ids and _split_of(path) in lmms):
            present.append(path)
        elif has_ids:
            passed[path] = "its rows have no ids, and lie beside jxu124's, which have"
        else:
            passed[path] = f"its rows are not {benchmark.name}'s alone"
    return Files(
        present=tuple(present),
        missing=tuple(lost_shards(present, broken, words)),
        usual=(root / "data" / f"{benchmark.splits[0]}-*.parquet",),
        passed=passed,
    )


def _foreign(path: Path, schema: str, root: Path, benchmark: Benchmark) -> str:
    """Why a file is another data set's; "" if nothing says so."""
    if schema == "moondream":
        return "holds RefCOCO-M; build refcoco_m"
    name = identity.other(path, root, benchmark)
    return f"its path names {name}, {benchmark.name} is asked for" if name else ""


def lost_shards(
    present: Sequence[Path], broken: Collection[Path], words: Collection[str]
) -> list[Path]:
    """The files that lack beside those that are present.

    These are the shards that are not there, and of the `broken` files those that are
    named by one of the `words` for splits.
    """
    folders = {path.parent for path in present}
    lost = sorted(p for p in broken if p.parent in folders and _split_of(p) in words)
    numbers: dict[tuple[Path, str, int], set[int]] = {}
    for path in (*present, *lost):
        if match := _SHARD.search(path.stem):
            key = path.parent, path.name[: match.start()], int(match[2])
            numbers.setdefault(key, set()).add(int(match[1]))
    for (folder, stem, count), there in numbers.items():
        for number in sorted(set(range(min(count, MAX_SHARDS))) - there):
            lost.append(folder / f"{stem}-{number:05}-of-{count:05}.parquet")
    return lost


def read(raw: Raw, benchmark: Benchmark, rejects: Rejects) -> Source:
    """The referents of a benchmark; pictures within rows go to the spool.

    They are taken from there, unless a folder of pictures is named or needed.
    """
    present = find(raw.root, benchmark).present
    schemas = {_schema_of(columns(path)) for path in present}
    inside = "jxu124" not in schemas  # all the same, as `find` takes them
    once = Once(rejects.notes, has_ids=not inside)
    first = 0  # number of a file's first row
    for path in present:
        if inside:
            numbers, split = itertools.count(first), _split_of(path)
            build = functools.partial(
                _lmms,
                numbers=numbers,
                split=split,
                spool=raw.spool,
                notes=rejects.notes,
            )
        else:
            build = functools.partial(_jxu124, benchmark=benchmark, notes=rejects.notes)
        once.add(path, collect(rows(path), build, str(path), rejects, count(path)))
        first += count(path)
    spooled = inside and not raw.images
    picture = raw.spool if spooled else raw.pictures(rejects.notes)
    return Source("parquet", once.referents, picture, present)


class Once:
    """The referents of several files; those that lie there again are taken once."""

    def __init__(self, notes: Notes, has_ids: bool) -> None:
        self.referents: list[Referent] = []
        self._notes, self._has_ids = notes, has_ids
        self._known: set[Referent] = set()
        self._shards: dict[tuple[frozenset[str], int], Path] = {}

    def add(self, path: Path, referents: Iterable[Referent]) -> None:
        """Take those of a file that are not there yet.

        Raises DataError if they differ from those of a file that is the same shard.
        """
        fresh = []
        for referent in referents:
            content = referent if self._has_ids else _without_ids(referent)
            if content in self._known:
                text = "rows that lie there already are taken once"
                self._notes.add(text, str(path))
            else:
                self._known.add(content)
                fresh.append(referent)
        self.referents += fresh
        if fresh:
            self._check(path, frozenset(r.split for r in fresh))

    def _check(self, path: Path, splits: frozenset[str]) -> None:
        first = self._shards.setdefault((splits, _shard_of(path)), path)
        apart = first.parent != path.parent
        if first != path and (apart or _SHARD.search(first.name)):
            raise DataError(
                f"is the same part of {', '.join(sorted(splits))} as {first} and has "
                "other rows: they are of two data sets, or versions of one. Name the "
                "folder of one with --raw",
                place=str(path),
            )


def _without_ids(referent: Referent) -> Referent:
    """The referent without the numbers that its row's place stands for."""
    masks = tuple(dataclasses.replace(m, ann_id=0) for m in referent.masks)
    return dataclasses.replace(referent, ref_id=0, masks=masks)


def _shard_of(path: Path) -> int:
    """Which part of a split a file's name says it is."""
    match = _SHARD.search(path.stem) or re.search(r"(\d{1,9})$", path.stem)
    return int(match[1]) if match else 0


def _split_of(path: Path) -> str:
    """The split in a file's name (`val-00000-of-00004`), else in its folder's."""
    stem, dash, _ = path.stem.partition("-")
    return stem if dash else path.parent.name


def _jxu124(
    row: dict[str, Any], place: str, benchmark: Benchmark, notes: Notes
) -> Referent:
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
    size = image.height, image.width
    mask = coco.mask(annotation, *size, category, at_mask, notes)
    return Referent(
        image=image,
        split=benchmark.split(word),
        ref_id=get(row, "ref_id", int, place),
        masks=(mask,),
        sentences=sentences(row, place),
    )


def _lmms(
    row: dict[str, Any],
    place: str,
    numbers: Iterator[int],
    split: str,
    spool: Spool,
    notes: Notes,
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
    mask = coco.mask(annotation, height, width, "", place, notes)
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
