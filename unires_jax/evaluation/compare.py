"""Two sets of answers side by side, and the expressions where they differ most.

The interval of a difference is a paired bootstrap over pictures: the expressions of a
picture are no independent samples (sentences of one referent are answered alike), so
whole pictures are drawn, the same for both sides. Source: ours.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float64

from unires_jax.errors import DataError
from unires_jax.evaluation import breakdown, protocols
from unires_jax.evaluation.evaluator import Split
from unires_jax.evaluation.metrics import Columns, ratios
from unires_jax.evaluation.predictions import Predictions
from unires_jax.evaluation.predictors import score_file
from unires_jax.evaluation.protocols import Protocol
from unires_jax.evaluation.results import Result, ious
from unires_jax.pixels.masks import RunMask

SAMPLES = 2000  # bootstrap draws
CASES = 12  # expressions of each kind on the page
CHUNK = 1 << 22  # drawn pictures in memory at a time

Interval = tuple[float, float]


def protocol_of(files: Sequence[Predictions], name: str | None) -> Protocol:
    """The protocol of that name, else the one that both files were scored by.

    Raises DataError if they differ. Files that do not say are scored as `native`.
    """
    if name:
        return protocols.get(name)
    names = {line.protocol for file in files for line in file.lines.values()} - {""}
    if len(names) > 1:
        raise DataError(
            f"{files[0].path} and {files[1].path} were scored by {sorted(names)}: add "
            "--protocol=<one> to score the masks of both by it (binary input)"
        )
    return protocols.get(names.pop() if names else "native")


def load(
    file: Predictions,
    splits: Mapping[str, Split],
    protocol: Protocol,
    images: int | None = None,
) -> dict[str, list[Result]]:
    """Rows of a file by split, with the file's own (I, U) where the protocol is its."""
    scored = score_file(file, splits, protocol, images)
    return {
        name: [_stored_pair(r, file) for r in rows] for name, rows in scored.items()
    }


def binary_input(file: Predictions, protocol: Protocol) -> bool:
    """Whether any of the file's masks had to be scored from its RLE."""
    return any(x.protocol != protocol.name for x in file.lines.values())


def _stored_pair(row: Result, file: Predictions) -> Result:
    line = file.lines.get(row.key)
    if line is None or line.pair is None or line.protocol != row.protocol:
        return row
    return dataclasses.replace(row, intersection=line.pair[0], union=line.pair[1])


def differences(
    a: Sequence[Result], b: Sequence[Result], *, seed: int = 0
) -> dict[str, dict[str, Any]]:
    """Each metric of `a` and `b`, b - a, and its 95 % interval.

    The rows are those of the same expressions in the same order.
    """
    rules = breakdown.protocol_of(a)
    columns = [breakdown.columns(rows, rules) for rows in (a, b)]
    numbers = [x.summary().as_dict() for x in columns]
    _, pictures = np.unique([r.image for r in a], return_inverse=True)
    resampled = _resampled(columns[0], columns[1], pictures, seed)
    metrics = {}
    for i, (ours, name) in enumerate(rules.columns().items()):
        first, second = (x[ours] for x in numbers)
        difference = None if first is None or second is None else second - first
        sides = {"name": name, "a": first, "b": second, "difference": difference}
        metrics[ours] = sides | {"interval": _interval(resampled[:, i])}
    return metrics


def _resampled(
    a: Columns, b: Columns, pictures: np.ndarray, seed: int
) -> Float64[np.ndarray, "s c"]:
    """Every metric's b - a in SAMPLES draws of as many pictures as there are."""
    sums = a.by_picture(pictures), b.by_picture(pictures)
    size, metrics = sums[0][0].shape
    if not size:
        return np.empty((0, metrics))
    rng = np.random.default_rng(seed)
    share = np.full(size, 1 / size)
    step = max(1, CHUNK // size)
    changes = []
    for start in range(0, SAMPLES, step):
        times = rng.multinomial(size, share, min(step, SAMPLES - start)).astype(float)
        first, second = (
            ratios(times @ numerators, times @ denominators, a.protocol)
            for numerators, denominators in sums
        )
        changes.append(second - first)
    return np.concatenate(changes)


def _interval(changes: Float64[np.ndarray, "s"]) -> Interval | None:
    """The 2.5th and 97.5th percentile; draws without a sample are left out."""
    finite = changes[np.isfinite(changes)]
    if not len(finite):
        return None
    low, high = np.percentile(finite, (2.5, 97.5))
    return float(low), float(high)


def largest(
    a: Sequence[Result], b: Sequence[Result]
) -> dict[str, list[tuple[Result, Result]]]:
    """The expressions that `b` answers better than `a` by most, and the other way.

    One of each picture and target: its sentences would repeat the same two masks.
    """
    change = ious(b) - ious(a)
    order = np.argsort(-change, kind="stable")
    better = [(a[i], b[i]) for i in order if change[i] > 0]
    worse = [(a[i], b[i]) for i in order[::-1] if change[i] < 0]
    return {"better": _distinct(better), "worse": _distinct(worse)}


def _distinct(cases: list[tuple[Result, Result]]) -> list[tuple[Result, Result]]:
    first: dict[tuple[int, RunMask], tuple[Result, Result]] = {}
    for case in cases:
        first.setdefault((case[0].image, case[0].target), case)
    return list(first.values())[:CASES]


@dataclasses.dataclass(frozen=True)
class Compared:
    """One split of a comparison."""

    split: Split
    levels: dict[str, dict[str, dict[str, Any]]]  # level -> metric -> numbers
    counts: dict[str, int]
    cases: dict[str, list[tuple[Result, Result]]]


def compare(split: Split, a: Sequence[Result], b: Sequence[Result]) -> Compared:
    """Every level's numbers and the expressions that differ most."""
    levels_a, levels_b = breakdown.by_level(a), breakdown.by_level(b)
    levels = {n: differences(levels_a[n], levels_b[n]) for n in breakdown.BLOCKS}
    counts = {name: breakdown.summary(rows).count for name, rows in levels_a.items()}
    return Compared(split, levels, counts, largest(a, b))
