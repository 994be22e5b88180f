"""What stands behind the endpoints: pictures read, asked about, and kept."""

import asyncio
import base64
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal, TypeVar

from unires_jax import __version__
from unires_jax.errors import DataError
from unires_jax.inference.segment import Segment
from unires_jax.serving.api import intake
from unires_jax.serving.api.admission import Admission
from unires_jax.serving.api.batcher import Answered, Batcher
from unires_jax.serving.api.metrics import Metrics
from unires_jax.serving.api.pictures import Picture, Pictures
from unires_jax.serving.api.problems import Problem, later
from unires_jax.serving.api.schema import (
    Answer,
    EncodeAnswer,
    Health,
    ModelAnswer,
    ModelName,
    Rle,
    SegmentAnswer,
    SegmentRequest,
)
from unires_jax.serving.api.settings import Settings
from unires_jax.serving.photo import encode_png
from unires_jax.serving.predictor import MAX_CHARACTERS, Predictor

T = TypeVar("T")
WORKERS = 4  # threads that decode pictures and write masks, at most (ours)
IN_MEMORY = 2  # batches whose pictures are in memory at once (ours)


class Service:
    """Answers requests with one Predictor. For one event loop."""

    def __init__(self, model: Predictor, settings: Settings | None = None):
        self.settings = settings = settings or Settings()
        self.admission = Admission(settings.requests, settings.body_bytes)
        self.metrics = Metrics()
        self.pictures = Pictures(settings.kept_bytes, settings.kept_seconds)
        self.batcher = Batcher(
            model,
            batch=settings.batch,
            sentences=settings.sentences,
            max_wait=settings.max_wait,
            observe=self._observe,
        )
        self.model_name = ModelName(
            name=str(model.about["name"]),
            step=model.about["step"],
            revision=str(model.about["revision"]),
            fingerprint=model.fingerprint,
            version=__version__,
        )
        self.metrics.model.set(
            1, **{k: str(v) for k, v in self.model_name.model_dump().items()}
        )
        self._model = model
        self._workers = ThreadPoolExecutor(
            min(WORKERS, os.cpu_count() or 1), thread_name_prefix="pictures"
        )
        self._room = asyncio.Semaphore(IN_MEMORY * settings.batch)
        self._ending = False

    def start(self) -> None:
        """Warm up, then be ready. Returns at once."""
        self.batcher.start()

    def close(self) -> None:
        """Take no more requests; end the threads."""
        self._ending = True
        self.batcher.close(self.settings.grace)
        self._workers.shutdown(wait=False, cancel_futures=True)

    def check_ready(self) -> None:
        """Raise Problem 503 unless requests are answered."""
        if not self.batcher.ready or self._ending:
            raise later(503, f"the server is {self._status()}", 5.0)

    def health(self) -> Health:
        """Whether requests are answered."""
        return Health(status=self._status(), model=self.model_name)

    def _status(self) -> Literal["starting", "ready", "ending"]:
        if self._ending:
            return "ending"
        return "ready" if self.batcher.ready else "starting"

    def about(self) -> ModelAnswer:
        """The model, and what is taken."""
        return ModelAnswer(
            model=self.model_name,
            image_size=self._model.config.model.image_size,
            trained_on=str(self._model.about.get("trained_on", "")),
            no_target_trained=bool(self._model.about["no_target_trained"]),
            max_file_bytes=self.settings.file_bytes,
            max_pixels=self.settings.pixels,
            max_sentences=self.settings.sentences,
            max_characters=MAX_CHARACTERS,
            batch=self.settings.batch,
        )

    async def encode(self, data: bytes | None) -> bytes:
        """Look at a picture and keep it: an EncodeAnswer as JSON. Raises Problem."""
        if data is None:
            raise Problem(422, "image: missing; expected a picture's file")
        picture = (await self._answered(data, [])).picture
        height, width = picture.size
        return (
            EncodeAnswer(
                model=self.model_name,
                height=height,
                width=width,
                warnings=list(picture.warnings),
                key=self.pictures.put(picture),
                expires_in=self.settings.kept_seconds,
            )
            .model_dump_json()
            .encode()
        )

    async def segment(self, asked: SegmentRequest, data: bytes | None) -> bytes:
        """Answer sentences about a picture: a SegmentAnswer as JSON. Raises Problem."""
        sentences = await asyncio.to_thread(self._sentences, asked.sentences)
        source = self._source(asked.key, data)
        picture, segments = await self._answered(source, sentences)
        key = asked.key
        if asked.keep and key is None:
            key = self.pictures.put(picture)
        return await self._work(self._written, picture, segments, asked, key)

    def _sentences(self, sentences: list[str]) -> list[str]:
        if len(sentences) > self.settings.sentences:
            raise Problem(
                422,
                f"{len(sentences)} sentences; at most {self.settings.sentences} are "
                "answered at once",
            )
        try:
            return self._model.check(sentences)
        except DataError as error:
            raise Problem(422, str(error)) from None

    def _source(self, key: str | None, data: bytes | None) -> bytes | Picture:
        if (key is None) == (data is None):
            raise Problem(
                422, "expected a picture as image, or the key of one, not both"
            )
        if data is not None:
            return data
        picture = self.pictures.get(str(key))
        if picture is None:
            raise Problem(
                404, "no picture is kept under this key (any more); encode it again"
            )
        return picture

    async def _answered(
        self, source: bytes | Picture, sentences: list[str]
    ) -> Answered:
        """The device's answer; if this is cancelled, the device is not asked."""
        if isinstance(source, Picture):
            return await asyncio.wrap_future(self.batcher.submit(source, sentences))
        async with self._room:
            photo = await self._work(intake.open_picture, source, self.settings)
            return await asyncio.wrap_future(self.batcher.submit(photo, sentences))

    async def _work(self, function: Callable[..., T], *args: Any) -> T:
        """Call in a thread of those that may hold large pictures."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._workers, function, *args)

    def _written(
        self,
        picture: Picture,
        segments: list[Segment],
        asked: SegmentRequest,
        key: str | None,
    ) -> bytes:
        height, width = picture.size
        answers = [_answer(x.at(asked.threshold), asked.masks) for x in segments]
        answer = SegmentAnswer(
            model=self.model_name,
            height=height,
            width=width,
            warnings=list(picture.warnings),
            key=key,
            answers=answers,
        )
        return answer.model_dump_json().encode()

    def _observe(self, requests: int, sentences: int, seconds: float) -> None:
        self.metrics.batches.add(requests)
        self.metrics.sentences.add(sentences)
        self.metrics.device.add(seconds)


def _answer(segment: Segment, masks: str) -> Answer:
    """A segment as JSON; its mask is made here, and freed with it."""
    png = (
        base64.b64encode(encode_png(segment.mask)).decode() if masks == "png" else None
    )
    return Answer(
        expression=segment.expression,
        score=segment.score,
        calibrated=segment.calibrated,
        no_target=segment.no_target,
        no_target_probability=segment.no_target_probability,
        threshold=segment.threshold,
        box=list(segment.box),
        area=segment.area,
        rle=Rle(**segment.rle) if masks == "rle" else None,
        png=png,
        note=segment.note,
    )
