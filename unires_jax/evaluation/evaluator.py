"""A prepared split scored by a protocol, whoever answers.

Two batches are under way at a time: one computes while the other reads, resizes and
scores.
"""

import dataclasses
import typing
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from tqdm import tqdm

from unires_jax.config import Config, mask_grid
from unires_jax.data import records
from unires_jax.data.records import PART, Expression, Record
from unires_jax.errors import DataError
from unires_jax.evaluation.ground_truth import Truth, squash, truth_of
from unires_jax.evaluation.protocols import NATIVE, Protocol, Question, ask
from unires_jax.evaluation.results import Prediction, Result
from unires_jax.pixels.band import band, band_pair
from unires_jax.pixels.canvas import place
from unires_jax.pixels.grid import through_grid
from unires_jax.pixels.masks import RunMask

_IN_FLIGHT = 2  # batches

Predict = Callable[[Sequence[Question]], list[list[Prediction]]]
"""An answer for each sentence of each question."""


@typing.runtime_checkable
class Split(typing.Protocol):
    """A prepared split (`data.prepared.PreparedSplit`)."""

    @property
    def dataset(self) -> str: ...

    @property
    def split(self) -> str: ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Record: ...


def evaluate(
    split: Split,
    predict: Predict,
    config: Config,
    *,
    protocol: Protocol = NATIVE,
    images: int | None = None,
    shard: tuple[int, int] = (0, 1),
    progress: bool = False,
    ceiling: bool = True,
) -> list[Result]:
    """One row for each expression the protocol scores, of the first `images` pictures.

    `predict` is given `config.eval.batch` pictures at a time. `shard` is (process,
    processes): every processes-th batch is this one's, so that a batch, and with it
    the last digit of an answer, is the same for any number of processes;
    `results.gather` joins the rows. `ceiling` adds what the decoder's grid allows, at
    original size: under `native` alone. Raises DataError naming a record that cannot
    be used; nothing is skipped.
    """
    count = len(split) if images is None else min(images, len(split))
    size = config.eval.batch
    starts = range(0, count, size)[shard[0] :: shard[1]]
    batches = [range(i, min(i + size, count)) for i in starts]
    grid = config if ceiling and protocol is NATIVE else None
    judge = Judge((split.dataset, split.split), protocol, grid)

    def score(batch: Sequence[int]) -> list[list[Result]]:
        questions = [ask(protocol, _read(split, i)) for i in batch]
        answers = zip(batch, questions, predict(questions), strict=True)
        return [judge.rows(*answer) for answer in answers]

    name = f"{split.dataset}:{split.split}"
    total = sum(map(len, batches))
    with tqdm(total=total, desc=name, unit="image", disable=not progress) as bar:
        rows: list[Result] = []
        for batch_rows in _overlapped(score, batches):
            rows += [r for picture_rows in batch_rows for r in picture_rows]
            bar.update(len(batch_rows))
    return rows


def _overlapped(
    score: Callable[[Sequence[int]], list[list[Result]]], batches: list[range]
) -> Iterator[list[list[Result]]]:
    """Batches in order, the first alone so that its shapes are compiled once."""
    yield from map(score, batches[:1])
    with ThreadPoolExecutor(_IN_FLIGHT) as pool:
        yield from pool.map(score, batches[1:])


def _read(split: Split, index: int) -> Record:
    record = split[index]
    records.validate(record, f"{split.dataset}:{split.split} record {index}")
    return record


class Referent(NamedTuple):
    """What expressions of the same targets denote."""

    mask: RunMask  # of the picture's size
    truth: Truth  # as the protocol draws it
    parents: RunMask | None  # what the targets are parts of; None where one has none
    band: RunMask | None  # of the truth's edge; None where the protocol takes none
    # (I, U) of the mask after the decoder's grid, and of its band.
    ceiling: tuple[int, int] | None
    ceiling_boundary: tuple[int, int] | None
    category: str
    part: str


@dataclasses.dataclass(frozen=True)
class Judge:
    """Scores the predictions of one split's pictures. Threads may share it."""

    names: tuple[str, str]  # of the data set and the split
    protocol: Protocol
    config: Config | None  # whose decoder's grid sets a ceiling; None: no ceiling

    def rows(
        self, image: int, question: Question, predictions: Sequence[Prediction]
    ) -> list[Result]:
        """A row for each scored expression of record number `image`.

        Raises DataError for polygons that cannot be read, ValueError for a prediction
        that does not have the picture's size.
        """
        referents: dict[tuple[int, ...], Referent] = {}
        rows = []
        for i, (x, prediction) in enumerate(
            zip(question.expressions, predictions, strict=True)
        ):
            if x.targets not in referents:
                referents[x.targets] = self._referent(question.record, x)
            referent = referents[x.targets]
            answer = prediction.squashed or squash(self.protocol, prediction.mask)
            intersection, union = answer.intersection_union(referent.truth.mask)
            row = Result(
                key=records.expression_key(*self.names, question.record, x),
                image=image,
                expression=question.indices[i],
                sentence=question.sentences[i],
                level=x.level,
                mask=prediction.mask,
                target=referent.mask,
                intersection=intersection,
                union=union,
                boundary=_boundary(answer, referent.band),
                score=prediction.score,
                no_target=prediction.no_target,
                targeted=bool(x.targets),
                category=referent.category,
                part=referent.part,
                confused=_confused(x, referent, prediction.mask),
                ceiling=referent.ceiling,
                ceiling_boundary=referent.ceiling_boundary,
                protocol=self.protocol.name,
                squashed=prediction.squashed,
                cut=prediction.cut,
                substituted=referent.truth.substituted,
            )
            rows.append(row)
        return rows

    def _referent(self, record: Record, expression: Expression) -> Referent:
        try:
            truth = truth_of(self.protocol, record, expression)
        except DataError as error:
            raise error.at(f"{record.source} {record.filename}") from None
        targets = [record.masks[i] for i in expression.targets]
        mask = records.target_mask(record, expression)
        after = _after_grid(mask, self.config) if self.config else None
        return Referent(
            mask=mask,
            truth=truth,
            parents=_parents(record, expression),
            band=band(truth.mask) if self.protocol.boundary else None,
            ceiling=after.intersection_union(mask) if after else None,
            ceiling_boundary=band_pair(after, mask) if after else None,
            category=_common(m.category for m in targets),
            part=_common(m.part for m in targets),
        )


def _parents(record: Record, expression: Expression) -> RunMask | None:
    indices = {record.masks[i].parent for i in expression.targets}
    if not indices or -1 in indices:
        return None
    masks = [records.runs_of(record, record.masks[i]) for i in sorted(indices)]
    return RunMask.union(masks, record.height, record.width)


def _boundary(answer: RunMask, edge: RunMask | None) -> tuple[int, int] | None:
    """(I, U) of an answer's band and the truth's; None where none is taken."""
    return None if edge is None else band(answer).intersection_union(edge)


def _after_grid(mask: RunMask, config: Config) -> RunMask:
    """The ground truth pushed through the decoder grid."""
    placement = place(mask.height, mask.width, config.model.image_size)
    return RunMask.from_pixels(through_grid(mask, placement, mask_grid(config.model)))


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
