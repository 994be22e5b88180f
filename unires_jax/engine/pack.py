"""`unires engine pack`: what the filters kept, as MRES JSONL.

The files are those that `unires build mres32m` reads: `train-00000.jsonl.gz` and so on
in the folder of the pictures. What their format has no field for (forms, scores,
sources) lies beside them in `scores/`, under the same names: in the folder itself the
reader would take it for lines.
"""

import argparse
import contextlib
import dataclasses
import hashlib
import io
import itertools
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from unires_jax import __version__, disk, documents
from unires_jax.data.records import LEVELS, PART, Expression, Mask, Record
from unires_jax.engine import filters, options, picture_files, shard_files
from unires_jax.engine.licences import licence_lines
from unires_jax.engine.plan_file import Plan, picture_folder
from unires_jax.engine.record import Picture, Region, Text, level_of
from unires_jax.engine.stages import FILTER
from unires_jax.errors import DataError, Kind, UsageError, printable
from unires_jax.files import local, whole, write_whole
from unires_jax.pixels.masks import RunMask
from unires_jax.prepare.mres.jsonl import SUFFIXES
from unires_jax.prepare.mres.write import write

SCORES_SCHEMA = "mres-engine-scores/1"
TRAIN, VAL = "train", "val"
PICTURES = 1024  # of one file, about; a packed file is one worker's of `build`; ours
README, SCORES = "README.md", "scores"
LISTING = f"{SCORES}/pack.json"  # which files are the pack's, so that it can go again
_TITLE = "# An MRES set made by unires engine"
_LINES = re.compile(r"(train|val)-\d{5,}\.jsonl\.gz")
_HALF = re.compile(_LINES.pattern + r"\.\d+\.tmp")  # of a pack that was killed


@dataclasses.dataclass(frozen=True)
class Packed:
    """What a pack holds."""

    folder: Path
    splits: dict[str, dict[str, int]]  # pictures, objects, parts, texts of each
    without_text: int  # pictures that were kept and have no text: left out
    dropped: int  # pictures that were not kept


def pack(
    out: str | Path,
    into: str | Path = "",
    *,
    pictures: str | Path = "",
    embed: bool = False,
    copy: bool = False,
    val_share: float = 0.0,
    overwrite: bool = False,
    licences: Sequence[str] = (),
) -> Packed:
    """Write the pack of an engine's folder `out`.

    It goes into the folder of the pictures (by default the plan's), whose names its
    lines hold; or `into` another, then with the pictures in the lines (`embed`) or
    copied beside them (`copy`). About `val_share` of the pictures, chosen by the hash
    of their file, are val's: they stay so whatever is added. Every picture is the file
    that was planned. Raises UsageError for options that cannot go together, DataError
    where the folder holds lines of others or, unless `overwrite`, a pack, for a filter
    that has not come to its end, and for a picture that is gone or was changed;
    StaleError for a filter that is older than the scores.
    """
    if not 0 <= val_share < 1:
        raise UsageError(f"--val_share={val_share}: expected from 0 up to below 1")
    shards = shard_files.paths(out, FILTER)
    filters.require_current(out)
    root = picture_folder(local(out), pictures)
    folder = local(into) if into else root
    if folder.resolve() != root.resolve() and not (embed or copy):
        raise UsageError(
            f"{folder} is not the folder of the pictures ({root}), and lines name "
            "pictures below their own folder: add --embed (the pictures in the lines, "
            "a third larger) or --copy, or leave --into out"
        )
    per_file = -(-PICTURES // max(1, sum(1 for _ in shard_files.read(shards[0]))))
    groups = [shards[i : i + per_file] for i in range(0, len(shards), per_file)]
    splits = (TRAIN, VAL) if val_share else (TRAIN,)
    names = {
        (split, k): f"{split}-{k:05}.jsonl.gz"
        for split in splits
        for k in range(len(groups))
    }
    _clear(folder, overwrite)
    (folder / SCORES).mkdir(parents=True, exist_ok=True)
    disk.require_writable(folder)
    listing = {"schema": SCORES_SCHEMA, "finished": False, "files": [*names.values()]}
    write_whole(folder / LISTING, json.dumps(listing, indent=1))
    tally = _Tally()
    for (split, k), name in tqdm(names.items(), "pack", unit=" files", leave=False):
        share = val_share if split == VAL else -val_share
        drawn = _drawn(groups[k], share, tally)
        first = next(drawn, None)
        if first is None:
            continue
        with _score_lines(folder / SCORES / name) as scores:
            records = _records(itertools.chain([first], drawn), root, tally, scores)
            write(folder / name, tally.counted(split, records), embed=embed)
    if not tally.splits:
        raise DataError(
            "nothing was kept; `unires engine report` says why, and `unires engine "
            "filter` with other thresholds keeps more",
            place=str(out),
        )
    packed = Packed(folder, tally.splits, tally.without_text, tally.dropped)
    lines = licence_lines(tally.sources, licences)
    write_whole(folder / README, _readme(packed, lines, Plan.find(local(out))))
    files = [n for n in names.values() if (folder / n).exists()]
    listing |= {"finished": True, "files": files, "splits": packed.splits}
    write_whole(folder / LISTING, json.dumps(listing, indent=1))
    return packed


@dataclasses.dataclass(frozen=True)
class Content:
    """What is kept of a picture."""

    regions: tuple[Region, ...]
    texts: tuple[tuple[Region, Text], ...]  # with the region that holds it

    @classmethod
    def of(cls, picture: Picture) -> "Content":
        """Regions with a mask, and texts about these alone, each once."""
        regions = tuple(r for r in picture.regions if r.keep and r.rle and r.area)
        there = {r.id for r in regions}
        texts = {
            (level_of(r, x), x.text, frozenset(x.targets)): (r, x)
            for r in picture.regions
            for x in r.texts
            if x.keep and there.issuperset(x.targets)
        }
        return cls(regions, tuple(texts.values()))


class _Tally:
    """Counts what goes by."""

    def __init__(self) -> None:
        self.splits: dict[str, dict[str, int]] = {}
        self.without_text = self.dropped = 0
        self.sources = Counter[str]()

    def counted(self, split: str, records: Iterator[Record]) -> Iterator[Record]:
        """The records, counted for a split as they pass."""
        names = ("pictures", "objects", "parts", "texts")
        counts = self.splits.setdefault(split, dict.fromkeys(names, 0))
        for record in records:
            parts = sum(mask.level == PART for mask in record.masks)
            counts["pictures"] += 1
            counts["objects"] += len(record.masks) - parts
            counts["parts"] += parts
            counts["texts"] += len(record.expressions)
            yield record


def _drawn(
    shards: Sequence[Path], share: float, tally: _Tally
) -> Iterator[tuple[Picture, Content]]:
    """The pictures of a split with what is kept of them.

    `share` is val's share where val is asked for, and minus it where train is.
    """
    for shard in shards:
        for picture in shard_files.read(shard):
            if is_val(picture, abs(share)) != (share > 0):
                continue
            content = Content.of(picture)
            if not picture.keep:
                tally.dropped += 1
            elif not content.texts:
                tally.without_text += 1
            else:
                yield picture, content


def is_val(picture: Picture, share: float) -> bool:
    """Whether a picture is val's: by its file's hash, whatever else is planned."""
    digest = hashlib.sha256(f"val {picture.sha256}".encode()).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64


def to_record(picture: Picture, content: Content, image: bytes) -> Record:
    """The record of a picture; positions number its masks and sentences.

    All that denotes nothing at a level is one referent: training draws referents, and
    draws of nothing would else outnumber those of the things.
    """
    places = {region.id: i for i, region in enumerate(content.regions)}
    referents: dict[tuple[int, tuple[int, ...]], int] = {}
    expressions = []
    for number, (region, text) in enumerate(content.texts):
        targets = tuple(places[name] for name in text.targets)
        level = LEVELS.index(level_of(region, text))
        same = level, tuple(sorted(targets))
        expressions.append(
            Expression(
                ref_id=referents.setdefault(same, number),
                sent_id=number,
                raw=text.text,
                sent=" ".join(text.text.lower().split()),
                level=level,
                targets=targets,
                no_target=not targets,
            )
        )
    return Record(
        image=image,
        image_id=picture.image_id,
        height=picture.height,
        width=picture.width,
        masks=tuple(_mask(picture, r, places) for r in content.regions),
        expressions=tuple(expressions),
        coco_id=picture.coco_id,
        filename=picture.file,
        source="engine",
    )


def _mask(picture: Picture, region: Region, places: dict[str, int]) -> Mask:
    try:
        runs = RunMask.from_counts(region.rle, picture.height, picture.width)
    except DataError as error:
        raise error.at(f"image {picture.image_id}, region {region.id}") from None
    return Mask(
        ann_id=places[region.id],
        category=region.category,
        rle=region.rle,
        bbox=runs.bbox,
        area=float(runs.area),
        part=region.part,
        level=LEVELS.index(region.level),
        parent=places.get(region.parent, -1),
    )


def _records(
    pictures: Iterator[tuple[Picture, Content]],
    root: Path,
    tally: _Tally,
    scores: io.TextIOWrapper,
) -> Iterator[Record]:
    """The records of pictures; a line of scores is written for each."""
    for picture, content in pictures:
        record = to_record(picture, content, read_planned(root, picture))
        line = _score_line(picture, content, record)
        print(json.dumps(line, ensure_ascii=False), file=scores)
        for region in content.regions:
            tally.sources.update(region.src.values())
        tally.sources.update(text.src for _, text in content.texts)
        yield record


def read_planned(root: Path, picture: Picture) -> bytes:
    """The file of a picture. Raises DataError if it is gone or is another now."""
    data = picture_files.planned(root, picture.file, picture.sha256)
    if data is None:
        raise DataError(
            "was changed since `unires engine plan`: its masks belong to another "
            "picture; put it back, or plan and run with another --out",
            place=str(root / picture.file),
            kind=Kind.SIZE_DIFFERS,
        )
    return data


def _score_line(picture: Picture, content: Content, record: Record) -> dict[str, Any]:
    """Beside the record's line: what that has no field for."""
    return {
        "schema": SCORES_SCHEMA,
        "image_id": picture.image_id,
        "file": picture.file,
        "sha256": picture.sha256,
        "masks": [
            {
                "id": str(mask.ann_id),
                "region": region.id,
                "category_raw": region.category_raw,
                "box": list(region.box),
                "scores": region.scores,
                "src": region.src,
            }
            for mask, region in zip(record.masks, content.regions, strict=True)
        ],
        "expressions": [
            {
                "ref_id": expression.ref_id,
                "sent_id": expression.sent_id,
                "text": text.text,
                "form": text.form,
                "of": text.of,
                "raw": text.raw,
                "src": text.src,
                "scores": text.scores,
            }
            for expression, (_, text) in zip(
                record.expressions, content.texts, strict=True
            )
        ],
    }


@contextlib.contextmanager
def _score_lines(path: Path) -> Iterator[io.TextIOWrapper]:
    """A file of lines beside those of the same name, whole or not at all."""
    with whole(path) as temporary, shard_files.lines(temporary) as text:
        yield text


def _clear(folder: Path, overwrite: bool) -> None:
    """Remove a pack that may go. Raises DataError for one that may not, and others'.

    One that was never finished may: the same command makes it again.
    """
    path = folder / LISTING
    listing = documents.read_object(path) if path.exists() else {}
    finished = listing.get("finished", False) is True
    if finished and not overwrite:
        raise DataError(
            "a pack is there already; --overwrite replaces it", place=str(folder)
        )
    names = listing.get("files")
    ours = {n for n in (names if isinstance(names, list) else []) if _is_name(n)}
    present = [*folder.iterdir()] if folder.is_dir() else []
    others = [p for p in present if p.name.endswith(SUFFIXES) and p.name not in ours]
    if others:
        raise DataError(
            "is no file of this pack, and `unires build` would read it along; move it "
            "away, or pack --into another folder",
            place=str(min(others)),
        )
    readme = folder / README
    if readme.exists() and not readme.read_bytes().startswith(_TITLE.encode()):
        raise DataError(
            "is no pack's and would be overwritten; rename it, or pack --into another "
            "folder",
            place=str(readme),
        )
    for place in (folder, folder / SCORES) if listing else ():
        for half in place.glob("*.tmp"):
            if _HALF.fullmatch(half.name):
                half.unlink(missing_ok=True)
    for name in ours:
        (folder / name).unlink(missing_ok=True)
        (folder / SCORES / name).unlink(missing_ok=True)


def _is_name(name: object) -> bool:
    return isinstance(name, str) and _LINES.fullmatch(name) is not None


def _readme(packed: Packed, licences: dict[str, str], plan: Plan | None) -> str:
    rows = [
        f"| {split} | " + " | ".join(f"{n:,}" for n in counts.values()) + " |"
        for split, counts in packed.splits.items()
    ]
    origin = [
        f"- {_plain(Path(name).name)}: SHA-256 {_plain(digest)}"
        for name, digest in (plan.sources if plan else {}).items()
    ]
    left = f"Left out: {packed.dropped:,} pictures that were dropped"
    lines = [
        _TITLE,
        "",
        f"unires_jax {__version__}. Lines: MRES JSONL; `unires build mres32m --raw` "
        "this folder makes a data set of it.",
        f"`{SCORES}/` holds, under the same names, the form, scores and source of "
        "every sentence.",
        "",
        "| split | pictures | objects | parts | sentences |",
        "|---|---|---|---|---|",
        *rows,
        "",
        f"{left}, {packed.without_text:,} without a sentence.",
        "",
        *(["## Boxes", "", *origin, ""] if origin else []),
        "## Licences",
        "",
        "Sentences and masks were made by these; the pictures keep their own terms.",
        "",
        *(f"- {_plain(what)}: {_plain(text)}" for what, text in licences.items()),
    ]
    return "\n".join(lines) + "\n"


def _plain(text: str) -> str:
    """Foreign words within a line of Markdown."""
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", printable(text))


def main(argv: Sequence[str]) -> int:
    """`unires engine pack --out engine [--into DIR --embed]`."""
    parser = argparse.ArgumentParser(
        prog="unires engine pack",
        description="Write what the filters kept as MRES JSONL, which `unires doctor` "
        "checks and `unires build mres32m` packs, into the folder of the pictures. "
        f"Forms, scores and sources of every sentence lie in its folder {SCORES}/, "
        "licences in its README.md.",
        epilog="example: unires engine pack --out engine --val_share 0.05",
    )
    options.add_out(parser)
    options.add_pictures(parser)
    parser.add_argument(
        "--into",
        default="",
        help="another folder for the lines; with --embed or --copy",
    )
    parser.add_argument(
        "--embed", action="store_true", help="put the pictures into the lines (base64)"
    )
    parser.add_argument(
        "--copy", action="store_true", help="copy the pictures beside the lines"
    )
    parser.add_argument(
        "--val_share",
        type=float,
        default=0.0,
        help="share of pictures that become the split val, by their files' hashes",
    )
    parser.add_argument(
        "--licence",
        action="append",
        default=[],
        metavar="WHAT: TERMS",
        help="a line for README.md, of your pictures say; may be given again",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace a pack that is there"
    )
    args = parser.parse_args(argv)
    packed = pack(
        args.out,
        args.into,
        pictures=args.pictures,
        embed=args.embed,
        copy=args.copy,
        val_share=args.val_share,
        overwrite=args.overwrite,
        licences=args.licence,
    )
    for split, counts in packed.splits.items():
        words = ", ".join(f"{n:,} {name}" for name, n in counts.items())
        print(f"{split}: {words}")
    left = packed.dropped + packed.without_text
    print(
        f"left out: {left:,} pictures, {packed.without_text:,} of them without a text"
    )
    print(f"next: unires build mres32m --raw {printable(str(packed.folder))}")
    return 0
