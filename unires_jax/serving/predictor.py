"""A trained model that answers: pictures and sentences in, masks out.

model = unires_jax.load("runs/quickstart")
features = model.encode_image("photo.jpg")
for segment in model.segment(features, ["wheels of the truck", "the red car"]):
    print(segment.expression, segment.score, segment.box)
"""

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
from jaxtyping import UInt8

from unires_jax.config import Config
from unires_jax.data.tokenizer import Tokenizer
from unires_jax.errors import DataError
from unires_jax.inference import model as inference
from unires_jax.inference.answer import Answerer, EncodedPicture, PowersOfTwo
from unires_jax.inference.loaded import Loaded
from unires_jax.inference.places import BUNDLED
from unires_jax.inference.segment import Segment
from unires_jax.serving.photo import ImageLike, read_photo

MAX_CHARACTERS = 10_000  # of an expression (ours); the model reads some tens of words
MAX_SENTENCES = 64  # decoded at once (ours)


@dataclasses.dataclass(frozen=True, eq=False)
class EncodedImage:
    """A picture the model has looked at. Any number of expressions shares it."""

    pixels: UInt8[np.ndarray, "H W 3"]  # as used: upright RGB
    note: str  # "", or what was done to the picture that a user should know
    encoded: EncodedPicture  # on the device, with the pictures of its batch

    @property
    def nbytes(self) -> int:
        """What it takes, in bytes."""
        arrays = jax.tree.leaves(self.encoded.features)
        return self.pixels.nbytes + sum(int(x.nbytes) for x in arrays)


class Predictor:
    """UniRES with its parameters on this process's first device.

    Threads may share it. Numbers of expressions are rounded up to powers of two and
    their lengths to the config's, so that a new count rarely compiles anything;
    `warmup` compiles them beforehand.
    """

    def __init__(self, loaded: Loaded):
        self.config: Config = loaded.config
        self.tokenizer: Tokenizer = loaded.tokenizer
        self.about = loaded.about
        steps = inference.Compiled(loaded.config, jax.local_devices()[:1])
        self.answerer = Answerer(
            steps.bind(loaded.params),
            loaded.tokenizer,
            loaded.config,
            PowersOfTwo(MAX_SENTENCES),
            loaded.no_target_trained,
            str(loaded.folder),
        )

    def encode_image(self, image: ImageLike) -> EncodedImage:
        """Look at a picture: a path, bytes, a PIL image or an array (`photo`).

        Raises DataError for what is no picture.
        """
        return self._encode([image])[0]

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
        return self._answer([image], sentences)[0]

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
        waiting = iter(images)
        while chunk := list(itertools.islice(waiting, batch)):
            yield from self._answer(self._encode(chunk), sentences)

    def warmup(self, expressions: int = 8) -> None:
        """Compile for one picture and up to so many expressions of any length."""
        self.answerer.warm_up(expressions)

    def _encode(self, images: Sequence[ImageLike]) -> list[EncodedImage]:
        photos = [read_photo(image) for image in images]
        pictures = self.answerer.look([photo.pixels for photo in photos])
        return [
            EncodedImage(photo.pixels, photo.note, picture)
            for photo, picture in zip(photos, pictures, strict=True)
        ]

    def _answer(
        self, images: Sequence[EncodedImage], sentences: Sequence[str]
    ) -> list[list[Segment]]:
        """Answers of each picture of one batch to all sentences."""
        pictures = [image.encoded for image in images]
        questions = [(i, text) for i in range(len(pictures)) for text in sentences]
        answers = dict(self.answerer.answers(pictures, questions))
        in_order = (answers[i] for i in range(len(questions)))
        return [list(itertools.islice(in_order, len(sentences))) for _ in pictures]


def load(
    path: str | Path = "",
    pick: Literal["best", "last"] = "best",
    *,
    dtype: Literal["", "float32", "bfloat16"] = "",
) -> Predictor:
    """The Predictor of a workdir, the folder of one step, an export, or a hub id.

    Without a path: the quickstart's model, which comes with the package and knows the
    drawn scenes of PartWorld alone. `pick` says which step of a workdir; averaged
    weights are taken where it has them. `dtype` is the type of the computation: "" is
    float32 on CPU, which has no fast bfloat16, and the training's elsewhere. Raises
    CheckpointError.
    """
    loaded = inference.load(path or BUNDLED, pick)
    if not dtype and jax.default_backend() == "cpu":
        dtype = "float32"
    if dtype:
        model = dataclasses.replace(loaded.config.model, dtype=dtype)
        config = dataclasses.replace(loaded.config, model=model)
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
