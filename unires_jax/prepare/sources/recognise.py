"""Which form of a benchmark a folder holds, and what it lacks."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from unires_jax.errors import DataError
from unires_jax.prepare.catalogue import Benchmark
from unires_jax.prepare.rejects import Rejects
from unires_jax.prepare.sources import cris, mdetr, parquet, refer, tfds_json
from unires_jax.prepare.sources.parquet import Spool
from unires_jax.prepare.sources.pictures import find_images
from unires_jax.prepare.sources.referent import Referent

READERS = {
    "refer": refer.read,
    "cris": cris.read,
    "mdetr": mdetr.read,
    "tfds": tfds_json.read,
}


class Form(NamedTuple):
    """A form of which a folder holds something."""

    name: str  # "refer", "cris", "mdetr", "tfds" or "parquet"
    present: tuple[Path, ...]
    missing: tuple[Path, ...]  # without these it cannot be converted
    absent: tuple[Path, ...] = ()  # files of splits that are not there


class Source(NamedTuple):
    """What a folder holds of a benchmark, ready for `referent.to_records`."""

    form: str
    referents: list[Referent]
    picture: Callable[[str], bytes]


def forms(root: str | Path, benchmark: Benchmark) -> list[Form]:
    """The forms of which the folder holds something, those that lack nothing first.

    Among equals the order is by what a form keeps: refer (all), parquet, tfds, cris (no
    raw, no polygons), mdetr (no ids).
    """
    looked = (_refer, _parquet, _tfds, _cris, _mdetr)
    found = [form for look in looked if (form := look(Path(root), benchmark)).present]
    return sorted(found, key=lambda f: bool(f.missing))


def recognise(root: str | Path, benchmark: Benchmark) -> Form:
    """The form to convert. Raises DataError naming by full path what is missing."""
    if not Path(root).is_dir():
        raise DataError(
            f"{root}: no such folder; name that of the raw files with --raw"
        )
    found = forms(root, benchmark)
    if not found:
        raise DataError(
            f"{root}: holds no known form of {benchmark.name}; expected one of: "
            + ", ".join(map(str, _expected(Path(root), benchmark)))
        )
    best = found[0]
    if best.missing:
        raise DataError(
            f"{root}: holds the {best.name} form of {benchmark.name}, but lacks: "
            + ", ".join(map(str, best.missing))
        )
    return best


def read(
    root: str | Path,
    benchmark: Benchmark,
    rejects: Rejects,
    spool: Spool,
    images: str | Path = "",
) -> Source:
    """Read a benchmark from a folder in whichever form it holds.

    `images` names the folder of pictures where it is not below root; pictures that
    come within rows are kept in `spool` and taken from there unless it is named.
    Raises DataError naming what is missing.
    """
    form = recognise(root, benchmark)
    for path in form.absent:
        print(f"{path}: not there; its split is left out")
    if form.name == "parquet":
        found = parquet.read(root, benchmark, rejects, spool)
        schemas = set(parquet.files(root).values())
        inside = "lmms-lab" in schemas and "jxu124" not in schemas
        picture = spool if inside and not images else find_images(root, images)
    else:
        picture = find_images(root, images)  # before the long reading
        found = READERS[form.name](root, benchmark, rejects)
    rejects.check()
    return Source(form.name, found, picture)


def _refer(root: Path, benchmark: Benchmark) -> Form:
    refs, instances = refer.paths(root, benchmark)
    base = refs.parent if refs else root / benchmark.folder
    present = (refs,) if refs else ()
    missing = () if instances else (base / "instances.json",)
    return Form("refer", present, missing)


def _cris(root: Path, benchmark: Benchmark) -> Form:
    files = cris.split_files(root, benchmark)
    folder = next((f.parent for f in files.values()), root)
    missing: tuple[Path, ...] = ()
    if files:
        try:
            cris.find_masks(root, benchmark)
        except DataError:
            missing = (root / "masks" / folder.name,)
    absent = tuple(
        folder / f"{s}.json" for s in benchmark.splits if files and s not in files
    )
    return Form("cris", tuple(files.values()), missing, absent)


def _mdetr(root: Path, benchmark: Benchmark) -> Form:
    files = mdetr.split_files(root, benchmark)
    lost = files and mdetr.find_instances(root, benchmark) is None
    missing = (root / mdetr.INSTANCES[1],) if lost else ()
    folder = next((f.parent for f in files.values()), root)
    absent = tuple(
        folder / f"finetune_{benchmark.mdetr}_{s}.json"
        for s in benchmark.splits
        if files and s not in files
    )
    return Form("mdetr", tuple(files.values()), missing, absent)


def _tfds(root: Path, benchmark: Benchmark) -> Form:
    path = tfds_json.find(root)
    known = path and benchmark.refs == "refs"
    return Form("tfds", (path,) if path and known else (), ())


def _parquet(root: Path, benchmark: Benchmark) -> Form:
    known = benchmark.refs == "refs" and next(root.rglob("*.parquet"), None)
    schemas = parquet.files(root) if known else {}
    usable = tuple(p for p, s in schemas.items() if s != "moondream")
    return Form("parquet", usable, ())


def _expected(root: Path, benchmark: Benchmark) -> list[Path]:
    base, split = root / benchmark.folder, benchmark.splits[0]
    found = [base / f"{benchmark.refs}({benchmark.split_by}).p"]
    if benchmark.cris:
        found.append(root / "anns" / benchmark.cris[0] / f"{split}.json")
    if benchmark.mdetr:
        found.append(root / f"finetune_{benchmark.mdetr}_{split}.json")
    if benchmark.refs == "refs":
        found += [root / tfds_json.FILE, root / "data" / f"{split}-*.parquet"]
    return found
