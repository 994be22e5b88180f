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

from unires_jax.config import Config
from unires_jax.errors import DataError
from unires_jax.evaluation import breakdown, metrics, predictions, protocols
from unires_jax.evaluation.evaluator import Split
from unires_jax.evaluation.predictions import Predictions
from unires_jax.evaluation.protocols import Protocol
from unires_jax.evaluation.results import Result, values

SAMPLES = 2000  # bootstrap draws
CASES = 12  # expressions shown of each kind
CHUNK = 1 << 22  # drawn pictures in memory at a time

Interval = tuple[float, float]


def protocol_of(sides: Sequence[Predictions], asked: str | None) -> Protocol:
    """The protocol asked for, else the one that both files were scored by.

    Raises DataError if they differ. Files that do not say are scored as `native`.
    """
    if asked:
        return protocols.get(asked)
    found = {line.protocol for side in sides for line in side.lines.values()} - {""}
    if len(found) > 1:
        raise DataError(
            f"{sides[0].path} and {sides[1].path} were scored by {sorted(found)}: add "
            "--protocol=<one> to score the masks of both by it (binary input)"
        )
    return protocols.get(found.pop() if found else "native")


def load(
    found: Predictions,
    splits: Mapping[str, Split],
    config: Config,
    protocol: Protocol,
    images: int | None = None,
) -> dict[str, list[Result]]:
    """Rows of a file by split, with the file's own (I, U) where the protocol is its."""
    scored = predictions.rows(found, splits, config, protocol, images)
    return {name: [_own_pair(r, found) for r in rows] for name, rows in scored.items()}


def binary_input(found: Predictions, protocol: Protocol) -> bool:
    """Whether any of the file's masks had to be scored from its RLE."""
    return any(x.protocol != protocol.name for x in found.lines.values())


def _own_pair(row: Result, found: Predictions) -> Result:
    line = found.lines.get(row.key)
    if line is None or line.pair is None or line.protocol != row.protocol:
        return row
    return dataclasses.replace(row, intersection=line.pair[0], union=line.pair[1])


def differences(
    a: Sequence[Result], b: Sequence[Result], *, samples: int = SAMPLES, seed: int = 0
) -> dict[str, dict[str, Any]]:
    """Each metric of `a` and `b`, b - a, and its 95 % interval.

    The rows are those of the same expressions in the same order.
    """
    rules = breakdown.protocol_of(a)
    one, other = _sums(a, rules), _sums(b, rules)
    drawn = _drawn(one, other, samples, seed)
    found = {}
    for i, (ours, shown) in enumerate(rules.columns().items()):
        left, right = _ratio(one, i), _ratio(other, i)
        found[ours] = {
            "name": shown,
            "a": left,
            "b": right,
            "difference": None if left is None or right is None else right - left,
            "interval": _interval(drawn[:, i]),
        }
    return found


Sums = tuple[Float64[np.ndarray, "i c"], Float64[np.ndarray, "i c"]]


def _sums(rows: Sequence[Result], rules: Protocol) -> Sums:
    """Numerators and denominators of every metric, added up for each picture."""
    value = values(rows)
    targeted = np.array([r.targeted for r in rows], bool)
    none = np.array([r.said_none for r in rows], bool)
    pairs = np.array([(r.intersection, r.union) for r in rows], np.int64).reshape(-1, 2)
    inside, around = pairs[:, 0], pairs[:, 1]
    if rules.no_target:
        inside, around = metrics.counted(inside, around, targeted, none)
    every = np.ones(len(rows)) if rules.no_target else targeted.astype(float)
    above = [metrics.reaches(value, t, rules) * targeted for t in rules.precision]
    tops = [value * every, inside * every, *above]
    bottoms = [every, around * every, *[targeted] * len(above)]
    _, picture = np.unique([r.image for r in rows], return_inverse=True)
    size = picture.max() + 1 if len(rows) else 0
    top, bottom = (
        np.stack([np.bincount(picture, c, size) for c in group], axis=1, dtype=float)
        for group in (tops, bottoms)
    )
    bottom[:, 0] += rules.mean_epsilon / max(size, 1)
    return top, bottom


def _ratio(sums: Sums, column: int) -> float | None:
    top, bottom = (part[:, column].sum() for part in sums)
    return float(top / bottom) if bottom else None


def _drawn(a: Sums, b: Sums, samples: int, seed: int) -> Float64[np.ndarray, "s c"]:
    """Every metric's b - a in `samples` draws of as many pictures as there are."""
    size, columns = a[0].shape
    if not size:
        return np.empty((0, columns))
    rng = np.random.default_rng(seed)
    share = np.full(size, 1 / size)
    step = max(1, CHUNK // size)
    found = []
    for start in range(0, samples, step):
        times = rng.multinomial(size, share, min(step, samples - start)).astype(float)
        with np.errstate(divide="ignore", invalid="ignore"):
            left, right = ((times @ top) / (times @ bottom) for top, bottom in (a, b))
        found.append(right - left)
    return np.concatenate(found)


def _interval(drawn: Float64[np.ndarray, "s"]) -> Interval | None:
    """The 2.5th and 97.5th percentile; draws without a sample are left out."""
    finite = drawn[np.isfinite(drawn)]
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
    change = values(b) - values(a)
    order = np.argsort(-change, kind="stable")
    better = [(a[i], b[i]) for i in order if change[i] > 0]
    worse = [(a[i], b[i]) for i in order[::-1] if change[i] < 0]
    return {"better": _distinct(better), "worse": _distinct(worse)}


def _distinct(cases: list[tuple[Result, Result]]) -> list[tuple[Result, Result]]:
    first: dict[tuple[int, str], tuple[Result, Result]] = {}
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


def compare(
    split: Split, a: Sequence[Result], b: Sequence[Result], *, seed: int = 0
) -> Compared:
    """Every level's numbers and the expressions that differ most."""
    one, other = breakdown.by_level(a), breakdown.by_level(b)
    return Compared(
        split,
        {name: differences(one[name], other[name], seed=seed) for name in one},
        {name: breakdown.summary(rows).count for name, rows in one.items()},
        largest(a, b),
    )
