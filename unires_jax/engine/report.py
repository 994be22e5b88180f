"""`unires engine report`: a page of what was kept and dropped and why; stats.json.

One pass over the records: numbers are added up, cases drawn as they go by, so that a
run of any size takes the same memory. Source: ours.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from unires_jax import __version__, disk, terminal
from unires_jax.engine import (
    audit,
    filters,
    likeness,
    options,
    overlays,
    shard_files,
)
from unires_jax.engine.cases import KEPT, Case, cases
from unires_jax.engine.checks import CODES
from unires_jax.engine.licences import licence_lines
from unires_jax.engine.plan_file import picture_folder
from unires_jax.engine.record import (
    FORMS,
    LEVELS,
    REGION_SCORES,
    TEXT_SCORES,
    Picture,
)
from unires_jax.engine.samples import Sample
from unires_jax.engine.stages import FILTER, PLAN, STAGES
from unires_jax.engine.stats import ALONG, Stats
from unires_jax.errors import DataError, UsageError, UserError, printable, shorten
from unires_jax.files import Location, local, write_together
from unires_jax.pages import template

FOLDER = "report"  # below the engine's folder
NAMED = 200  # rows of a table of categories; the rest is in stats.json
PAIRS = 6  # of alike pictures on the page
SAID = 4  # texts of a region on its card
_TITLES = dict(picture="Pictures", object="Objects", part="Parts", text="Sentences")
_STEPS = {
    ALONG: "with picture, object or target",
    "picture": "as pictures",
    "boxes": "boxes",
    "masks": "masks",
    "parts": "parts",
    "sentences": "wording",
    "scores": "scores",
    "errors": "errors",
}


def report(
    out: str | Path,
    *,
    pictures: str | Path = "",
    cards: int = 6,
    looks: int = 200,
    verdicts: str | Path = "",
    near: int = 5000,
    seed: int = 0,
) -> Location:
    """Write `<out>/report/`: report.html, stats.json, and an audit to be made.

    The page is of the filter's records, or of the last stage's that has run. It shows
    up to `cards` cases of each form that was kept and of each code, drawn by `seed`,
    and the pictures (below `pictures`, by default the plan's folder) that are alike
    among `near` of the kept. audit.csv and audit.html hold `looks` cases for a person;
    an audit.csv that has verdicts is left as it is. `verdicts` is such a file, read as
    `audit.read` does: its precision goes on the page. Raises DataError where no stage
    is complete.
    """
    folder = local(out) / FOLDER
    stage = _last_stage(out)
    shards = shard_files.paths(out, stage)
    root = _pictures(out, pictures)
    rows = audit.read(verdicts) if verdicts else []
    folder.mkdir(parents=True, exist_ok=True)
    disk.require_writable(folder)

    summary = filters.read(out) if stage == FILTER else None
    if summary:
        _warn_of_older(out)
    stats = Stats(summary.thresholds if summary else None)
    digest = audit.Digest()
    shown, drawn = Sample[Case](cards, seed), Sample[Case](looks, seed)
    kept, places = Sample[Case](near, seed), audit.Places(rows)
    for picture in _read_all(shards):
        stats.add(picture)
        digest.add(picture)
        if picture.keep:
            case = Case(str(picture.image_id), picture)
            kept.add("", case.key, case.slim)
        for case in cases(picture):
            places.add(case)
            for stratum in case.strata:
                shown.add(stratum, case.key, case.slim)
            for stratum in case.strata[:1] if audit.is_visible(case) else ():
                drawn.add(stratum, case.key, case.slim)
    numbers = stats.to_json()
    pairs, numbers["alike"] = _alike(root, kept.drawn(""))
    judged = places.precision(digest.run, drawn.counts) if rows else None
    licences = licence_lines(stats.sources)
    about = {
        "name": local(out).resolve().name,
        "unires_jax": __version__,
        "stage": stage,
        "preset": summary.preset if summary else "",
        "run": digest.run,
        "seed": seed,
    }
    page = _page("report.html").render(
        about=about,
        s=numbers,
        titles=_TITLES,
        steps=_STEPS,
        filtered=summary is not None,
        galleries=_galleries(shown, root),
        categories=list(numbers["categories"].items())[:NAMED],
        parts=list(numbers["parts"].items())[:NAMED],
        without_parts=sum(not r.get("kept parts") for r in stats.categories.values()),
        same=stats.dropped["picture"]["I2"],
        pairs=pairs,
        audit=judged,
        licences=licences,
        colours=overlays.COLOURS,
    )
    facts = {"about": about, **numbers, "audit": judged, "licences": licences}
    contents = {
        "report.html": page,
        "stats.json": json.dumps(facts, indent=1, ensure_ascii=False) + "\n",
    }
    looked = [] if rows else audit.draw(drawn, looks)
    if looked and audit.may_replace(folder / audit.CSV):
        contents[audit.CSV] = audit.to_csv(looked, digest.run)
        numbered = [
            {**_card(case, root, blind=True), "label": str(number)}
            for number, case in enumerate(looked, 1)
        ]
        contents["audit.html"] = _page("audit.html").render(
            cards=numbered, colours=overlays.COLOURS
        )
    write_together(folder, contents)
    return folder / "report.html"


def _warn_of_older(out: str | Path) -> None:
    """A page of what is there is of use while more is made; but it is said."""
    try:
        filters.require_current(out)
    except UserError as error:
        told = terminal.indented(str(error))
        print(f"the page is of an earlier state: {told}", file=sys.stderr)


def _last_stage(out: str | Path) -> str:
    names = (PLAN, *(stage.name for stage in STAGES), FILTER)
    for name in reversed(names):
        if any((local(out) / name).glob("shard-*.jsonl.gz")):
            return name
    raise DataError(
        "holds no stage's shards; run `unires engine plan` and `run` first",
        place=str(out),
    )


def _pictures(out: str | Path, pictures: str | Path) -> Path | None:
    """The folder of pictures; without one the page has numbers and no pictures."""
    try:
        return picture_folder(local(out), pictures)
    except (DataError, UsageError) as error:
        if pictures:
            raise
        told = terminal.indented(str(error))
        print(f"no pictures on the page: {told}", file=sys.stderr)
        return None


def _read_all(shards: Sequence[Path]) -> Iterator[Picture]:
    with tqdm(total=len(shards), desc="report", unit=" shards", leave=False) as bar:
        for shard in shards:
            yield from shard_files.read(shard)
            bar.update()


def _page(name: str) -> Any:
    return template(
        Path(__file__).with_name(name), percent=_percent, tenths=_tenths, number=_number
    )


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def _tenths(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _number(value: int) -> str:
    return f"{value:,}"


def _galleries(sample: Sample[Case], root: Path | None) -> list[dict[str, Any]]:
    order = [f"{KEPT} {x}" for x in (*LEVELS, *FORMS)]
    others = [s for s in sample.strata if s not in order]
    return [
        {
            "title": stratum.removeprefix(f"{KEPT} "),
            "keep": stratum.startswith(KEPT),
            "meaning": CODES.get(stratum, ""),
            "count": sample.counts[stratum],
            "cards": [_card(case, root) for case in sample.drawn(stratum)],
        }
        for stratum in (*order, *others)
        if sample.counts[stratum]
    ]


def _card(case: Case, root: Path | None, blind: bool = False) -> dict[str, Any]:
    """A case for the page; `blind` does not show what became of it."""
    region, text, picture = case.region, case.text, case.picture
    drawing = overlays.draw(root, case)
    card: dict[str, Any] = {
        "key": case.key,
        "label": "",
        "image": drawing.image,
        "layer": drawing.layer,
        "texts": [],
        "facts": [],
    }
    if region is None:
        card["title"] = shorten(picture.file)
        card["facts"] = [shorten(error) for error in picture.errors[:SAID]]
        return card
    name = f"{region.category}: {region.part}" if region.part else region.category
    if text is None:
        card["title"] = shorten(name)
        if not blind:
            said = region.texts[:SAID]
            card["texts"] = [{"text": shorten(x.text), "keep": x.keep} for x in said]
            card["facts"] = _facts(region.scores)
        return card
    card["title"] = shorten(text.text)
    card["facts"] = [] if text.targets else ["denotes nothing"]
    if not blind:
        card["label"] = text.form
        card["facts"] += [shorten(name), *_facts(text.scores)]
    return card


def _facts(scores: Mapping[str, float | None]) -> list[str]:
    return [
        f"{name.replace('_', ' ')} {value:.2f}".replace(".00", "")
        for name in dict.fromkeys((*REGION_SCORES, *TEXT_SCORES))
        if (value := scores.get(name)) is not None
    ]


def _alike(
    root: Path | None, sample: Sequence[Case]
) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """Cards of pairs of pictures that are alike, and how many are."""
    hashed, hashes = [], []
    for case in tqdm(sample, "alike", unit=" pictures", leave=False):
        file = case.picture.file, case.picture.sha256
        pixels = overlays.read_pixels(root, *file) if root else None
        if pixels is None:
            continue
        hashed.append(case)
        hashes.append(likeness.difference_hash(pixels))
    pairs = likeness.alike(np.array(hashes, np.uint64))
    cards = [_card(hashed[i], root) for pair in pairs[:PAIRS] for i in pair]
    counts = {"compared": len(hashed), "pictures": len(pairs), "bits": likeness.BITS}
    return cards, counts


def main(argv: Sequence[str]) -> int:
    """`unires engine report --out engine [--audit audit.csv]`."""
    parser = argparse.ArgumentParser(
        prog="unires engine report",
        description="A page of what the engine kept and dropped and why, with cases of "
        "each form and code, and stats.json of the same numbers. Beside it an audit: "
        "fill in the verdicts of audit.csv, looking at audit.html, and give it back "
        "with --audit to see how much of what was kept is right.",
        epilog="example: unires engine report --out engine; "
        "unires engine report --out engine --audit engine/report/audit.csv",
    )
    options.add_out(parser)
    options.add_pictures(parser)
    parser.add_argument(
        "--cards",
        type=int,
        default=6,
        help="cases shown of each form and code; default: %(default)s",
    )
    parser.add_argument(
        "--looks", type=int, default=200, help="rows of the audit; default: %(default)s"
    )
    parser.add_argument("--audit", default="", help="an audit.csv with verdicts")
    parser.add_argument(
        "--near",
        type=int,
        default=5000,
        help="kept pictures that are compared by how they look, at most; default: "
        "%(default)s",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="of all draws; default: %(default)s"
    )
    args = parser.parse_args(argv)
    if min(args.cards, args.looks, args.near) < 0:
        raise UsageError("--cards, --looks and --near: expected numbers from 0 up")
    page = report(
        args.out,
        pictures=args.pictures,
        cards=args.cards,
        looks=args.looks,
        verdicts=args.audit,
        near=args.near,
        seed=args.seed,
    )
    print(f"{printable(str(page))} shows what was kept, what was dropped and why")
    if not args.audit and (page.parent / audit.CSV).exists():
        print(f"{printable(str(page.parent / audit.CSV))} waits for your verdicts")
    return 0
