"""Predictions for every expression of a prepared split, scored by a protocol.

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

from unires_jax.config import Config, mask_grid, preprocessing
from unires_jax.data import records
from unires_jax.data.records import Expression, Record
from unires_jax.data.tokenizer import Tokenizer
from unires_jax.errors import CheckpointError, DataError
from unires_jax.evaluation import ground_truth as truth
from unires_jax.evaluation import metrics, protocols, resample
from unires_jax.evaluation.ground_truth import Truth
from unires_jax.evaluation.protocols import NATIVE
from unires_jax.evaluation.results import Prediction, Result, judge
from unires_jax.pixels import grid as geometry
from unires_jax.pixels.canvas import Placement, place, prepare_image
from unires_jax.pixels.masks import encode_mask, union_rle

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
    protocol: protocols.Protocol = NATIVE,
    images: int | None = None,
    shard: tuple[int, int] = (0, 1),
    progress: bool = False,
    ceiling: bool = True,
) -> list[Result]:
    """One row for each expression the protocol scores, of the first `images` pictures.

    `shard` is (process, processes): every processes-th picture is this one's, and
    `results.gather` joins the rows. `ceiling` adds what the decoder's grid allows, at
    original size: under `native` alone. Raises DataError naming a record that cannot
    be used; nothing is skipped.
    """
    count = len(split) if images is None else min(images, len(split))
    mine = range(count)[shard[0] :: shard[1]]
    size = config.eval.batch
    batches = [mine[i : i + size] for i in range(0, len(mine), size)]
    judging = _Judging(split, protocol, config if ceiling else None)

    def run(batch: Sequence[int]) -> list[list[Result]]:
        found = [_read(split, i) for i in batch]
        asked = [protocols.narrow(protocol, record) for record in found]
        answers = predict([record for record, _ in asked])
        return [
            judging.rows(image, record, indices, answer)
            for image, (record, indices), answer in zip(
                batch, asked, answers, strict=True
            )
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


class _Judging:
    """Rows of a record; its expressions share what their targets have in common."""

    def __init__(
        self, split: Split, protocol: protocols.Protocol, grid_of: Config | None
    ):
        self._split, self._protocol = split, protocol
        self._config = grid_of if protocol is NATIVE else None

    def rows(
        self,
        image: int,
        record: Record,
        indices: Sequence[int],
        predictions: Sequence[Prediction],
    ) -> list[Result]:
        """`record` holds the scored expressions, `indices` their places before."""
        shared: dict[tuple[int, ...], tuple[Truth, tuple[int, int] | None]] = {}
        rows = []
        for index, x, answer in zip(
            indices, record.expressions, predictions, strict=True
        ):
            if x.targets not in shared:
                shared[x.targets] = self._of_targets(record, x)
            drawn, ceiling = shared[x.targets]
            key = records.expression_key(
                self._split.dataset, self._split.split, record, x
            )
            rows.append(
                judge(
                    record,
                    x,
                    answer,
                    key=key,
                    image=image,
                    index=index,
                    ceiling=ceiling,
                    protocol=self._protocol,
                    target=drawn,
                )
            )
        return rows

    def _of_targets(
        self, record: Record, x: Expression
    ) -> tuple[Truth, tuple[int, int] | None]:
        try:
            drawn = truth.of_expression(self._protocol, record, x)
        except DataError as error:
            raise DataError(f"{record.source} {record.filename}: {error}") from None
        if not self._config:
            return drawn, None
        return drawn, _ceiling(record, x, self._config) if x.targets else (0, 0)


def _ceiling(record: Record, expression: Expression, config: Config) -> tuple[int, int]:
    """(I, U) of the ground truth pushed through the decoder grid."""
    rle = records.target_rle(record, expression)
    placement = place(record.height, record.width, config.model.image_size)
    mask = geometry.through_grid(rle, placement, mask_grid(config.model))
    size = [record.height, record.width]
    return metrics.intersection_union(mask, {"size": size, "counts": rle})


def ground_truth(
    found: Sequence[Record], protocol: protocols.Protocol = NATIVE
) -> list[list[Prediction]]:
    """The perfect `Predict`: scores 100.0 if everything after the masks is right.

    Answers are the ground truth as the protocol draws it, on its own grid.
    """

    def answer(record: Record, x: Expression) -> Prediction:
        drawn = truth.of_expression(protocol, record, x).runs
        counts = encode_mask(drawn.decode())
        none = 0.0 if x.targets else 1.0
        if protocol.grid is None:
            return Prediction(counts, 1.0, none)
        return Prediction(records.target_rle(record, x), 1.0, none, counts)

    return [[answer(r, x) for x in r.expressions] for r in found]


def empty(found: Sequence[Record]) -> list[list[Prediction]]:
    """The `Predict` that never marks a pixel: scores 0.0."""
    nothing = [union_rle([], r.height, r.width) for r in found]
    return [
        [Prediction(rle, 0.0, None)] * len(r.expressions)
        for r, rle in zip(found, nothing, strict=True)
    ]


class ModelPredict:
    """The `Predict` of a model."""

    def __init__(
        self,
        segmenter: Segmenter,
        tokenizer: Tokenizer,
        config: Config,
        protocol: protocols.Protocol = NATIVE,
    ):
        """Sizes come from `config.eval`, `config.model` and `config.data.lengths`."""
        self._segmenter, self._tokenizer, self._config = segmenter, tokenizer, config
        self._protocol = protocol

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
                answers[image][index] = _answer(
                    mask, float(none), placements[image], self._protocol
                )
        return answers

    def _prepare(self, record: Record) -> tuple[UInt8[np.ndarray, "s s 3"], Placement]:
        name = f"{record.source} image {record.image_id} ({record.filename})"
        model = self._config.model
        try:
            found = prepare_image(
                record.image, model.image_size, preprocessing(model).pad_colour
            )
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
    logits: Float32[np.ndarray, "g g"],
    no_target: float,
    placement: Placement,
    protocol: protocols.Protocol,
) -> Prediction:
    p, grid = placement, len(logits)
    height = geometry.valid_cells(p.height, p.canvas, grid)
    width = geometry.valid_cells(p.width, p.canvas, grid)
    valid = logits[:height, :width]
    if not (np.isfinite(valid).all() and np.isfinite(no_target)):
        raise CheckpointError(
            "the model's logits are not finite; take another step of the run"
        )
    marked = valid[valid > 0]
    score = float(_sigmoid(marked).mean()) if marked.size else 0.0
    none = float(_sigmoid(np.float32(no_target)))
    scored = encode_mask(resample.mask(protocol, logits, placement))
    if protocol.grid is None:
        return Prediction(scored, score, none)
    original = geometry.logits_to_mask(logits, placement)
    return Prediction(encode_mask(original), score, none, scored)


def _sigmoid(x: Any) -> Float[np.ndarray, "..."]:
    return np.asarray(0.5 * (1 + np.tanh(0.5 * x)))
