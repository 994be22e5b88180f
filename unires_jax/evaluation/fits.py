"""Calibrations fitted to what was observed, and how good they are."""

import math

import numpy as np
from jaxtyping import Bool, Float, Float32

from unires_jax.errors import DataError
from unires_jax.inference.calibration import EDGE, Logistic
from unires_jax.inference.likeness import Likeness

BINS = 15  # of the calibration error, each of as many answers
LEAST_SCALE = 0.01  # of a logistic: a higher number stays a higher one
FOLDS = 5
AXES = 48  # of a Gaussian, at most one for five pictures
LEAST_PICTURES = 40  # for a Gaussian
TAIL = 3.0  # deviations of the log distance, one-sided: 1 in 1,000 of a normal one


def logistic(
    probabilities: Float[np.ndarray, "n"],
    outcomes: Bool[np.ndarray, "n"],
    *,
    moves: bool = True,
) -> Logistic:
    """The likeliest calibration of probabilities, by Newton's method (Platt, 1999).

    His targets keep it finite where all outcomes are alike. Without `moves` it scales
    alone, which is called temperature (Guo et al., 2017), and decides as before.
    """
    p = probabilities.astype(np.float64).clip(EDGE, 1 - EDGE)
    logits = np.log(p / (1 - p))
    true, count = int(outcomes.sum()), len(outcomes)
    targets = np.where(outcomes, (true + 1) / (true + 2), 1 / (count - true + 2))
    columns = [logits, np.ones(count)] if moves else [logits]
    table = np.stack(columns, axis=1)
    weights = np.array([1.0, 0.0][: len(columns)])
    for _ in range(100):
        q = 0.5 * (1 + np.tanh(0.5 * table @ weights))
        curvature = (table * (q * (1 - q))[:, None]).T @ table
        slope = table.T @ (q - targets)
        step = np.linalg.solve(curvature + 1e-6 * np.eye(len(weights)), slope)
        weights -= step * min(1.0, 1 / max(float(abs(step).max()), 1e-12))
        weights[0] = max(weights[0], LEAST_SCALE)
        if abs(step).max() < 1e-9:
            break
    scale, offset = [*map(float, weights), 0.0][:2]
    return Logistic(round(scale, 6), round(offset, 6))


def calibration_error(
    probabilities: Float[np.ndarray, "n"], outcomes: Bool[np.ndarray, "n"]
) -> float:
    """Expected calibration error: BINS bins of equal mass; nan without any."""
    if not len(outcomes):
        return math.nan
    order = np.argsort(probabilities, kind="stable")
    bins = [b for b in np.array_split(order, BINS) if len(b)]
    gaps = [abs(probabilities[b].mean() - outcomes[b].mean()) * len(b) for b in bins]
    return float(sum(gaps) / len(outcomes))


def auroc(inner: Float[np.ndarray, "n"], outer: Float[np.ndarray, "m"]) -> float:
    """How often an outer distance exceeds an inner one; a tie counts one half."""
    ordered = np.sort(inner)
    below = np.searchsorted(ordered, outer, "left")
    upto = np.searchsorted(ordered, outer, "right")
    return float((below + upto).mean() / (2 * len(inner)))


def likeness(
    vectors: Float32[np.ndarray, "n c"],
) -> tuple[Likeness, Float[np.ndarray, "n"]]:
    """What pictures look like by their pooled features, and how far each is.

    The limit is TAIL deviations beyond the mean log distance of pictures that had no
    part in the fit, FOLDS times; those distances are returned, in units of the limit.
    Raises DataError for fewer than LEAST_PICTURES, and for pictures all alike.
    """
    if len(vectors) < LEAST_PICTURES:
        raise DataError(
            f"{len(vectors)} pictures are too few to know what pictures look like; "
            f"take a split of at least {LEAST_PICTURES}"
        )
    if not vectors.std(0).any():
        raise DataError("the pictures are all alike to the model; take another split")
    fold = np.arange(len(vectors)) % FOLDS
    distances = np.empty(len(vectors))
    for number in range(FOLDS):
        known = _gaussian(vectors[fold != number])
        held = fold == number
        distances[held] = [known.distance(vector) for vector in vectors[held]]
    logs = np.log(distances)
    limit = float(np.exp(logs.mean() + TAIL * logs.std()))
    return _gaussian(vectors)._replace(limit=limit), distances / limit


def _gaussian(vectors: Float32[np.ndarray, "n c"]) -> Likeness:
    """Probabilistic PCA of standardized vectors, its limit 1."""
    mean, deviation = vectors.mean(0), vectors.std(0)
    deviation = deviation.clip(1e-3 * deviation.mean() + EDGE)  # what is constant
    count, size = vectors.shape
    _, singular, axes = np.linalg.svd((vectors - mean) / deviation, full_matrices=False)
    variances = singular**2 / (count - 1)
    kept = min(AXES, count // 5, size - 1)
    rest = float(variances[kept:].sum()) / (size - kept)
    floor = 1e-3 * float(variances.sum()) / size  # of what never varied
    return Likeness(
        mean, deviation, axes[:kept], variances[:kept].clip(floor), max(rest, floor)
    )
