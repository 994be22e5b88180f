"""A model's calibration, fitted on a split and checked on others.

Nothing of the model changes, nor any mask: its numbers get a meaning.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8
from tqdm import tqdm

from unires_jax.data import records
from unires_jax.data.records import Expression, Record, decode_record_image
from unires_jax.errors import DataError
from unires_jax.evaluation import fits
from unires_jax.evaluation.evaluator import Split
from unires_jax.evaluation.protocols import NATIVE, Question, ask
from unires_jax.inference.answer import Answerer, EncodedPicture, FixedShapes
from unires_jax.inference.calibration import Calibration, Logistic
from unires_jax.inference.loaded import Loaded
from unires_jax.inference.segment import Segment
from unires_jax.inference.steps import Compiled
from unires_jax.parameters import fingerprint


class Observed(NamedTuple):
    """What a model said of a split, and what is true."""

    vectors: Float32[np.ndarray, "n c"]  # each picture's pooled features
    quality: Float[np.ndarray, "e"]  # mean probability of the mask's cells
    nothing: Float[np.ndarray, "e"]  # that nothing is meant; zeros: not trained
    targeted: Bool[np.ndarray, "e"]  # something is meant
    right: Bool[np.ndarray, "e"]  # and the mask's IoU with it is at least one half

    def scores(
        self, right: Logistic | None, nothing: Logistic | None
    ) -> Float[np.ndarray, "e"]:
        """`Segment.score` by these calibrations; of None as the model gives it."""
        quality = np.where(self.quality > 0, _mapped(right, self.quality), 0.0)
        return quality * (1 - _mapped(nothing, self.nothing))


def _mapped(
    logistic: Logistic | None, probabilities: Float[np.ndarray, "e"]
) -> Float[np.ndarray, "e"]:
    if logistic is None:
        return probabilities
    return np.array([logistic(p) for p in probabilities])


def answerer(loaded: Loaded) -> Answerer:
    """The model as it comes, without any calibration, on this process's devices."""
    sizes = loaded.config.eval
    return Answerer(
        Compiled(loaded.config).bind(loaded.params),
        loaded.tokenizer,
        loaded.config,
        FixedShapes(sizes.batch, sizes.expressions),
        loaded.no_target_trained,
        str(loaded.folder),
    )


def observe(model: Answerer, split: Split, images: int | None = None) -> Observed:
    """Ask all sentences of the first `images` pictures of a split.

    Raises DataError for a record that cannot be used, and for no sentence at all.
    """
    count = len(split) if images is None else min(images, len(split))
    size = model.config.eval.batch
    vectors: list[Float32[np.ndarray, "c"]] = []
    rows: list[tuple[float, float, bool, bool]] = []
    name = f"{split.dataset}:{split.split}"
    with tqdm(total=count, desc=name, unit="image") as bar:
        for start in range(0, count, size):
            numbers = range(start, min(start + size, count))
            questions = [ask(NATIVE, _read(split, i)) for i in numbers]
            pictures = model.look([decode_record_image(q.record) for q in questions])
            vectors += [picture.pooled for picture in pictures]
            rows += _answered(model, pictures, questions)
            bar.update(len(questions))
    if not rows:
        raise DataError("holds no sentence; take another split", place=name)
    quality, nothing, targeted, right = np.array(rows, float).T
    return Observed(np.stack(vectors), quality, nothing, targeted > 0, right > 0)


def _read(split: Split, index: int) -> Record:
    record = split[index]
    records.validate(record, f"{split.dataset}:{split.split} record {index}")
    return record


def _answered(
    model: Answerer, pictures: Sequence[EncodedPicture], questions: Sequence[Question]
) -> list[tuple[float, float, bool, bool]]:
    """Quality, nothing, targeted and right of each sentence, in any order."""
    asked = [
        (i, sentence, expression)
        for i, q in enumerate(questions)
        for sentence, expression in zip(q.sentences, q.expressions, strict=True)
    ]
    rows = []
    for number, answer in model.answers(pictures, [(i, s) for i, s, _ in asked]):
        picture, _, expression = asked[number]
        nothing = answer.no_target_probability or 0.0
        quality = answer.quality
        right = _is_right(answer, questions[picture].record, expression)
        rows.append((quality, nothing, bool(expression.targets), right))
    return rows


def _is_right(answer: Segment, record: Record, expression: Expression) -> bool:
    """Whether something is meant and the mask's IoU with it is at least one half."""
    truth = records.target_mask(record, expression)
    intersection, union = answer.runs.intersection_union(truth)
    return bool(expression.targets) and 0 < union <= 2 * intersection


def look(
    model: Answerer, pictures: Iterable[UInt8[np.ndarray, "_ _ 3"]]
) -> Float32[np.ndarray, "n c"]:
    """The pooled features of pictures without sentences."""
    size, waiting = model.config.eval.batch, iter(pictures)
    batches = iter(lambda: list(itertools.islice(waiting, size)), [])
    looked = (picture for some in batches for picture in model.look(some))
    return np.stack([picture.pooled for picture in looked])


def fit(
    loaded: Loaded,
    observed: Observed,
    fitted_on: Mapping[str, str],
    trained_on: Mapping[str, int],
) -> tuple[Calibration, Float[np.ndarray, "n"]]:
    """The calibration of a model from what it said of a split.

    `fitted_on` is the split and its fingerprint, `trained_on` how many pictures are
    known of the training's splits. Also the distances of the split's pictures, each
    from the others. Raises DataError for too few pictures, or no mask at all.
    """
    nothing = None
    if loaded.no_target_trained:
        nothing = fits.logistic(observed.nothing, ~observed.targeted, moves=False)
    asked = observed.targeted & (observed.quality > 0)
    if not asked.any():
        raise DataError("the model marks nothing that is meant in this split")
    likeness, distances = fits.likeness(observed.vectors)
    calibration = Calibration(
        parameters=fingerprint(loaded.params),
        fitted_on=dict(fitted_on),
        right=fits.logistic(observed.quality[asked], observed.right[asked]),
        nothing=nothing,
        likeness=likeness,
        trained_on=dict(trained_on),
    )
    return calibration, distances


def check(
    calibration: Calibration,
    observed: Observed,
    distances: Float[np.ndarray, "n"] | None = None,
) -> dict[str, Any]:
    """How honest the numbers of a split are: errors before and after, false alarms.

    `distances` are those of `fit` for the split it was fitted on, which knows its own
    pictures.
    """
    if distances is None:
        distances = far(calibration, observed.vectors)
    raw = observed.scores(None, None)
    scores = observed.scores(calibration.right, calibration.nothing)
    errors = {"score": _errors(raw, scores, observed.right)}
    if calibration.nothing:
        nothing = _mapped(calibration.nothing, observed.nothing)
        errors["nothing"] = _errors(observed.nothing, nothing, ~observed.targeted)
    return {
        "pictures": len(distances),
        "sentences": len(raw),
        "right": round(float(observed.right.mean()), 4),
        "error": errors,
        "unlike": round(float((distances > 1).mean()), 4),
    }


def _errors(
    before: Float[np.ndarray, "e"],
    after: Float[np.ndarray, "e"],
    outcomes: Bool[np.ndarray, "e"],
) -> dict[str, float]:
    """The means and the calibration errors of raw and calibrated probabilities."""
    return {
        "mean before": round(float(before.mean()), 4),
        "mean after": round(float(after.mean()), 4),
        "before": round(fits.calibration_error(before, outcomes), 4),
        "after": round(fits.calibration_error(after, outcomes), 4),
    }


def far(
    calibration: Calibration, vectors: Float32[np.ndarray, "n c"]
) -> Float[np.ndarray, "n"]:
    """How far pictures are from the known ones; above 1 they are told to be unlike."""
    return np.array([calibration.likeness.distance(vector) for vector in vectors])
