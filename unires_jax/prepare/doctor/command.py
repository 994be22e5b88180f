"""`unires doctor DIR`: what a folder holds, what it lacks, and what is wrong with it.

Raw folders in any form that can be converted, MRES JSONL, and prepared data.
"""

import argparse
import contextlib
import io
import itertools
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from unires_jax import disk
from unires_jax.data.catalogue import BENCHMARKS, Benchmark, Counts
from unires_jax.data.descriptions import read_info
from unires_jax.data.prepared import PreparedSplit, is_unfinished
from unires_jax.data.records import Record
from unires_jax.errors import DataError, Kind, printable
from unires_jax.files import local, write_whole
from unires_jax.pixels import orientation
from unires_jax.prepare.doctor.checks import (
    ERROR,
    NOTE,
    WARNING,
    Findings,
    NotedRejects,
    SplitCheck,
)
from unires_jax.prepare.doctor.report import Holding, Report, print_report
from unires_jax.prepare.mres import jsonl
from unires_jax.prepare.mres.plan import plan
from unires_jax.prepare.notes import Notes
from unires_jax.prepare.sources import recognise
from unires_jax.prepare.sources.form import Raw
from unires_jax.prepare.sources.grouping import by_split, to_records
from unires_jax.prepare.sources.pictures import FOLDERS, Spool, find_images

# What can be converted below a folder: where it is, its title, the command.
Convertible = Callable[[Path], Iterable[tuple[Path, str, str]]]


class _Reading(NamedTuple):
    """How raw data is read."""

    images: str  # folder of the pictures; "": found
    masks: orientation.Masks
    follow_links: bool


def examine(
    folder: str | Path,
    images: str | Path = "",
    masks: orientation.Masks = "stored",
    convertible: Convertible = lambda _: (),
    *,
    follow_links: bool = False,
) -> Report:
    """Look at everything below a folder, reading every record and picture.

    `images` names the folder of pictures of raw data where it lies elsewhere, `masks`
    the pixels that raw masks belong to (`pixels.orientation`), and `follow_links`
    permits links out of these folders. Where nothing can be built as it is,
    `convertible` says which commands convert it.
    """
    root, findings = local(folder), Findings()
    how = _Reading(str(local(images)) if images else "", masks, follow_links)
    if not os.path.isdir(root):
        raise DataError("no such folder", place=str(root), kind=Kind.FILE_MISSING)
    passed = dict[Path, str]()  # what no benchmark takes, and why
    holdings = [
        *_prepared(root, findings),
        *_jsonl(root, how, findings),
        *_benchmarks(root, how, findings, passed),
    ]
    others = [] if holdings else list(convertible(root))
    for path, reason in passed.items() if not others else ():
        text = printable(f"{path} is passed over: {reason}")
        findings.add(WARNING, NOTE, str(root), text)
    for path, title, command in others:
        text = f"{printable(str(path))}: convert it with `{command}`"
        findings.add(ERROR, f"to be converted: {title}", str(root), text)
    if not holdings and not others:
        expected = (
            "expected a prepared data set (dataset_info.json), MRES JSONL (*.jsonl), "
            f"or one of {', '.join(BENCHMARKS)}; their files are listed in docs/data.md"
        )
        findings.add(ERROR, "nothing known", str(root), expected)
    return Report(str(root), holdings, findings.list())


def _prepared(root: Path, findings: Findings) -> Iterator[Holding]:
    for path in sorted(root.glob("**/dataset_info.json")):
        if is_unfinished(path.parent.name):
            text = "was left by a build that was ended; run that again, or delete it"
            findings.add(WARNING, "incomplete", str(path.parent), text)
            continue
        try:
            info = read_info(path.parent)
        except DataError as error:
            findings.error(str(path), error)
            continue
        name, splits = info.config or info.name, list(info.splits)
        holding = Holding(name, "prepared", [str(path.parent)])
        checks = {}
        for split in splits:
            checks[split] = SplitCheck(findings, f"{name}/{split}")
            _stream(PreparedSplit(str(path.parent), split), checks[split], findings)
        _conclude(holding, checks, findings)
        yield holding


def _stream(split: PreparedSplit, check: SplitCheck, findings: Findings) -> None:
    where = f"{split.dataset}/{split.split}"
    try:
        count = len(split)
    except DataError as error:
        findings.error(where, error)
        return
    try:
        split.check_counts()
    except DataError as error:
        findings.error(where, error)
    for i in tqdm(range(count), where, unit=" images", leave=False):
        try:
            check.add(split[i])
        except DataError as error:
            findings.error(where, error.at(f"record {i}"))


def _jsonl(root: Path, how: _Reading, findings: Findings) -> Iterator[Holding]:
    notes = Notes()
    try:
        files = jsonl.find_files(root, notes=notes)
        runs = plan(
            files, masks=how.masks, images=how.images, follow_links=how.follow_links
        )
    except DataError as error:
        if any(p.name.endswith(jsonl.SUFFIXES) for p in root.iterdir()):
            findings.error(str(root), error)
            yield Holding("mres32m", "mres_jsonl", [])
        return
    paths = [str(p) for group in files.values() for p in group]
    holding = Holding("mres32m", "mres_jsonl", paths)
    checks = {s: SplitCheck(findings, f"mres32m/{s}") for s in files}
    total = sum(lines.count for lines in runs)
    with tqdm(total=total, unit=" images", leave=False) as bar:
        for lines in runs:
            where = f"mres32m/{lines.split}"
            try:
                for number, record in lines.read(notes):
                    bar.update()
                    if isinstance(record, Record):
                        checks[lines.split].add(record, lines.place(number))
                    else:
                        findings.error(where, record)
            except DataError as error:
                findings.error(where, error)
    findings.notes("mres32m", notes)
    _conclude(holding, checks, findings)
    yield holding


def _benchmarks(
    root: Path, how: _Reading, findings: Findings, passed: dict[Path, str]
) -> Iterator[Holding]:
    """The benchmarks of a folder; without one, `passed` takes what was looked at."""
    holds_any, others = False, dict[Path, str]()
    for benchmark in BENCHMARKS.values():
        name = benchmark.name
        try:
            forms = recognise.every(root, benchmark)
        except DataError as error:
            findings.error(name, error)
            continue
        matches = recognise.best_first(forms)
        for form, files in matches:
            for path in files.missing:
                text = f"{path} is not there; the {form.name} form cannot be read "
                findings.add(ERROR, Kind.FILE_MISSING, name, f"{text}without it")
            for path in files.absent:
                findings.add(WARNING, "split missing", name, f"{path} is not there")
        if not matches:
            others |= {p: why for m in forms for p, why in m.files.passed.items()}
            continue
        holds_any = True
        form, files = matches[0]
        holding = Holding(name, form.name, list(map(str, files.present)))
        if not files.missing:
            _cases(root, files.present, benchmark, findings)
            _read(holding, root, how, benchmark, findings)
        yield holding
    if not holds_any:
        passed |= others


def _read(
    holding: Holding,
    root: Path,
    how: _Reading,
    benchmark: Benchmark,
    findings: Findings,
) -> None:
    """Read a benchmark as its conversion would and check every record."""
    name, checks = benchmark.name, dict[str, SplitCheck]()
    with tempfile.TemporaryDirectory() as folder:
        rejects = NotedRejects(findings, name)
        try:
            with contextlib.redirect_stdout(io.StringIO()):  # told below, in one table
                raw = Raw(root, Spool(folder), how.images, how.follow_links)
                source = recognise.read(raw, benchmark, rejects)
        except DataError as error:
            findings.error(name, error)
            return
        findings.notes(name, rejects.notes)
        for split, group in by_split(source.referents).items():
            where = f"{name}/{split}"
            checks[split] = SplitCheck(findings, where)
            refused = NotedRejects(findings, where)
            stream = to_records(group, source.picture, name, refused, how.masks)
            total = len({r.image.image_id for r in group})
            for record in tqdm(stream, where, total, unit=" images", leave=False):
                checks[split].add(record)
            findings.notes(where, refused.notes)
    _conclude(holding, checks, findings)


def _cases(
    root: Path, paths: Sequence[Path], benchmark: Benchmark, findings: Findings
) -> None:
    """Warn of names that other projects would not find because of their case."""
    if not benchmark.refs:
        return  # one project alone knows its files
    stem = f"{benchmark.refs}({benchmark.split_by})"
    names = {benchmark.folder, *benchmark.cris, "anns", "masks", "instances.json"}
    names |= {f"{stem}{end}" for end in (".p", ".pkl", ".json")}
    names |= {f"{s}.json" for s in benchmark.splits}
    names |= {part for folder in FOLDERS for part in folder.split("/")}
    usual = {n.lower(): n for n in names}
    for path in [*paths, *_picture_folders(root)]:
        for part in path.relative_to(root).parts:
            name = usual.get(part.lower(), part)
            if part != name:
                text = f"{path}: is called {part!r}, other projects look for {name!r}"
                findings.add(WARNING, "wrong case", benchmark.name, text)


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
    published = BENCHMARKS[name].counts if name in BENCHMARKS else {}
    for split, check in checks.items():
        for text in published.get(split, Counts()).differences(check.counts):
            findings.add(ERROR, "count differs", f"{name}/{split}", text)
    for split, counts in published.items():
        if split not in checks:
            text = f"is not there; expected {counts.describe()}"
            findings.add(WARNING, "split missing", f"{name}/{split}", text)
    for earlier, split in itertools.combinations(checks, 2):
        if same := checks[split].pictures_of(checks[earlier]):
            text = f"{same} pictures are in {earlier} too, under other image_ids"
            findings.add(WARNING, "image shared", f"{name}/{split}", text)
        if shared := checks[split].image_ids & checks[earlier].image_ids:
            text = f"{len(shared)} image_ids are in {earlier} too, e.g. {min(shared)}"
            findings.add(WARNING, "image shared", f"{name}/{split}", text)


def main(argv: Sequence[str], convertible: Convertible = lambda _: ()) -> int:
    """`unires doctor DIR [--images DIR] [--json out.json]`; 1 if there are errors."""
    parser = argparse.ArgumentParser(
        prog="unires doctor",
        description="What a folder of raw or prepared data holds, what it lacks and "
        "what is wrong with it. Exit code 1 if there are errors.",
    )
    parser.add_argument("folder", help="raw files, or prepared data")
    parser.add_argument(
        "--images", default="", help="folder of the pictures that raw data names"
    )
    parser.add_argument(
        "--follow_links",
        action="store_true",
        help="let links lead out of the folders of raw data and of pictures",
    )
    parser.add_argument(
        "--orientation",
        default="stored",
        choices=orientation.MASKS,
        help="pixels that masks of pictures with an EXIF orientation belong to",
    )
    parser.add_argument("--json", default="", help="write the report there too")
    args = parser.parse_args(argv)
    if args.json:
        disk.require_writable(Path(args.json).absolute().parent)
    report = examine(
        *(args.folder, args.images, args.orientation, convertible),
        follow_links=args.follow_links,
    )
    print_report(report)
    if args.json:
        write_whole(args.json, json.dumps(report.to_json(), indent=1))
    return int(report.errors > 0)
