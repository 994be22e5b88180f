"""Whose answers are scored: a model's, the ground truth's, or none at all."""

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import UInt8

from unires_jax.config import Config
from unires_jax.data.records import Expression, Record, decode_record_image, target_mask
from unires_jax.data.tokenizer import Tokenizer
from unires_jax.errors import DataError
from unires_jax.evaluation.ground_truth import truth_of
from unires_jax.evaluation.protocols import NATIVE, Protocol, Question
from unires_jax.evaluation.resample import mask as resampled
from unires_jax.evaluation.results import Prediction
from unires_jax.inference.answer import Answerer, FixedShapes, Segmenter
from unires_jax.inference.segment import Segment
from unires_jax.pixels.masks import RunMask


class ModelPredict:
    """The `Predict` of a model, whose steps are compiled for fixed shapes."""

    def __init__(
        self,
        segmenter: Segmenter,
        tokenizer: Tokenizer,
        config: Config,
        protocol: Protocol = NATIVE,
        *,
        no_target_trained: bool = True,
        checkpoint: str = "",
    ):
        """Sizes come from `config.eval`, `config.model` and `config.data.lengths`.

        The other arguments are those of `Answerer`.
        """
        shapes = FixedShapes(config.eval.batch, config.eval.expressions)
        self._answerer = Answerer(
            segmenter, tokenizer, config, shapes, no_target_trained, checkpoint
        )
        self._protocol = protocol

    def __call__(self, questions: Sequence[Question]) -> list[list[Prediction]]:
        """Answers about at most `config.eval.batch` pictures.

        Raises DataError for an unreadable picture or one of another size than stated,
        CheckpointError if the model's logits are not finite.
        """
        pictures = self._answerer.look([_pixels(q.record) for q in questions])
        sentences = [(i, s) for i, q in enumerate(questions) for s in q.sentences]
        predictions = {
            number: self._prediction(segment)
            for number, segment in self._answerer.answers(pictures, sentences)
        }
        in_order = (predictions[i] for i in range(len(sentences)))
        return [list(itertools.islice(in_order, len(q.sentences))) for q in questions]

    def _prediction(self, segment: Segment) -> Prediction:
        scored = resampled(self._protocol, segment.logits, segment.placement)
        squashed = RunMask.from_pixels(scored)
        if self._protocol.grid is None:
            return Prediction(squashed, segment.score, segment.no_target_probability)
        return Prediction(
            segment.runs, segment.score, segment.no_target_probability, squashed
        )


def _pixels(record: Record) -> UInt8[np.ndarray, "H W 3"]:
    try:
        return decode_record_image(record)
    except DataError as error:
        place = f"{record.source} image {record.image_id} ({record.filename})"
        raise error.at(place) from None


def ground_truth(
    questions: Sequence[Question], protocol: Protocol = NATIVE
) -> list[list[Prediction]]:
    """The perfect `Predict`: scores 100.0 if everything after the masks is right.

    Answers are the ground truth as the protocol draws it, on its own grid.
    """

    def prediction(record: Record, expression: Expression) -> Prediction:
        truth = truth_of(protocol, record, expression).mask
        meant = float(bool(expression.targets))
        if protocol.grid is None:
            return Prediction(truth, meant, 1 - meant)
        whole = target_mask(record, expression)
        return Prediction(whole, meant, 1 - meant, truth)

    return [[prediction(q.record, x) for x in q.expressions] for q in questions]


def empty(questions: Sequence[Question]) -> list[list[Prediction]]:
    """The `Predict` that never marks a pixel: scores 0.0."""

    def predictions(question: Question) -> Iterator[Prediction]:
        nothing = RunMask.empty(question.record.height, question.record.width)
        return itertools.repeat(Prediction(nothing, 0.0, None), len(question.sentences))

    return [list(predictions(q)) for q in questions]
