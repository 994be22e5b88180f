"""A picture's predictions beside their ground truths, counted by a protocol."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from unires_jax.config import Config, mask_grid
from unires_jax.data.records import (
    PART,
    Expression,
    Record,
    expression_key,
    runs_of,
    target_mask,
)
from unires_jax.errors import DataError
from unires_jax.evaluation.ground_truth import Truth, squash, truth_of
from unires_jax.evaluation.protocols import NATIVE, Protocol, Question
from unires_jax.evaluation.results import Prediction, Result
from unires_jax.pixels.canvas import place
from unires_jax.pixels.grid import through_grid
from unires_jax.pixels.masks import RunMask


class Referent(NamedTuple):
    """What expressions of the same targets denote."""

    mask: RunMask  # of the picture's size
    truth: Truth  # as the protocol draws it
    parents: RunMask | None  # what the targets are parts of; None where one has none
    ceiling: tuple[int, int] | None  # (I, U) of the mask after the decoder's grid
    category: str
    part: str


class Judge:
    """Scores the predictions of one split's pictures. Threads may share it."""

    def __init__(
        self,
        dataset: str,
        split: str,
        protocol: Protocol = NATIVE,
        config: Config | None = None,
    ):
        """With a `config`, `native` also says what the decoder's grid allows."""
        self._names, self._protocol = (dataset, split), protocol
        self._config = config if protocol is NATIVE else None

    def rows(
        self, image: int, question: Question, predictions: Sequence[Prediction]
    ) -> list[Result]:
        """A row for each scored expression of record number `image`.

        Raises DataError for polygons that cannot be read, ValueError for a prediction
        that does not have the picture's size.
        """
        referents: dict[tuple[int, ...], Referent] = {}
        rows = []
        for number, expression in enumerate(question.expressions):
            targets = expression.targets
            if targets not in referents:
                referents[targets] = self._referent(question.record, expression)
            rows.append(
                self._row(
                    image, question, number, referents[targets], predictions[number]
                )
            )
        return rows

    def _row(
        self,
        image: int,
        question: Question,
        number: int,
        referent: Referent,
        prediction: Prediction,
    ) -> Result:
        expression = question.expressions[number]
        answer = prediction.squashed or squash(self._protocol, prediction.mask)
        intersection, union = answer.intersection_union(referent.truth.mask)
        return Result(
            key=expression_key(*self._names, question.record, expression),
            image=image,
            expression=question.indices[number],
            sentence=question.sentences[number],
            level=expression.level,
            mask=prediction.mask,
            target=referent.mask,
            intersection=intersection,
            union=union,
            score=prediction.score,
            no_target=prediction.no_target,
            targeted=bool(expression.targets),
            category=referent.category,
            part=referent.part,
            confused=_confused(expression, referent, prediction.mask),
            ceiling=referent.ceiling,
            protocol=self._protocol.name,
            substituted=referent.truth.substituted,
        )

    def _referent(self, record: Record, expression: Expression) -> Referent:
        try:
            truth = truth_of(self._protocol, record, expression)
        except DataError as error:
            raise error.at(f"{record.source} {record.filename}") from None
        targets = [record.masks[i] for i in expression.targets]
        mask = target_mask(record, expression)
        ceiling = _ceiling(mask, self._config) if self._config else None
        return Referent(
            mask=mask,
            truth=truth,
            parents=_parents(record, expression),
            ceiling=ceiling if targets or not ceiling else (0, 0),
            category=_common(m.category for m in targets),
            part=_common(m.part for m in targets),
        )


def _parents(record: Record, expression: Expression) -> RunMask | None:
    indices = {record.masks[i].parent for i in expression.targets}
    if not indices or -1 in indices:
        return None
    masks = [runs_of(record, record.masks[i]) for i in sorted(indices)]
    return RunMask.union(masks, record.height, record.width)


def _ceiling(mask: RunMask, config: Config) -> tuple[int, int]:
    """(I, U) of the ground truth pushed through the decoder grid."""
    placement = place(mask.height, mask.width, config.model.image_size)
    coarse = through_grid(mask, placement, mask_grid(config.model))
    return RunMask.from_pixels(coarse).intersection_union(mask)


def _common(names: Iterable[str]) -> str:
    """The one name of an expression's targets."""
    distinct = sorted(set(names))
    return distinct[0] if len(distinct) == 1 else "several" if distinct else ""


def _confused(
    expression: Expression, referent: Referent, predicted: RunMask
) -> bool | None:
    """Whether IoU with the parents exceeds IoU with the parts; None without parents.

    At original size whatever the protocol: it is our question.
    """
    if expression.level != PART or referent.parents is None:
        return None
    parent = predicted.intersection_union(referent.parents)
    part = predicted.intersection_union(referent.mask)
    return parent[0] * max(part[1], 1) > part[0] * max(parent[1], 1)
