"""What metrics.json says of a split: numbers by level, size and name; reading check."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from unires_jax.data.records import LEVELS
from unires_jax.evaluation import metrics, protocols
from unires_jax.evaluation.protocols import BOUNDARY, Protocol
from unires_jax.evaluation.results import Result
from unires_jax.pixels.masks import RunMask

BLOCKS = (*LEVELS, "pooled")  # of metrics.json and of tables

# Targets by size and sentences by length. The edges, which belong upwards, are ours.
SIZE_EDGES = (0.005, 0.02, 0.1)  # shares of the image's area
SIZE_NAMES = ("below 0.5 %", "0.5 to 2 %", "2 to 10 %", "10 % and more")
WORD_EDGES = (3, 6, 10)
WORD_NAMES = ("1 to 2 words", "3 to 5 words", "6 to 9 words", "10 words and more")

# In place of N-acc and T-acc.
UNTRAINED = "untrained"  # the model's head never saw a no-target expression
UNDECIDED = "not decided"  # a file without `no_target`, empty masks


def summarize(
    results: Sequence[Result], *, undecided: str = UNDECIDED
) -> dict[str, Any]:
    """The block of a split in metrics.json: fractions by level, size and name.

    IoU metrics cover targeted expressions, and those without a target by the rule of
    the rows' protocol (`Protocol.no_target`), which `without_target` counts and names;
    the breakdowns never cover them. `no_target` is `undecided` where nobody said of any
    whether something is meant.
    """
    protocol = protocol_of(results)
    levels = by_level([r for r in results if r.targeted])
    blocks: dict[str, Any] = {
        name: {
            **summary(rows, protocol).as_dict(),
            **ceilings(levels[name]),
        }
        for name, rows in by_level(results).items()
    }
    blocks["part"]["whole_object_confusion"] = _confusion(levels["part"])

    def by(label: Callable[[Result], str]) -> dict[str, Any]:
        return {name: _by(rows, label) for name, rows in levels.items()}

    return {
        **blocks,
        "no_target": _no_target(results) or undecided,
        "without_target": {
            "count": sum(not r.targeted for r in results),
            "rule": protocol.without_target(),
        },
        "cut": sum(r.cut for r in results),
        "by_size": by(lambda r: size_bucket(r.target)),
        "by_words": by(lambda r: word_bucket(r.sentence)),
        "by_part": _by(levels["part"], lambda r: r.part),
        "by_category": by(lambda r: r.category),
        "images": len({r.image for r in results}),
        "expressions": len(results),
        "without_polygons": sum(r.substituted for r in results),
    }


def by_level(results: Sequence[Result]) -> dict[str, list[Result]]:
    """Rows of each of BLOCKS."""
    levels = {name: [r for r in results if LEVELS[r.level] == name] for name in LEVELS}
    return {**levels, "pooled": list(results)}


def protocol_of(results: Sequence[Result]) -> Protocol:
    """The one protocol of rows; `native` for none."""
    return protocols.get(results[0].protocol) if results else protocols.NATIVE


def columns(
    results: Sequence[Result], protocol: Protocol | None = None
) -> metrics.Columns:
    """What rows add to each number of their protocol."""
    return metrics.Columns.of(
        [r.intersection for r in results],
        [r.union for r in results],
        protocol=protocol or protocol_of(results),
        targeted=[r.targeted for r in results],
        said_none=[r.said_none for r in results],
        boundary=_counts([r.boundary for r in results]),
    )


def summary(
    results: Sequence[Result], protocol: Protocol | None = None
) -> metrics.Summary:
    """mIoU, bIoU, oIoU and P@X of rows, by their protocol."""
    return columns(results, protocol).summary()


def ceilings(results: Sequence[Result]) -> dict[str, float | int | None]:
    """ceiling_mIoU and ceiling_boundary_mIoU: of the ground truth after the decoder's
    grid; None where they were not taken.
    """
    rows = [r for r in results if r.ceiling is not None]
    inside, around = _counts([r.ceiling for r in rows]) or ([], [])
    boundary = _counts([r.ceiling_boundary for r in rows])
    numbers = metrics.summarize(inside, around, boundary=boundary).as_dict()
    return {f"ceiling_{name}": numbers[name] for name in ("mIoU", BOUNDARY)}


def _counts(
    pairs: Sequence[tuple[int, int] | None],
) -> tuple[list[int], list[int]] | None:
    """The Is and the Us; None where any pair was not taken."""
    taken = [pair for pair in pairs if pair is not None]
    if len(taken) < len(pairs):
        return None
    return [i for i, _ in taken], [u for _, u in taken]


def _by(results: Sequence[Result], label: Callable[[Result], str]) -> dict[str, Any]:
    """A block for each label, in alphabetical order."""
    groups: dict[str, list[Result]] = {}
    for r in results:
        groups.setdefault(label(r), []).append(r)
    return {name: summary(groups[name]).as_dict() for name in sorted(groups)}


def size_bucket(target: RunMask) -> str:
    """Which of SIZE_NAMES a target falls into."""
    share = target.area / (target.height * target.width)
    return SIZE_NAMES[int(np.searchsorted(SIZE_EDGES, share, side="right"))]


def word_bucket(sentence: str) -> str:
    """Which of WORD_NAMES a sentence's number of words falls into."""
    words = len(sentence.split())
    return WORD_NAMES[int(np.searchsorted(WORD_EDGES, words, side="right"))]


def _confusion(parts: Sequence[Result]) -> dict[str, float | int | None]:
    flags = [r.confused for r in parts if r.confused is not None]
    return {"share": float(np.mean(flags)) if flags else None, "count": len(flags)}


def _no_target(results: Sequence[Result]) -> dict[str, float | int | None] | None:
    """N-acc and T-acc; None where nobody decided."""
    if all(r.no_target is None for r in results):
        return None
    return metrics.no_target_accuracy(
        np.array([r.said_none for r in results], bool),
        np.array([not r.targeted for r in results], bool),
        protocol_of(results),
    )


def derange(results: Sequence[Result]) -> list[Result]:
    """Each answer scored against another target of its image and level (reading check).

    The distinct targets of an image and level are shifted by one. Expressions whose
    level has no other target in the image are left out. A model that ignores the
    sentence scores about the same on these rows as on their originals.
    """
    groups: dict[tuple[int, int], dict[RunMask, None]] = {}
    for r in results:
        if r.targeted:
            groups.setdefault((r.image, r.level), {})[r.target] = None
    swapped = []
    for r in results:
        targets = list(groups.get((r.image, r.level), ()))
        if not r.targeted or len(targets) < 2:
            continue
        target = targets[(targets.index(r.target) + 1) % len(targets)]
        intersection, union = r.mask.intersection_union(target)
        swapped.append(
            dataclasses.replace(
                r,
                target=target,
                intersection=intersection,
                union=union,
                boundary=None,
            )
        )
    return swapped


def reading_check(results: Sequence[Result]) -> dict[str, Any]:
    """mIoU with the sentences deranged, and of the same answers as they belong."""
    swapped = derange(results)
    keys = {r.key for r in swapped}
    aligned = by_level([r for r in results if r.key in keys])
    return {
        name: {
            "count": len(rows),
            "aligned_mIoU": summary(aligned[name]).as_dict()["mIoU"],
            "deranged_mIoU": summary(rows).as_dict()["mIoU"],
        }
        for name, rows in by_level(swapped).items()
    }
