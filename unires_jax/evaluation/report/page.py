"""report.html: one page without other files, pictures before numbers in detail."""

import base64
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from unires_jax.data.records import LEVELS, Record
from unires_jax.evaluation.breakdown import BLOCKS, SIZE_NAMES, WORD_NAMES, by_level
from unires_jax.evaluation.evaluator import Split
from unires_jax.evaluation.report import pictures
from unires_jax.evaluation.results import Result
from unires_jax.pages import template

SIDE = 320  # longer side of a picture, pixels
CASES = 6  # pictures in a row of cases
ATTENDED = 3  # expressions whose attention is drawn
GROUPS = 6  # group tokens drawn of each level
BINS = 20  # of the IoU histogram


@dataclasses.dataclass(frozen=True)
class LevelAttention:
    """Where the group tokens of one level look."""

    patches: Float[np.ndarray, "g s s"]  # weights on the patches of the square canvas
    words: Float[np.ndarray, "g l"] | None  # weights on the words in the region filter


@dataclasses.dataclass(frozen=True)
class Attention:
    """Attention of the model for one picture and sentence."""

    words: list[str]  # tokens as text
    levels: dict[str, LevelAttention]  # "low", "high"


Attend = Callable[[Record, str], Attention]


@dataclasses.dataclass(frozen=True)
class SplitResults:
    """What the report tells of one split."""

    split: Split
    metrics: Mapping[str, Any]  # its block in metrics.json
    results: Sequence[Result]


def render(
    splits: Mapping[str, SplitResults],
    about: Mapping[str, Any],
    attend: Attend | None = None,
) -> str:
    """The page. `about` is shown as it is; `attend` adds attention pictures."""
    page = template(
        Path(__file__).with_name("report.html"),
        percent=percent,
        rgb=lambda colour: f"rgb{colour}",
    )
    return page.render(
        about=about,
        colours=pictures.COLOURS,
        levels=LEVELS,
        blocks=BLOCKS,
        splits={name: _section(results, attend) for name, results in splits.items()},
    )


def percent(value: float | None) -> str:
    """A fraction as the field prints it: 71.2; a dash where nothing was scored."""
    return "-" if value is None else f"{100 * value:.1f}"


def _section(scored: SplitResults, attend: Attend | None) -> dict[str, Any]:
    rows = [r for r in scored.results if r.targeted]
    none = [r for r in scored.results if not r.targeted]
    rng = np.random.default_rng(0)
    levels = {name: group for name, group in by_level(rows).items() if group}
    galleries = [
        {"level": name, "kind": kind, "cards": _cards(scored.split, chosen)}
        for name in LEVELS
        if name in levels
        for kind, chosen in select(levels[name], rng).items()
    ]
    if none:
        chosen = select(none, rng)["random"]
        cards = _cards(scored.split, chosen)
        galleries.append({"level": "no target", "kind": "random", "cards": cards})
    return {
        "metrics": scored.metrics,
        "columns": scored.metrics["names"],
        "words": [n for n in WORD_NAMES if n in scored.metrics["by_words"]["pooled"]],
        "histograms": {n: _histogram(levels[n]) for n in LEVELS if n in levels},
        "sizes": [n for n in SIZE_NAMES if n in scored.metrics["by_size"]["pooled"]],
        "galleries": galleries,
        "attention": _attention(scored.split, rows, attend, rng) if attend else [],
    }


def select(rows: Sequence[Result], rng: np.random.Generator) -> dict[str, list[Result]]:
    """Best, worst and random cases, each from different pictures where possible."""
    shuffled = [rows[i] for i in rng.permutation(len(rows))]
    return {
        "best": _distinct(sorted(shuffled, key=lambda r: -r.iou)),
        "worst": _distinct(sorted(shuffled, key=lambda r: r.iou)),
        "random": _distinct(shuffled),
    }


def _distinct(rows: Sequence[Result]) -> list[Result]:
    first: dict[int, Result] = {}
    for r in rows:
        first.setdefault(r.image, r)
    repeated = [r for r in rows if first[r.image] is not r]
    return [*first.values(), *repeated][:CASES]


def _cards(split: Split, rows: Sequence[Result]) -> list[dict[str, Any]]:
    return [
        {
            "row": r,
            "image": jpeg(pictures.picture(split[r.image], SIDE)),
            "layer": png(pictures.layer(r, SIDE)),
        }
        for r in rows
    ]


def _histogram(rows: Sequence[Result]) -> list[float]:
    """Share of expressions in each bin of IoU, relative to the fullest bin."""
    counts, _ = np.histogram([r.iou for r in rows], BINS, (0, 1))
    return [float(n) for n in counts / counts.max()]


def _attention(
    split: Split, rows: Sequence[Result], attend: Attend, rng: np.random.Generator
) -> list[dict[str, Any]]:
    """Cards of the strongest groups for some well-answered expressions."""
    parts_first = sorted(rows, key=lambda r: (-round(r.iou, 1), -r.level))
    chosen = _distinct(parts_first)[:ATTENDED]
    cards = []
    for r in chosen:
        record = split[r.image]
        image = pictures.picture(record, SIDE)
        attention = attend(record, r.sentence)
        levels = {
            name: [
                _group(image, level, int(g), attention.words)
                for g in strongest(level.patches)
            ]
            for name, level in attention.levels.items()
        }
        (case,) = _cards(split, [r])
        filtered = any(x.words is not None for x in attention.levels.values())
        cards.append({"case": case, "levels": levels, "filtered": filtered})
    return cards


def strongest(patches: Float[np.ndarray, "g s s"]) -> list[int]:
    """The groups whose attention is most concentrated, at most GROUPS."""
    flat = patches.reshape(len(patches), -1)
    peak = flat.max(1) / np.maximum(flat.mean(1), 1e-12)
    return [int(g) for g in np.argsort(-peak, kind="stable")[:GROUPS]]


def _group(
    image: UInt8[np.ndarray, "h w 3"],
    level: LevelAttention,
    group: int,
    words: Sequence[str],
) -> dict[str, Any]:
    shares = []
    if level.words is not None:
        weights = level.words[group]
        shares = [
            {"text": word, "share": float(w / max(weights.max(), 1e-12))}
            for word, w in zip(words, weights, strict=True)
        ]
    return {
        "index": group,
        "image": jpeg(pictures.heat(image, level.patches[group])),
        "words": shares,
    }


def jpeg(image: UInt8[np.ndarray, "h w 3"]) -> str:
    """An RGB picture as a data URI."""
    return _uri("jpeg", pictures.encode(image, 82))


def png(rgba: UInt8[np.ndarray, "h w 4"]) -> str:
    """An RGBA layer as a data URI."""
    data = cv2.imencode(".png", cv2.cvtColor(rgba, cv2.COLOR_RGBA2BGRA))[1]
    return _uri("png", data.tobytes())


def _uri(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
