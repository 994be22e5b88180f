"""`unires doctor DIR`: what a folder holds, what it lacks, and what is wrong with it.

Raw folders in any form that can be converted, MRES JSONL, and prepared data.
"""

import argparse
import contextlib
import io
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from tqdm import tqdm

from unires_jax.data.prepared import PreparedSplit
from unires_jax.data.records import Record
from unires_jax.errors import DataError
from unires_jax.files import write_whole
from unires_jax.prepare import expected
from unires_jax.prepare.catalogue import BENCHMARKS, Benchmark
from unires_jax.prepare.doctor.checks import (
    ERROR,
    WARNING,
    Findings,
    NotedRejects,
    SplitCheck,
    kind_of,
)
from unires_jax.prepare.doctor.report import Holding, Report, print_report
from unires_jax.prepare.mres import jsonl as mres_jsonl
from unires_jax.prepare.mres import plan as mres_plan
from unires_jax.prepare.sources import parquet, recognise, refcoco_m, refcocom
from unires_jax.prepare.sources.parquet import Spool
from unires_jax.prepare.sources.pictures import FOLDERS, find_images
from unires_jax.prepare.sources.recognise import Form, Source
from unires_jax.prepare.sources.referent import Referent, to_records

Read = Callable[[NotedRejects, Spool], Source]


def examine(folder: str | Path, images: str | Path = "") -> Report:
    """Look at everything below a folder, reading every record and picture.

    `images` names the folder of pictures of a raw benchmark where it lies elsewhere.
    """
    root, findings = Path(folder), Findings()
    if not root.is_dir():
        raise DataError(f"{root}: no such folder")
    holdings = [
        *_prepared(root, findings),
        *_jsonl(root, findings),
        *_benchmarks(root, images, findings),
    ]
    if not holdings:
        findings.add(ERROR, "nothing known", str(root), _wanted())
    return Report(str(root), holdings, findings.list())


def _wanted() -> str:
    return (
        "expected a prepared data set (dataset_info.json), MRES JSONL (*.jsonl), or "
        f"one of {', '.join(BENCHMARKS)}, refcocom, refcoco_m; their files are listed "
        "in docs/data.md"
    )


def _prepared(root: Path, findings: Findings) -> Iterator[Holding]:
    for path in sorted(root.glob("**/dataset_info.json")):
        if path.parent.name.startswith("incomplete."):
            told = "was left by a build that was ended; delete it"
            findings.add(WARNING, "incomplete", str(path.parent), told)
            continue
        try:
            info = json.loads(path.read_text())
            name, splits = str(info["name"]), [str(s["name"]) for s in info["splits"]]
        except (ValueError, KeyError, TypeError) as error:
            findings.add(ERROR, "unusable", str(path), f"is no dataset_info: {error}")
            continue
        known = info.get("configName") or name
        holding = Holding(known, "prepared", [str(path.parent)])
        checks = {}
        for split in splits:
            where = f"{known}/{split}"
            checks[split] = SplitCheck(findings, where)
            _stream(PreparedSplit(str(path.parent), split), checks[split], findings)
        _conclude(holding, checks, findings)
        yield holding


def _stream(split: PreparedSplit, check: SplitCheck, findings: Findings) -> None:
    where = f"{split.dataset}/{split.split}"
    try:
        count = len(split)
    except (OSError, RuntimeError, ValueError, AssertionError) as error:
        told = f"{split.folder}: shards absent or damaged: {error}"
        findings.add(ERROR, "unusable", where, told)
        return
    for i in tqdm(range(count), where, unit=" images", leave=False):
        try:
            check.add(split[i])
        except (OSError, RuntimeError, ValueError, IndexError) as error:
            findings.error(where, f"record {i}: {error}")


def _jsonl(root: Path, findings: Findings) -> Iterator[Holding]:
    try:
        files = mres_jsonl.find_files(root)
        plan = mres_plan.plan(files)
    except DataError as error:
        if any(p.name.endswith(mres_jsonl.SUFFIXES) for p in root.iterdir()):
            findings.error(str(root), str(error))
            yield Holding("mres32m", "mres_jsonl", [])
        return
    paths = [str(p) for group in files.values() for p in group]
    holding = Holding("mres32m", "mres_jsonl", paths)
    checks = {s: SplitCheck(findings, f"mres32m/{s}") for s in files}
    total = sum(lines.count for lines in plan)
    with tqdm(total=total, unit=" images", leave=False) as bar:
        for lines in plan:
            where = f"mres32m/{lines.split}"
            try:
                for place, found in mres_jsonl.read(lines):
                    bar.update()
                    if isinstance(found, Record):
                        checks[lines.split].add(found, place)
                    else:
                        findings.error(where, str(found))
            except DataError as error:
                findings.error(where, str(error))
    _conclude(holding, checks, findings)
    yield holding


def _benchmarks(
    root: Path, images: str | Path, findings: Findings
) -> Iterator[Holding]:
    for name, benchmark in BENCHMARKS.items():
        found = recognise.forms(root, benchmark)
        for form in found:
            _missing(form, name, findings)
        if found and not found[0].missing:
            form = found[0]
            holding = Holding(name, form.name, list(map(str, form.present)))
            _cases(root, [*form.present], benchmark, findings)
            yield _raw(holding, _reader(root, benchmark, images), findings)
        elif found:
            yield Holding(name, found[0].name, list(map(str, found[0].present)))
    parts = refcocom.files(root, "part_only")
    if parts:
        holding = Holding("refcocom", "refcocom", list(map(str, parts.values())))
        yield _raw(
            holding,
            lambda rejects, _: Source(
                "refcocom", refcocom.read(root, rejects), find_images(root, images)
            ),
            findings,
        )
    schemas = parquet.files(root) if next(root.rglob("*.parquet"), None) else {}
    tables = [str(p) for p, schema in schemas.items() if schema == "moondream"]
    if tables:
        yield _raw(
            Holding("refcoco_m", "parquet", tables),
            lambda rejects, spool: Source(
                "moondream", refcoco_m.read(root, rejects, spool), spool
            ),
            findings,
        )


def _reader(root: Path, benchmark: Benchmark, images: str | Path) -> Read:
    return lambda rejects, spool: recognise.read(
        root, benchmark, rejects, spool, images
    )


def _missing(form: Form, name: str, findings: Findings) -> None:
    for path in form.missing:
        told = f"{path} is not there; the {form.name} form cannot be read without it"
        findings.add(ERROR, "file missing", name, told)
    for path in form.absent:
        findings.add(WARNING, "split missing", name, f"{path} is not there")


def _raw(holding: Holding, read: Read, findings: Findings) -> Holding:
    """Read a benchmark as its conversion would and check every record."""
    name, checks = holding.name, dict[str, SplitCheck]()
    with tempfile.TemporaryDirectory() as folder:
        rejects = NotedRejects(findings, name)
        try:
            with contextlib.redirect_stdout(io.StringIO()):  # told below, in one table
                source = read(rejects, Spool(folder))
        except DataError as error:
            kind = "file missing" if "no such" in str(error) else kind_of(str(error))
            findings.add(ERROR, kind, name, str(error))
            return holding
        for split, group in _by_split(source.referents).items():
            where = f"{name}/{split}"
            noted = NotedRejects(findings, where)
            checks[split] = SplitCheck(findings, where)
            made = to_records(group, source.picture, name, noted)
            total = len({r.image_id for r in group})
            for record in tqdm(made, where, total, unit=" images", leave=False):
                checks[split].add(record)
    _conclude(holding, checks, findings)
    return holding


def _by_split(referents: Iterable[Referent]) -> dict[str, list[Referent]]:
    splits: dict[str, list[Referent]] = {}
    for referent in referents:
        splits.setdefault(referent.split, []).append(referent)
    return splits


def _cases(
    root: Path, paths: Sequence[Path], benchmark: Benchmark, findings: Findings
) -> None:
    """Warn of names that other projects would not find because of their case."""
    stem = f"{benchmark.refs}({benchmark.split_by})"
    names = {benchmark.folder, *benchmark.cris, "anns", "masks", "instances.json"}
    names |= {f"{stem}{end}" for end in (".p", ".pkl", ".json")}
    names |= {f"{s}.json" for s in benchmark.splits}
    names |= {part for folder in FOLDERS for part in folder.split("/")}
    usual = {n.lower(): n for n in names}
    for path in [*paths, *_picture_folders(root)]:
        for part in path.relative_to(root).parts:
            wanted = usual.get(part.lower(), part)
            if part != wanted:
                told = f"{path}: is called {part!r}, other projects look for {wanted!r}"
                findings.add(WARNING, "wrong case", benchmark.name, told)


def _picture_folders(root: Path) -> list[Path]:
    try:
        return [p for p in [find_images(root).folder] if p.is_relative_to(root)]
    except DataError:
        return []


def _conclude(
    holding: Holding, checks: dict[str, SplitCheck], findings: Findings
) -> None:
    """Compare with the published counts, and the splits with each other."""
    name = holding.name
    holding.splits = {split: check.counts for split, check in checks.items()}
    for split, check in checks.items():
        for told in expected.differences(name, split, check.counts):
            findings.add(ERROR, "count differs", f"{name}/{split}", told)
    for split in expected.EXPECTED.get(name, {}):
        if split not in checks:
            told = f"is not there; expected {expected.describe(name, split)}"
            findings.add(WARNING, "split missing", f"{name}/{split}", told)
    names = list(checks)
    for i, one in enumerate(names):
        for other in names[:i]:
            shared = checks[one].image_ids & checks[other].image_ids
            if shared:
                told = f"{len(shared)} image_ids are in {other} too, e.g. {min(shared)}"
                findings.add(WARNING, "image shared", f"{name}/{one}", told)


def main(argv: Sequence[str]) -> int:
    """`unires doctor DIR [--images DIR] [--json out.json]`; 1 if there are errors."""
    parser = argparse.ArgumentParser(
        prog="unires doctor",
        description="What a folder of raw or prepared data holds, what it lacks and "
        "what is wrong with it. Exit code 1 if there are errors.",
    )
    parser.add_argument("folder", help="raw files, or prepared data")
    parser.add_argument("--images", default="", help="folder of a benchmark's pictures")
    parser.add_argument("--json", default="", help="write the report there too")
    args = parser.parse_args(argv)
    report = examine(args.folder, args.images)
    print_report(report)
    if args.json:
        write_whole(args.json, json.dumps(report.to_json(), indent=1))
    return int(report.errors > 0)
