"""A prepared split scored by a protocol, whoever answers.

Two batches are under way at a time: one computes while the other reads, resizes and
scores.
"""

import typing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from tqdm import tqdm

from unires_jax.config import Config
from unires_jax.data import records
from unires_jax.data.records import Record
from unires_jax.evaluation.judge import Judge
from unires_jax.evaluation.protocols import NATIVE, Protocol, Question, ask
from unires_jax.evaluation.results import Prediction, Result

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
    processes): every processes-th picture is this one's, and `results.gather` joins the
    rows. `ceiling` adds what the decoder's grid allows, at original size: under
    `native` alone. Raises DataError naming a record that cannot be used; nothing is
    skipped.
    """
    count = len(split) if images is None else min(images, len(split))
    mine = range(count)[shard[0] :: shard[1]]
    size = config.eval.batch
    batches = [mine[i : i + size] for i in range(0, len(mine), size)]
    judge = Judge(split.dataset, split.split, protocol, config if ceiling else None)

    def score(batch: Sequence[int]) -> list[list[Result]]:
        questions = [ask(protocol, _read(split, i)) for i in batch]
        answers = zip(batch, questions, predict(questions), strict=True)
        return [judge.rows(*answer) for answer in answers]

    name = f"{split.dataset}:{split.split}"
    with tqdm(total=len(mine), desc=name, unit="image", disable=not progress) as bar:
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
