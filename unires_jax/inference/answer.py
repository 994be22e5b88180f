"""From pictures and sentences to answers: the one driver of the model's three steps.

A picture is encoded once for any number of sentences. What is compiled depends on the
numbers of pictures and sentences alone; `Shapes` says to which numbers they are rounded
up: to the same ones always (evaluation), or to powers of two (the Predictor).
"""

import collections
import dataclasses
import functools
import typing
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float32, Int32, Shaped, UInt8

from unires_jax.config import Config, preprocessing
from unires_jax.data.tokenizer import Tokenizer
from unires_jax.errors import CheckpointError
from unires_jax.inference.calibration import Calibration
from unires_jax.inference.likeness import Likeness, pooled
from unires_jax.inference.segment import Segment, sigmoid
from unires_jax.pixels.canvas import Placement, draw, place
from unires_jax.pixels.grid import picture_cells

AHEAD = 2  # chunks of sentences that the device is given before one is fetched (ours)


@typing.runtime_checkable
class Segmenter(typing.Protocol):
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


@dataclasses.dataclass(frozen=True)
class FixedShapes:
    """The same sizes always: one compilation for each length of sentences."""

    pictures: int
    sentences: int  # decoded at once

    def picture_rows(self, count: int) -> int:
        """Rows of a batch of so many pictures, at most `pictures`."""
        return self.pictures

    def sentence_rows(self, count: int) -> int:
        """Rows of a chunk of so many sentences, at most `sentences`."""
        return self.sentences


@dataclasses.dataclass(frozen=True)
class PowersOfTwo:
    """The smallest power of two that holds them: a few compilations, little padding."""

    sentences: int  # decoded at once, a power of two

    def picture_rows(self, count: int) -> int:
        """Rows of a batch of so many pictures."""
        return _power_of_two(count)

    def sentence_rows(self, count: int) -> int:
        """Rows of a chunk of so many sentences."""
        return _power_of_two(count)


def _power_of_two(count: int) -> int:
    """The smallest that holds so many."""
    return 1 << max(count - 1, 0).bit_length()


@dataclasses.dataclass(frozen=True, eq=False)
class EncodedPicture:
    """A picture that the model has looked at."""

    placement: Placement
    features: Any  # of the batch that holds it, on the device
    index: int  # its place in that batch
    likeness: Likeness | None = None  # of the pictures that the model knows

    @property
    def pooled(self) -> Float32[np.ndarray, "c"]:
        """What tells whether it is like others, as a vector. Waits for the device."""
        return pooled(self.features, self.index, self.placement)

    @functools.cached_property
    def distance(self) -> float | None:
        """How far it is from the pictures the model knows; above 1 it is unlike them.

        None where nothing tells. The first use waits for the device.
        """
        return None if self.likeness is None else self.likeness.distance(self.pooled)


@dataclasses.dataclass(frozen=True)
class Answerer:
    """A model that answers. Threads may share it."""

    segmenter: Segmenter
    tokenizer: Tokenizer
    config: Config
    shapes: FixedShapes | PowersOfTwo
    no_target_trained: bool  # else its head never decides: probabilities are None
    checkpoint: str = ""  # whose parameters these are, for messages
    trained_on: str = ""  # in words, for messages
    calibration: Calibration | None = None  # None: numbers are reported as they come

    def look(
        self, pictures: Sequence[UInt8[np.ndarray, "_ _ 3"]]
    ) -> list[EncodedPicture]:
        """Encode RGB pictures as one batch."""
        size = self.config.model.image_size
        rows = self.shapes.picture_rows(len(pictures))
        canvases = np.zeros((rows, size, size, 3), np.uint8)
        extent = np.ones((rows, 2), np.int32)
        pad = preprocessing(self.config.model).pad_colour
        placements = [place(len(x), x.shape[1], size) for x in pictures]
        for i, (picture, p) in enumerate(zip(pictures, placements, strict=True)):
            draw(picture, p, canvases[i], pad)
            extent[i] = p.height, p.width
        features = self.segmenter.encode_image(canvases, extent)
        likeness = self.calibration.likeness if self.calibration else None
        return [
            EncodedPicture(p, features, i, likeness) for i, p in enumerate(placements)
        ]

    def answers(
        self, pictures: Sequence[EncodedPicture], questions: Sequence[tuple[int, str]]
    ) -> Iterator[tuple[int, Segment]]:
        """The number of each question (picture, sentence), and its answer.

        `pictures` are of one batch. Sentences of like length are decoded together, and
        come in that order. Raises DataError for a sentence without words,
        CheckpointError if the model's logits are not finite.
        """
        ids = self.tokenizer.ids([sentence for _, sentence in questions])
        order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
        size = self.shapes.sentences
        chunks = [order[i : i + size] for i in range(0, len(order), size)]
        outputs = _ahead(
            self._decode(
                pictures, [questions[i][0] for i in chunk], [ids[i] for i in chunk]
            )
            for chunk in chunks
        )
        for chunk, output in zip(chunks, outputs, strict=True):
            logits, no_target = (np.asarray(x) for x in output)
            probabilities = sigmoid(no_target)
            for row, number in enumerate(chunk):
                picture, sentence = questions[number]
                placement = pictures[picture].placement
                self._check(picture_cells(logits[row], placement), no_target[row])
                yield (
                    number,
                    Segment(
                        sentence,
                        logits[row],
                        placement,
                        self._nothing(float(probabilities[row])),
                        note=self._note(ids[number]),
                        right=self.calibration.right if self.calibration else None,
                        familiar=(pictures[picture].distance or 0) <= 1,
                    ),
                )

    def warm_up(
        self, sentences: int, is_over: Callable[[], bool] = lambda: False
    ) -> None:
        """Compile for one picture and up to so many sentences of any length.

        Few sentences first; nothing more is compiled once `is_over` says so.
        """
        (picture,) = self.look([np.zeros((2, 2, 3), np.uint8)])
        most = min(sentences, self.shapes.sentences)
        for rows in sorted({self.shapes.sentence_rows(n + 1) for n in range(most)}):
            for length in self.config.data.lengths:
                if is_over():
                    return
                ids = [[self.tokenizer.eos] * (length - self.tokenizer.around)] * rows
                logits, _ = self._decode([picture], [0] * rows, ids)
                np.asarray(logits)  # waits: the first question need not

    def _decode(
        self,
        pictures: Sequence[EncodedPicture],
        places: Sequence[int],
        ids: Sequence[Sequence[int]],
    ) -> tuple[Any, Any]:
        """Logits of a chunk, on the device; `places` are among the pictures."""
        rows = self.shapes.sentence_rows(len(ids))
        tokens, lengths = self.tokenizer.pad(
            ids, self.config.model.text.context, self.config.data.lengths
        )
        index = np.array([pictures[i].index for i in places], np.int32)
        tokens, lengths, index = (_filled(x, rows) for x in (tokens, lengths, index))
        words = self.segmenter.encode_text(tokens, lengths)
        return self.segmenter.decode(pictures[0].features, words, lengths, index)

    def _nothing(self, probability: float) -> float | None:
        """The probability that nothing is meant, calibrated if it can be."""
        if not self.no_target_trained:
            return None
        calibrated = self.calibration and self.calibration.nothing
        return calibrated(probability) if calibrated else probability

    def _note(self, ids: Sequence[int]) -> str:
        lengths = self.config.data.lengths
        return self.tokenizer.note(ids, self.config.model.text.context, lengths)

    def _check(self, *logits: Any) -> None:
        if not all(np.isfinite(x).all() for x in logits):
            raise CheckpointError(
                "the model's logits are not finite; take another step of the run",
                place=self.checkpoint,
            )


def _filled(array: Shaped[np.ndarray, "e *n"], rows: int) -> Shaped[np.ndarray, "r *n"]:
    """Filled up with copies of the first row, whose output is dropped."""
    return np.concatenate([array, np.repeat(array[:1], rows - len(array), axis=0)])


def _ahead(outputs: Iterable[tuple[Any, Any]]) -> Iterator[tuple[Any, Any]]:
    """The outputs, each after the device was given the next ones."""
    waiting: collections.deque[tuple[Any, Any]] = collections.deque()
    for output in outputs:
        waiting.append(output)
        if len(waiting) > AHEAD:
            yield waiting.popleft()
    yield from waiting
