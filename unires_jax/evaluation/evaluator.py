"""Predictions for every expression of a prepared split, scored at original size.

Each picture is encoded once; its expressions are decoded in chunks of fixed size, so
that a handful of shapes is compiled. Two batches are under way at a time: one computes
while the other reads, resizes and scores.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Float32, Int32, UInt8
from tqdm import tqdm

from unires_jax.config import Config, mask_grid
from unires_jax.data import records
from unires_jax.data.records import DataError, Expression, Record
from unires_jax.data.tokenizer import Tokenizer
from unires_jax.data.transforms import Placement, place, prepare_image
from unires_jax.evaluation import geometry, metrics
from unires_jax.evaluation.results import Prediction, Result, judge
from unires_jax.training.checkpoint import CheckpointError

_IN_FLIGHT = 2  # batches


@runtime_checkable
class Split(Protocol):
    """A prepared split (`data.prepared.PreparedSplit`)."""

    @property
    def dataset(self) -> str: ...

    @property
    def split(self) -> str: ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Record: ...


@runtime_checkable
class Segmenter(Protocol):
    """The model with its parameters bound and its steps compiled.

    Takes and gives arrays of this process alone: no step waits for another process.
    Several threads call it.
    """

    def encode_image(
        self, images: UInt8[np.ndarray, "b s s 3"], extent: Int32[np.ndarray, "b 2"]
    ) -> Any:
        """Features of letterboxed pictures; `extent` is their valid height, width."""

    def encode_text(
        self, tokens: Int32[np.ndarray, "e l"], lengths: Int32[np.ndarray, "e"]
    ) -> Any:
        """Words; `lengths` counts SOS to EOS."""

    def decode(
        self,
        features: Any,
        words: Any,
        lengths: Int32[np.ndarray, "e"],
        image_index: Int32[np.ndarray, "e"],
    ) -> tuple[Any, Any]:
        """Mask logits [e, g, g] and no-target logits [e] as float32 arrays."""


Predict = Callable[[Sequence[Record]], list[list[Prediction]]]
"""An answer for each expression of each record."""


def evaluate(
    split: Split,
    predict: Predict,
    config: Config,
    *,
    images: int | None = None,
    shard: tuple[int, int] = (0, 1),
    progress: bool = False,
) -> list[Result]:
    """One row for each expression of the split, or of its first `images` pictures.

    `shard` is (process, processes): every processes-th picture is this one's, and
    `results.gather` joins the rows. Raises DataError naming a record that cannot be
    used; nothing is skipped.
    """
    count = len(split) if images is None else min(images, len(split))
    mine = range(count)[shard[0] :: shard[1]]
    size = config.eval.batch
    batches = [mine[i : i + size] for i in range(0, len(mine), size)]

    def run(batch: Sequence[int]) -> list[list[Result]]:
        found = [_read(split, i) for i in batch]
        answers = predict(found)
        return [
            _judge_record(split, i, record, answer, config)
            for i, record, answer in zip(batch, found, answers, strict=True)
        ]

    name = f"{split.dataset}:{split.split}"
    with tqdm(total=len(mine), desc=name, unit="image", disable=not progress) as bar:
        rows: list[Result] = []
        for done in _overlapped(run, batches):
            rows += [r for record in done for r in record]
            bar.update(len(done))
    return rows


def _overlapped(
    run: Callable[[Sequence[int]], list[list[Result]]], batches: list[range]
) -> Iterator[list[list[Result]]]:
    """Batches in order, the first alone so that its shapes are compiled once."""
    yield from map(run, batches[:1])
    with ThreadPoolExecutor(_IN_FLIGHT) as pool:
        yield from pool.map(run, batches[1:])


def _read(split: Split, index: int) -> Record:
    record = split[index]
    records.validate(record, f"{split.dataset}:{split.split} record {index}")
    return record


def _judge_record(
    split: Split,
    image: int,
    record: Record,
    predictions: Sequence[Prediction],
    config: Config,
) -> list[Result]:
    ceilings: dict[tuple[int, ...], tuple[int, int]] = {(): (0, 0)}
    rows = []
    for index, x in enumerate(record.expressions):
        if x.targets not in ceilings:
            ceilings[x.targets] = _ceiling(record, x, config)
        rows.append(
            judge(
                record,
                x,
                predictions[index],
                key=records.expression_key(split.dataset, split.split, record, x),
                image=image,
                index=index,
                ceiling=ceilings[x.targets],
            )
        )
    return rows


def _ceiling(record: Record, expression: Expression, config: Config) -> tuple[int, int]:
    """(I, U) of the ground truth pushed through the decoder grid."""
    rle = records.target_rle(record, expression)
    placement = place(record.height, record.width, config.model.image_size)
    mask = geometry.through_grid(rle, placement, mask_grid(config.model))
    truth = {"size": [record.height, record.width], "counts": rle}
    return metrics.intersection_union(mask, truth)


def ground_truth(found: Sequence[Record]) -> list[list[Prediction]]:
    """The perfect `Predict`: scores 100.0 if everything after the masks is right."""

    def answer(record: Record, x: Expression) -> Prediction:
        rle = records.target_rle(record, x)
        return Prediction(rle, 1.0, 0.0 if x.targets else 1.0)

    return [[answer(r, x) for x in r.expressions] for r in found]


def empty(found: Sequence[Record]) -> list[list[Prediction]]:
    """The `Predict` that never marks a pixel: scores 0.0."""
    nothing = [records.union_rle([], r.height, r.width) for r in found]
    return [
        [Prediction(rle, 0.0, None)] * len(r.expressions)
        for r, rle in zip(found, nothing, strict=True)
    ]


class ModelPredict:
    """The `Predict` of a model."""

    def __init__(self, segmenter: Segmenter, tokenizer: Tokenizer, config: Config):
        """Sizes come from `config.eval`, `config.model` and `config.data.lengths`."""
        self._segmenter, self._tokenizer, self._config = segmenter, tokenizer, config

    def __call__(self, found: Sequence[Record]) -> list[list[Prediction]]:
        """Answers for at most `config.eval.batch` records.

        Raises DataError for an unreadable picture or one of another size than stated,
        CheckpointError if the model's logits are not finite.
        """
        canvases, placements = zip(*map(self._prepare, found), strict=True)
        extent = np.array([(p.height, p.width) for p in placements], np.int32)
        batch = self._config.eval.batch
        features = self._segmenter.encode_image(
            _pad(np.stack(canvases), batch), _pad(extent, batch)
        )
        answers: list[list[Any]] = [[None] * len(r.expressions) for r in found]
        # All chunks are dispatched before the first is fetched: the device runs ahead.
        chunks = [(rows, self._decode(features, rows)) for rows in self._chunks(found)]
        for rows, output in chunks:
            logits, no_target = map(np.asarray, output)
            for (image, index, _), mask, none in zip(
                rows, logits, no_target, strict=False
            ):
                answers[image][index] = _answer(mask, float(none), placements[image])
        return answers

    def _prepare(self, record: Record) -> tuple[UInt8[np.ndarray, "s s 3"], Placement]:
        name = f"{record.source} image {record.image_id} ({record.filename})"
        try:
            found = prepare_image(record.image, self._config.model.image_size)
        except DataError as error:
            raise DataError(f"{name}: {error}") from None
        canvas, placement = found
        size = (placement.crop_height, placement.crop_width)
        if size != (record.height, record.width):
            raise DataError(
                f"{name}: the picture has {size[0]} x {size[1]} pixels, the record "
                f"says {record.height} x {record.width}; build the data again"
            )
        return canvas, placement

    def _chunks(
        self, found: Sequence[Record]
    ) -> Iterator[list[tuple[int, int, list[int]]]]:
        """(image, expression, token ids) in chunks; like lengths share a chunk."""
        places = [
            (i, j) for i, r in enumerate(found) for j in range(len(r.expressions))
        ]
        ids = self._tokenizer.ids([x.sent for r in found for x in r.expressions])
        rows = [(i, j, t) for (i, j), t in zip(places, ids, strict=True)]
        rows.sort(key=lambda row: len(row[2]))
        size = self._config.eval.expressions
        for start in range(0, len(rows), size):
            yield rows[start : start + size]

    def _decode(
        self, features: Any, rows: Sequence[tuple[int, int, list[int]]]
    ) -> tuple[Any, Any]:
        """Logits of a chunk, its last rows padded with the first row's repetition."""
        config, size = self._config, self._config.eval.expressions
        tokens, lengths = self._tokenizer.pad(
            [ids for *_, ids in rows], config.model.text.context, config.data.lengths
        )
        index = np.array([image for image, *_ in rows], np.int32)
        lengths = _pad(lengths, size)
        words = self._segmenter.encode_text(_pad(tokens, size), lengths)
        return self._segmenter.decode(features, words, lengths, _pad(index, size))


def _pad(rows: np.ndarray, size: int) -> np.ndarray:
    """`rows` filled up to `size` with copies of the first, whose output is dropped."""
    return np.concatenate([rows, np.repeat(rows[:1], size - len(rows), axis=0)])


def _answer(
    logits: Float32[np.ndarray, "g g"], no_target: float, placement: Placement
) -> Prediction:
    p, grid = placement, len(logits)
    height = geometry.valid_cells(p.height, p.canvas, grid)
    width = geometry.valid_cells(p.width, p.canvas, grid)
    valid = logits[:height, :width]
    if not (np.isfinite(valid).all() and np.isfinite(no_target)):
        raise CheckpointError(
            "the model's logits are not finite; take another step of the run"
        )
    mask = geometry.logits_to_mask(logits, placement)
    marked = valid[valid > 0]
    score = float(_sigmoid(marked).mean()) if marked.size else 0.0
    none = float(_sigmoid(np.float32(no_target)))
    return Prediction(records.encode_mask(mask), score, none)


def _sigmoid(x: Any) -> Float[np.ndarray, "..."]:
    return np.asarray(0.5 * (1 + np.tanh(0.5 * x)))
