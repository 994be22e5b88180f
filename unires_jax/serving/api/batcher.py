"""Requests of one moment on the device together.

One thread gives the device its work. While the device is busy requests wait; then those
that wait go together, and a batch that is not full is given a few milliseconds more.
Source: ours; it is what inference servers call dynamic batching.
"""

import collections
import contextlib
import dataclasses
import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from typing import Any, NamedTuple

import numpy as np

from unires_jax.inference import regroup
from unires_jax.inference.answer import PowersOfTwo
from unires_jax.inference.segment import Segment
from unires_jax.serving.api.pictures import Picture
from unires_jax.serving.api.problems import later
from unires_jax.serving.photo import Photo
from unires_jax.serving.predictor import Predictor

# Sentences are decoded in 4 or more rows: fewer programs to compile, and a decoder that
# is given one row is hardly faster than with four (ours).
LEAST_ROWS = 4

log = logging.getLogger(__name__)


class Answered(NamedTuple):
    """A picture, looked at, and the answers to a request's sentences."""

    picture: Picture
    segments: list[Segment]


@dataclasses.dataclass(frozen=True, eq=False)
class Request:
    """What one client wants of the device."""

    picture: Photo | Picture  # a Photo is yet to be looked at
    sentences: tuple[str, ...]  # none: look at the picture alone
    answered: Future[Answered] = dataclasses.field(default_factory=Future)
    since: float = dataclasses.field(default_factory=time.monotonic)


@dataclasses.dataclass(frozen=True)
class Rows(PowersOfTwo):
    """Powers of two, of sentences at least LEAST_ROWS."""

    def sentence_rows(self, count: int) -> int:
        """Rows of a chunk of so many sentences."""
        return max(LEAST_ROWS, super().sentence_rows(count))


class Batcher:
    """Answers requests, up to `batch` of them, with up to `sentences`, at a time.

    `observe` is told the number of requests, that of sentences, and the seconds of each
    batch. Threads may share it.
    """

    def __init__(
        self,
        model: Predictor,
        *,
        batch: int,
        sentences: int,
        max_wait: float,
        observe: Callable[[int, int, float], None] = lambda *_: None,
    ):
        self._model, self._batch, self._sentences = model, batch, sentences
        self._max_wait, self._observe = max_wait, observe
        rows = 1 << (sentences - 1).bit_length()
        self._answerer = dataclasses.replace(model.answerer, shapes=Rows(rows))
        self._waiting: collections.deque[Request] = collections.deque()
        self._changed = threading.Condition()
        self._ending = False
        self._thread = threading.Thread(target=self._run, name="device", daemon=True)
        self._batch_seconds = 0.1  # the last one took
        self.ready = False  # warm
        self.failure: BaseException | None = None  # why it ended by itself
        self.on_ready: Callable[[], None] = lambda: None
        self.on_failure: Callable[[], None] = lambda: None

    def start(self) -> None:
        """Compile what requests will need, then answer them. Returns at once."""
        self._thread.start()

    def submit(
        self, picture: Photo | Picture, sentences: Sequence[str] = ()
    ) -> Future[Answered]:
        """Let a request wait for the device. One that is cancelled costs nothing.

        At the end its answer is Problem 503.
        """
        request = Request(picture, tuple(sentences))
        with self._changed:
            if self._ending:
                _refuse(request)
            else:
                self._waiting.append(request)
                self._changed.notify()
        request.answered.add_done_callback(self._forget)
        return request.answered

    def _forget(self, answered: Future[Answered]) -> None:
        """Free the picture of a request whose client went away while it waited."""
        if answered.cancelled():
            with self._changed:
                others = (x for x in self._waiting if x.answered is not answered)
                self._waiting = collections.deque(others)

    @property
    def seconds_ahead(self) -> float:
        """How long a new request would wait, about."""
        return (len(self._waiting) // self._batch + 1) * self._batch_seconds

    def close(self, seconds: float) -> None:
        """Take no more requests; wait so long for those that are in the device."""
        self._end()
        if self._thread.is_alive():
            self._thread.join(seconds)

    def _end(self, asked: Sequence[Request] = ()) -> None:
        """Refuse those that wait, those to come, and these."""
        with self._changed:
            self._ending = True
            waiting, self._waiting = self._waiting, collections.deque()
            self._changed.notify()
        for request in (*asked, *waiting):
            _refuse(request)

    def _run(self) -> None:
        requests: list[Request] = []
        try:
            self._warm_up()
            while requests := self._next():
                start = time.monotonic()
                self._answer_each(requests)
                self._batch_seconds = time.monotonic() - start
                count = sum(len(request.sentences) for request in requests)
                self._observe(len(requests), count, self._batch_seconds)
        except BaseException as error:  # told by the thread that waits for this one
            self.failure, self.ready = error, False
            self._end(requests)
            self.on_failure()

    def _next(self) -> list[Request]:
        """The requests of the next batch; none at the end."""
        with self._changed:
            requests: list[Request] = []
            while not requests:
                while not self._waiting and not self._ending:
                    self._changed.wait()
                if not self._waiting:
                    return []
                end = self._waiting[0].since + self._max_wait
                while len(self._waiting) < self._batch and not self._ending:
                    left = end - time.monotonic()
                    if left <= 0:
                        break
                    self._changed.wait(left)
                requests = self._take()
            return requests

    def _take(self) -> list[Request]:
        requests: list[Request] = []
        room = self._sentences
        while self._waiting and len(requests) < self._batch:
            room -= len(self._waiting[0].sentences)
            if requests and room < 0:
                break
            request = self._waiting.popleft()
            if request.answered.set_running_or_notify_cancel():
                requests.append(request)
            else:  # its client has gone
                room += len(request.sentences)
        return requests

    def _answer_each(self, requests: list[Request]) -> None:
        """Answer together; where that fails each alone, so that one fails alone."""
        try:
            for request, answered in zip(requests, self._answer(requests), strict=True):
                request.answered.set_result(answered)
        except Exception as error:
            if len(requests) == 1:
                requests[0].answered.set_exception(error)
                return
            log.warning("a batch failed (%s); its requests go one by one", error)
            for request in requests:
                self._answer_each([request])

    def _answer(self, requests: Sequence[Request]) -> list[Answered]:
        pictures = self._look([request.picture for request in requests])
        asking = [i for i, request in enumerate(requests) if request.sentences]
        segments: list[list[Segment]] = [[] for _ in requests]
        if asking:
            encoded = [pictures[i].encoded for i in asking]
            questions = [
                (place, sentence)
                for place, i in enumerate(asking)
                for sentence in requests[i].sentences
            ]
            batch = regroup.together(encoded, self._batch)
            answers = dict(self._answerer.answers(batch, questions))
            for number, (place, _) in enumerate(questions):
                segments[asking[place]].append(answers[number])
        return [Answered(x, y) for x, y in zip(pictures, segments, strict=True)]

    def _look(self, pictures: Sequence[Photo | Picture]) -> list[Picture]:
        """Look at those that are not looked at yet, as one batch."""
        photos = [x for x in pictures if isinstance(x, Photo)]
        images = iter(self._model.encode_images(photos) if photos else ())
        return [
            Picture.of(next(images)) if isinstance(x, Photo) else x for x in pictures
        ]

    def _warm_up(self) -> None:
        """Compile for every number of pictures and sentences that a batch may have."""
        picture = Photo(np.zeros((48, 64, 3), np.uint8), "")
        for count in sorted({min(2**n, self._batch) for n in range(self._batch)}):
            if self._ending:
                return
            pictures = self._look([picture] * count)
        batch = regroup.together([x.encoded for x in pictures], self._batch)
        answerer, counts = self._answerer, range(1, self._sentences + 1)
        for rows in sorted({answerer.shapes.sentence_rows(n) for n in counts}):
            for length in self._lengths():
                if self._ending:
                    return
                compile_for(answerer.segmenter, batch[0].features, rows, length)
        (answered,) = self._answer([Request(picture, ("a",))])
        _ = answered.segments[0].rle  # by numba, which compiles too
        self.ready = True
        self.on_ready()

    def _lengths(self) -> list[int]:
        """Tokens to which sentences are filled up."""
        config = self._answerer.config
        context = config.model.text.context
        return sorted({min(length, context) for length in config.data.lengths})


def _refuse(request: Request) -> None:
    with contextlib.suppress(InvalidStateError):  # it has an answer, or no client
        request.answered.set_exception(later(503, "the server ends", 5.0))


def compile_for(segmenter: Any, features: Any, rows: int, length: int) -> None:
    """Decode so many sentences of so many tokens, of no meaning; waits for the end."""
    tokens = np.zeros((rows, length), np.int32)
    lengths = np.full(rows, length, np.int32)
    words = segmenter.encode_text(tokens, lengths)
    logits, _ = segmenter.decode(features, words, lengths, np.zeros(rows, np.int32))
    np.asarray(logits)
