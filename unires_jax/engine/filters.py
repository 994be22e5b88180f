"""What of the engine's records is kept, and why not the rest: in seconds, no model.

Two passes over the shards of the last stage that has run: one for what is known of all
pictures alone (files that occur twice, the worst texts of each category), one that
judges each picture by the checks. Other thresholds need nothing but another run.
"""

import array
import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from unires_jax import documents
from unires_jax.engine import checks, lineage, shard_files
from unires_jax.engine.checks import Bar
from unires_jax.engine.markers import StaleError
from unires_jax.engine.record import DIGITS, OBJECT, Picture, Region, Text
from unires_jax.engine.settings import EngineConfig, Thresholds
from unires_jax.engine.stages import FILTER
from unires_jax.engine.thresholds import NONE, resolve
from unires_jax.errors import DataError, Kind
from unires_jax.files import local, write_whole

COUNTS = "counts.json"  # beside the shards, written last
KINDS = ("picture", "object", "part", "text")


@dataclasses.dataclass(frozen=True)
class Summary:
    """How much was kept, and how much went for which code."""

    stage: str  # whose records were judged
    preset: str
    thresholds: Thresholds
    kept: dict[str, int]  # by kind, one of KINDS
    # By kind and code; "" is of what went with something else.
    dropped: dict[str, dict[str, int]]
    forms: dict[str, dict[str, int]]  # of texts: "kept" and "dropped"
    made_of: str = ""  # `lineage.digest` of the stage's shards

    def to_json(self) -> dict[str, Any]:
        """As JSON, which `read` reads back."""
        return dataclasses.asdict(self)


def run(out: str | Path, config: EngineConfig) -> Summary:
    """Judge all pictures of a run; writes `<out>/filter/`.

    Raises DataError where no stage is complete, StaleError where one was made of what
    is not there any more, ConfigError for an unknown preset.
    """
    folder, thresholds = local(out) / FILTER, resolve(config)
    stage = _last_stage(out)
    shards = shard_files.paths(out, stage)
    lineage.require_current(out, stage)
    made_of = lineage.digest(out, stage)
    rules = config.preset != NONE
    bar = _survey(_read_all(shards), Bar(thresholds, rules))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / COUNTS).unlink(missing_ok=True)  # until all shards are the new ones
    for path in folder.glob("shard-*"):
        if path.name not in {shard.name for shard in shards}:
            path.unlink()
    tally, position = _Tally(), 0
    for shard in shards:
        judged = []
        for picture in shard_files.read(shard):
            judged.append(judge(picture, position, bar))
            position += 1
        shard_files.write(folder / shard.name, judged)
        tally.add(judged)
    summary = tally.summary(stage, config.preset, thresholds, made_of)
    write_whole(folder / COUNTS, json.dumps(summary.to_json(), indent=1) + "\n")
    return summary


def read(out: str | Path) -> Summary:
    """The summary of the last `run`. Raises DataError where it has not come to its end.

    Its shards are all there then, and of one set of thresholds.
    """
    path = local(out) / FILTER / COUNTS
    if not path.exists():
        raise DataError(
            "no such file: the filter has not run to its end; run `unires engine "
            "filter`",
            place=str(path),
            kind=Kind.FILE_MISSING,
        )
    try:
        value = documents.read_object(path)
        return Summary(**{**value, "thresholds": Thresholds(**value["thresholds"])})
    except (TypeError, KeyError, DataError) as error:
        raise DataError(
            f"is damaged or of another version ({error}); run `unires engine filter` "
            "again",
            place=str(path),
        ) from None


def require_current(out: str | Path) -> None:
    """Raise unless the last `run` came to its end and judged what is there now.

    DataError or StaleError. A folder that has no stage's shards any more is current.
    """
    summary, stage = read(out), lineage.last_stage(out)
    if not stage:
        return
    lineage.require_current(out, stage)
    if (summary.stage, summary.made_of) != (stage, lineage.digest(out, stage)):
        raise StaleError(
            f"is older than what {stage} has made; run `unires engine filter`",
            place=str(local(out) / FILTER),
        )


def _last_stage(out: str | Path) -> str:
    if stage := lineage.last_stage(out):
        return stage
    raise DataError(
        "holds no stage's shards; run `unires engine run` first",
        place=str(out),
        kind=Kind.FILE_MISSING,
    )


def _read_all(shards: Iterable[Path]) -> Iterator[Picture]:
    for shard in shards:
        yield from shard_files.read(shard)


def _survey(pictures: Iterable[Picture], bar: Bar) -> Bar:
    """The bar with what only all pictures tell.

    Takes 8 bytes for each picture, and for each category one for each other cosine: a
    score has DIGITS digits, so that counts of them give exact quantiles.
    """
    numbers, positions = array.array("Q"), array.array("Q")
    cosines: dict[tuple[str, str], Counter[float]] = {}
    for position, picture in enumerate(pictures):
        usable = not picture.codes and not _first(checks.of_picture(picture, -1, bar))
        if usable and picture.sha256:
            numbers.append(_number(picture.sha256))
            positions.append(position)
        for region in picture.regions:
            for text in region.texts:
                clip = text.scores.get("clip")
                if clip is not None and checks.is_seen(text, region):
                    counts = cosines.setdefault(checks.place(region), Counter())
                    counts[round(clip, DIGITS)] += 1
    share = bar.thresholds.clip_share
    return dataclasses.replace(
        bar,
        repeated=_repeated(np.array(numbers), np.array(positions)),
        floors={place: _floor(counts, share) for place, counts in cosines.items()},
    )


def _number(sha256: str) -> int:
    """64 bits that tell files apart."""
    return int.from_bytes(hashlib.blake2b(sha256.encode(), digest_size=8).digest())


def _repeated(numbers: np.ndarray, positions: np.ndarray) -> frozenset[int]:
    """Positions of all but the first of equal ones."""
    _, first = np.unique(numbers, return_index=True)
    later = np.ones(len(numbers), bool)
    later[first] = False
    return frozenset(positions[later].tolist())


def _floor(counts: Counter[float], share: float) -> float:
    """The value that at most a share of all lies below; equal ones are not parted."""
    allowed = int(min(max(share, 0.0), 1.0) * counts.total() + 1e-9)
    for value in sorted(counts):
        allowed -= counts[value]
        if allowed < 0:
            return value
    return 2.0  # above every cosine


def judge(picture: Picture, position: int, bar: Bar) -> Picture:
    """The picture, the one at `position` of all, with what is kept and the codes.

    A thing has the code of its first check that fails, and what goes with another
    thing (parts with their object, texts with their region or a target) has none.
    What an earlier stage has refused keeps the first of its codes.
    """
    codes = picture.codes[:1] or _first(checks.of_picture(picture, position, bar))
    kept = set[str]()
    doubles = checks.twins(picture, bar.thresholds.twin)
    judged: dict[str, Region] = {}
    for region in sorted(picture.regions, key=lambda r: r.level != OBJECT):
        own = region.codes[:1]
        stays = not codes and (not region.parent or region.parent in kept)
        if stays and not own:
            own = _first(
                checks.of_object(region, picture, doubles, bar)
                if region.level == OBJECT
                else checks.of_part(region, picture, bar)
            )
        if stays and not own:
            kept.add(region.id)
        judged[region.id] = dataclasses.replace(
            region, keep=region.id in kept, codes=own
        )
    twice = checks.said_twice(picture)
    regions = (
        dataclasses.replace(
            judged[region.id],
            texts=tuple(
                _judge_text(text, region, (region.id, i) in twice, kept, bar)
                for i, text in enumerate(region.texts)
            ),
        )
        for region in picture.regions
    )
    return dataclasses.replace(
        picture, keep=not codes, codes=codes, regions=tuple(regions)
    )


def _judge_text(
    text: Text, region: Region, twice: bool, kept: set[str], bar: Bar
) -> Text:
    codes, stays = text.codes[:1], {region.id, *text.targets} <= kept
    if stays and not codes:
        codes = _first(checks.of_text(text, region, twice, bar))
    return dataclasses.replace(text, keep=stays and not codes, codes=codes)


def _first(codes: Iterator[str]) -> tuple[str, ...]:
    return tuple(code for code in [next(codes, "")] if code)


class _Tally:
    """Counts of judged pictures."""

    def __init__(self) -> None:
        self._kept = Counter[str]()
        self._dropped = Counter[tuple[str, str]]()
        self._forms = Counter[tuple[str, bool]]()

    def add(self, pictures: Iterable[Picture]) -> None:
        for picture in pictures:
            self._count("picture", picture)
            for region in picture.regions:
                self._count(region.level, region)
                for text in region.texts:
                    self._count("text", text)
                    self._forms[text.form, text.keep] += 1

    def _count(self, kind: str, thing: Picture | Region | Text) -> None:
        if thing.keep:
            self._kept[kind] += 1
        for code in () if thing.keep else thing.codes or ("",):
            self._dropped[kind, code] += 1

    def summary(
        self, stage: str, preset: str, thresholds: Thresholds, made_of: str
    ) -> Summary:
        codes = sorted(self._dropped)
        forms = sorted({form for form, _ in self._forms})
        return Summary(
            stage=stage,
            preset=preset,
            thresholds=thresholds,
            kept={kind: self._kept[kind] for kind in KINDS},
            dropped={
                kind: {c: self._dropped[k, c] for k, c in codes if k == kind}
                for kind in KINDS
            },
            forms={
                form: {
                    "kept": self._forms[form, True],
                    "dropped": self._forms[form, False],
                }
                for form in forms
            },
            made_of=made_of,
        )
