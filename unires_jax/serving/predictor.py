"""A trained model that answers: pictures and sentences in, masks out.

model = unires_jax.load("runs/quickstart")
features = model.encode_image("photo.jpg")
for segment in model.segment(features, ["wheels of the truck", "the red car"]):
    print(segment.expression, segment.score, segment.box)
"""

import collections
import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import UInt8

from unires_jax.config import Config
from unires_jax.data.tokenizer import Tokenizer
from unires_jax.errors import DataError
from unires_jax.inference.answer import Answerer, EncodedPicture, PowersOfTwo
from unires_jax.inference.loaded import Loaded
from unires_jax.inference.places import BUNDLED
from unires_jax.inference.segment import Segment
from unires_jax.inference.warming import Warming
from unires_jax.serving.photo import ImageLike, Photo, read_photo

MAX_CHARACTERS = 10_000  # of an expression (ours); the model reads some tens of words
MAX_SENTENCES = 64  # decoded at once (ours)


@dataclasses.dataclass(frozen=True, eq=False)
class EncodedImage:
    """A picture the model has looked at. Any number of expressions shares it."""

    pixels: UInt8[np.ndarray, "H W 3"]  # as used: upright RGB
    note: str  # "", or what was done to the picture that a user should know
    encoded: EncodedPicture  # on the device, with the pictures of its batch
    trained_on: str = ""  # the model's training data in words

    @property
    def distance(self) -> float | None:
        """How far it is from the pictures the model knows; above 1 it is `unlike`.

        None for a model without a calibration.
        """
        return self.encoded.distance

    @property
    def unlike(self) -> str:
        """ "", or that it looks unlike what the model was trained on, for a user."""
        if self.distance is None or self.distance <= 1:
            return ""
        known = f" ({self.trained_on})" if self.trained_on else ""
        return (
            "the picture looks unlike those that the model was trained on"
            f"{known}: expect wrong masks, and scores that mean nothing"
        )

    @property
    def nbytes(self) -> int:
        """What it takes, in bytes."""
        import jax

        arrays = jax.tree.leaves(self.encoded.features)
        return self.pixels.nbytes + sum(int(x.nbytes) for x in arrays)


class PairAnswer(NamedTuple):
    """A picture of `segment_pairs` and the answers to its sentences."""

    number: int  # of the pair among those given, from 0
    image: EncodedImage
    segments: list[Segment]


OnError = Callable[[int, DataError], None]  # takes the number of the pair
_Pair = tuple[int, tuple[ImageLike, str | Sequence[str]]]  # its number first


class Predictor:
    """UniRES with its parameters on this process's first device.

    Threads may share it. Numbers of expressions are rounded up to powers of two and
    their lengths to the config's, so that a new count rarely compiles anything;
    `warmup` compiles them beforehand.
    """

    def __init__(self, loaded: Loaded):
        self._loaded = loaded
        self.config: Config = loaded.config
        self.tokenizer: Tokenizer = loaded.tokenizer
        self.about = loaded.about
        self.trained_on = loaded.trained_on  # in words; "" where nothing tells
        self.answerer = self._answerer_on(_devices()[0])

    def encode_image(self, image: ImageLike) -> EncodedImage:
        """Look at a picture: a path, bytes, a PIL image or an array (`photo`).

        Raises DataError for what is no picture.
        """
        return self.encode_images([image])[0]

    def encode_images(self, images: Sequence[ImageLike]) -> list[EncodedImage]:
        """Look at several pictures as one batch. Raises as `encode_image`."""
        return _look([read_photo(image) for image in images], self.answerer)

    def segment(
        self, image: ImageLike | EncodedImage, expressions: str | Sequence[str]
    ) -> list[Segment]:
        """The answer to each expression, in order.

        Raises DataError for a bad picture or an empty, overlong or unreadable
        expression, CheckpointError if the model's numbers are not finite.
        """
        sentences = _checked(expressions)
        if not isinstance(image, EncodedImage):
            image = self.encode_image(image)
        questions = [(0, text) for text in sentences]
        answers = dict(self.answerer.answers([image.encoded], questions))
        return [answers[i] for i in range(len(questions))]

    def segment_batch(
        self,
        images: Iterable[ImageLike],
        expressions: str | Sequence[str],
        batch: int = 8,
    ) -> Iterator[list[Segment]]:
        """The answers of many pictures to the same expressions, `batch` at a time.

        Each picture is read when its turn comes. Raises as `segment`.
        """
        sentences = _checked(expressions)
        pairs = ((image, sentences) for image in images)
        yield from (answer.segments for answer in self.segment_pairs(pairs, batch))

    def segment_pairs(
        self,
        pairs: Iterable[tuple[ImageLike, str | Sequence[str]]],
        batch: int = 8,
        on_error: OnError | None = None,
    ) -> Iterator[PairAnswer]:
        """The answers of many pictures, each to expressions of its own, in order.

        `batch` pictures are looked at together, on each of this process's devices. A
        pair that cannot be used goes to `on_error`, which takes its number and the
        DataError, and is passed over; without it the error is raised. Each picture is
        read when its turn comes.
        """
        for number, outcome in self._outcomes(enumerate(pairs), batch):
            if isinstance(outcome, PairAnswer):
                yield outcome
            elif on_error is None:
                raise outcome
            else:
                on_error(number, outcome)

    def _outcomes(
        self, pairs: Iterator[_Pair], batch: int
    ) -> Iterator[tuple[int, PairAnswer | DataError]]:
        """What came of each pair, in order; chunks go from device to device."""
        chunks = iter(lambda: list(itertools.islice(pairs, batch)), [])
        if len(_devices()) == 1:
            for chunk in chunks:
                yield from _answer_chunk(chunk, self.answerer)
            return
        waiting = collections.deque[Future[list[tuple[int, PairAnswer | DataError]]]]()
        turns = zip(chunks, itertools.cycle(self._answerers), strict=False)
        with ThreadPoolExecutor(len(self._answerers)) as pool:
            for chunk, answerer in turns:
                waiting.append(pool.submit(_answer_chunk, chunk, answerer))
                if len(waiting) > len(self._answerers):
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()

    def check(self, expressions: str | Sequence[str]) -> list[str]:
        """The expressions that `segment` would answer; no model runs.

        Raises DataError for one that is empty, overlong, unreadable or without words.
        """
        sentences = _checked(expressions)
        self.tokenizer.ids(sentences)
        return sentences

    def warmup(self, expressions: int = 8, *, background: bool = False) -> None:
        """Compile for one picture and up to so many expressions of any length.

        In the background, few expressions first: a question waits for its own programs
        alone, and compiles none twice.
        """
        if background:
            Warming(self.answerer, expressions).start()
        else:
            self.answerer.warm_up(expressions)

    @functools.cached_property
    def fingerprint(self) -> str:
        """Which parameters answer: 16 hexadecimal digits."""
        from unires_jax import parameters  # with jax

        return parameters.fingerprint(self._loaded.params)

    @functools.cached_property
    def _answerers(self) -> list[Answerer]:
        """One on each device of this process."""
        return [self.answerer, *map(self._answerer_on, _devices()[1:])]

    def _answerer_on(self, device: Any) -> Answerer:
        from unires_jax.inference.programs import Programs

        return Answerer(
            Programs(self.config.model, self._loaded.params, device),
            self.tokenizer,
            self.config,
            PowersOfTwo(MAX_SENTENCES),
            self._loaded.no_target_trained,
            str(self._loaded.folder),
            self._loaded.trained_on,
            self._loaded.calibration,
        )


def _devices() -> list[Any]:
    """Those of this process. jax is imported when a model is: commands start sooner."""
    import jax

    return jax.local_devices()


def _look(photos: Sequence[Photo], answerer: Answerer) -> list[EncodedImage]:
    pictures = answerer.look([photo.pixels for photo in photos])
    return [
        EncodedImage(photo.pixels, photo.note, picture, answerer.trained_on)
        for photo, picture in zip(photos, pictures, strict=True)
    ]


def _answer_chunk(
    chunk: Sequence[_Pair], answerer: Answerer
) -> list[tuple[int, PairAnswer | DataError]]:
    """What comes of each pair; those that can be used are one batch."""
    outcomes: dict[int, PairAnswer | DataError] = {}
    usable: dict[int, tuple[Photo, list[str]]] = {}
    for number, (image, expressions) in chunk:
        try:
            sentences = _checked(expressions)
            usable[number] = read_photo(image), sentences
        except DataError as error:
            outcomes[number] = error
    if usable:
        photos, texts = zip(*usable.values(), strict=True)
        images = _look(photos, answerer)
        questions = [(i, text) for i, some in enumerate(texts) for text in some]
        answers = dict(answerer.answers([x.encoded for x in images], questions))
        in_order = (answers[i] for i in range(len(questions)))
        for number, image, some in zip(usable, images, texts, strict=True):
            segments = list(itertools.islice(in_order, len(some)))
            outcomes[number] = PairAnswer(number, image, segments)
    return sorted(outcomes.items())


def load(
    path: str | Path = "",
    pick: Literal["best", "last"] = "best",
    *,
    dtype: Literal["", "float32", "bfloat16"] = "",
    image_size: int = 0,
) -> Predictor:
    """The Predictor of a workdir, the folder of one step, an export, or a hub id.

    Without a path: the model that comes with the package and knows the drawn scenes of
    PartWorld alone. `pick` says which step of a workdir; averaged weights are taken
    where it has them. `dtype` is the type of the computation: "" is float32 on CPU,
    which has no fast bfloat16, and the training's elsewhere. `image_size` is the side
    of the square that pictures are letterboxed into, in pixels; 0: the model's own. A
    larger one costs its area, and may find smaller things. Raises CheckpointError, and
    ConfigError for a side that is no multiple of the model's patch.
    """
    import jax

    from unires_jax.inference import model

    loaded = model.load(path or BUNDLED, pick, image_size=image_size)
    if not dtype and jax.default_backend() == "cpu":
        dtype = "float32"
    if dtype:
        config = dataclasses.replace(
            loaded.config, model=dataclasses.replace(loaded.config.model, dtype=dtype)
        )
        loaded = dataclasses.replace(loaded, config=config)
    return Predictor(loaded)


def _checked(expressions: str | Sequence[str]) -> list[str]:
    sentences = [expressions] if isinstance(expressions, str) else list(expressions)
    if not sentences:
        raise DataError("expressions: none given; expected at least one sentence")
    for i, text in enumerate(sentences):
        _check_expression(text, f"expressions[{i}]")
    return sentences


def _check_expression(text: Any, field: str) -> None:
    if not isinstance(text, str):
        raise DataError(f"is a {type(text).__name__}, expected a sentence", place=field)
    if len(text) > MAX_CHARACTERS:
        raise DataError(
            f"has {len(text)} characters, the limit is {MAX_CHARACTERS}", place=field
        )
    try:
        text.encode()
    except UnicodeEncodeError:
        raise DataError("is no valid Unicode text", place=field) from None
    if not text.strip():
        raise DataError("is empty; expected at least one word", place=field)
