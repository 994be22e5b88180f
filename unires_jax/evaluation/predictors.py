"""Whose answers are scored: a model's, the ground truth's, none at all, a file's."""

import itertools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from jaxtyping import Bool, UInt8

from unires_jax.config import Config
from unires_jax.data.records import (
    Expression,
    Record,
    decode_record_image,
    expression_key,
    target_mask,
)
from unires_jax.data.tokenizer import Tokenizer
from unires_jax.errors import DataError, printable
from unires_jax.evaluation.evaluator import Split, evaluate
from unires_jax.evaluation.ground_truth import truth_of
from unires_jax.evaluation.predictions import Line, Predictions
from unires_jax.evaluation.protocols import NATIVE, PROTOCOLS, Protocol, Question
from unires_jax.evaluation.resample import mask as resampled
from unires_jax.evaluation.results import Prediction, Result
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
        on_grid = self._protocol.grid is not None
        resized = RunMask.from_pixels(scored)
        return Prediction(
            mask=segment.runs if on_grid else resized,
            score=segment.score,
            no_target=segment.no_target_probability,
            squashed=resized if on_grid else None,
            cut=bool(segment.note),
        )


Ground = Callable[
    [UInt8[np.ndarray, "H W 3"], Sequence[str]], Sequence[Bool[np.ndarray, "H W"]]
]
"""A picture and its sentences to a mask for each."""


class MaskPredict:
    """The `Predict` of any other model: whatever gives a mask for each sentence.

    A picture's sentences are asked in one call. Masks are binary, so a protocol's own
    grid is reached by NEAREST; nothing marked is the decision that nothing is meant.
    """

    def __init__(self, ground: Ground):
        self._ground = ground
        self._alone = threading.Lock()  # one picture in the model, others are scored

    def __call__(self, questions: Sequence[Question]) -> list[list[Prediction]]:
        """Raises DataError for an unreadable picture, and what the model raises."""
        return [self._answers(question) for question in questions]

    def _answers(self, question: Question) -> list[Prediction]:
        if not question.sentences:
            return []
        pixels = _pixels(question.record)
        with self._alone:
            masks = self._ground(pixels, question.sentences)
        runs = [RunMask.from_pixels(mask) for mask in masks]
        return [Prediction(m, None, float(m.area == 0)) for m in runs]


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
        none = float(not expression.targets)
        if protocol.grid is None:
            return Prediction(truth, None, none)
        whole = target_mask(record, expression)
        return Prediction(whole, None, none, truth)

    return [[prediction(q.record, x) for x in q.expressions] for q in questions]


def empty(questions: Sequence[Question]) -> list[list[Prediction]]:
    """The `Predict` that never marks a pixel: scores 0.0."""

    def predictions(question: Question) -> Iterator[Prediction]:
        nothing = RunMask.empty(question.record.height, question.record.width)
        return itertools.repeat(
            Prediction(nothing, None, None), len(question.sentences)
        )

    return [list(predictions(q)) for q in questions]


class FilePredict:
    """The `Predict` of a file for one split; a missing expression is empty."""

    def __init__(self, file: Predictions, split: Split, protocol: Protocol = NATIVE):
        """Raises DataError for a line whose key the split does not have or whose mask
        has neither its picture's size nor that of the protocol's grid, and if no line
        is of the split.
        """
        prefix = f"{split.dataset}/{split.split}/"
        self._names = split.dataset, split.split
        self._grid = (protocol.grid, protocol.grid)
        self.lines = {k: x for k, x in file.lines.items() if k.startswith(prefix)}
        if not self.lines:
            first = next(iter(file.lines))
            raise DataError(
                f"no key begins with {prefix!r}; the first is {first!r}. Name the "
                "splits that it answers with --splits",
                place=str(file.path),
            )
        sizes = {
            expression_key(*self._names, record, x): (record.height, record.width)
            for record in (split[i] for i in range(len(split)))
            for x in record.expressions
        }
        for key, line in self.lines.items():
            where = f"{file.path} line {line.number}"
            if key not in sizes:
                foreign = len(self.lines.keys() - sizes.keys())
                raise DataError(
                    f"key {key!r} is no expression of {':'.join(self._names)} "
                    f"({foreign} such lines); it belongs to another version of the "
                    "data",
                    place=where,
                )
            if _size(line.mask) not in (sizes[key], self._grid):
                fault = _misfit(_size(line.mask), sizes[key])
                raise DataError(fault, place=f"{where}: key {key!r}")

    def __call__(self, questions: Sequence[Question]) -> list[list[Prediction]]:
        """The file's answers."""
        return [self._answers(question) for question in questions]

    def _answers(self, question: Question) -> list[Prediction]:
        record = question.record
        missing = Prediction(RunMask.empty(record.height, record.width), None, None)
        keys = [expression_key(*self._names, record, x) for x in question.expressions]
        lines = [self.lines.get(key) for key in keys]
        return [self._prediction(record, x) if x else missing for x in lines]

    def _prediction(self, record: Record, line: Line) -> Prediction:
        """The mask at the picture's size, and on the grid where the file has it so."""
        given = (line.squashed, line.mask)
        squashed = next((m for m in given if m and _size(m) == self._grid), None)
        mask = line.mask.resize(record.height, record.width)
        return Prediction(mask, line.score, line.no_target, squashed, line.cut)


def _size(mask: RunMask) -> tuple[int, int]:
    return mask.height, mask.width


def _misfit(mask: tuple[int, int], picture: tuple[int, int]) -> str:
    """What is wrong with a mask's size (height, width), and the remedy."""
    remedy = "resize it to the picture's size"
    if mask == picture[::-1]:
        remedy = "its sides are exchanged: the height comes first"
    elif grids := [n for n, p in PROTOCOLS.items() if (p.grid, p.grid) == mask]:
        remedy = f"it has that of {' and '.join(grids)}: add --protocol={grids[0]}, or "
        remedy += "resize it"
    return (
        f"the mask is {mask[0]} x {mask[1]}, its picture {picture[0]} x {picture[1]} "
        f"(height x width); {remedy}"
    )


def score_file(
    file: Predictions,
    splits: Mapping[str, Split],
    protocol: Protocol,
    images: int | None = None,
) -> dict[str, list[Result]]:
    """A file's answers to several splits, scored as binary masks.

    Prints how many expressions are missing (they count as empty) and how many lines
    belong to other splits. Raises DataError as `FilePredict` does.
    """
    rows, answered, place = {}, 0, printable(str(file.path))
    for name, split in splits.items():
        predict = FilePredict(file, split, protocol)
        answered += len(predict.lines)
        rows[name] = evaluate(
            split, predict, Config(), protocol=protocol, images=images, ceiling=False
        )
        missing = sum(r.key not in predict.lines for r in rows[name])
        if missing:
            print(
                f"{place}: {missing} of {len(rows[name])} expressions of {name} "
                "are missing; they count as empty masks"
            )
        if fault := _inverted(rows[name]):
            print(f"{place}: the masks of {name} {fault}")
    if answered < len(file.lines):
        print(
            f"{place}: {len(file.lines) - answered} lines are of splits that are "
            "not scored now"
        )
    return rows


def _inverted(rows: Sequence[Result]) -> str:
    """Whether masks score better with 0 and 1 exchanged; "" where they do not.

    Nothing is guessed: they are scored as they are.
    """
    pixels = np.array([r.mask.height * r.mask.width for r in rows], float)
    areas = np.array([r.mask.area for r in rows], float)
    if not len(rows) or np.median(areas / pixels) <= 0.5:
        return ""
    pairs = [r.mask.intersection_union(r.target) for r in rows]
    inside, around = np.array(pairs, float).T
    targets = np.array([r.target.area for r in rows], float)
    exchanged = (targets - inside) / np.maximum(pixels - areas + inside, 1)
    means = np.mean(inside / np.maximum(around, 1)), np.mean(exchanged)
    if means[1] <= means[0]:
        return ""
    return (
        "look inverted: they cover more than half of most pictures, and with 0 and 1 "
        f"exchanged mIoU would be {means[1]:.1%}, not {means[0]:.1%}; a pixel that is "
        "not 0 is the target"
    )
