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
from jaxtyping import Float32, UInt8

from unires_jax.config import Config, preprocessing
from unires_jax.data.tokenizer import Tokenizer
from unires_jax.errors import CheckpointError, DataError
from unires_jax.inference import exported
from unires_jax.inference import model as segmenter
from unires_jax.inference.model import Compiled, Loaded
from unires_jax.pixels.canvas import Placement, draw, place
from unires_jax.serving.photo import ImageLike, read_photo
from unires_jax.serving.segment import Segment

BUNDLED = Path(__file__).parent / "quickstart"  # an export, remade by `make bundle`
MAX_CHARACTERS = 10_000  # of an expression (ours); the model reads some tens of words
MAX_BUCKET = 64  # expressions decoded at once (ours)


@dataclasses.dataclass(frozen=True, eq=False)
class EncodedImage:
    """A picture the model has looked at. Any number of expressions shares it."""

    pixels: UInt8[np.ndarray, "H W 3"]  # as used: upright RGB
    note: str  # "", or what was done to the picture that a user should know
    placement: Placement
    features: Any  # of a batch that holds this picture, on the device
    index: int = 0  # its place in that batch

    @property
    def nbytes(self) -> int:
        """What it takes, in bytes."""
        arrays = jax.tree.leaves(self.features)
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
        self.about = _about(loaded)
        steps = Compiled(loaded.config, jax.local_devices()[:1])
        self._model = steps.bind(loaded.params)

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
        asked = _checked(expressions)
        seen = image if isinstance(image, EncodedImage) else self.encode_image(image)
        return self._answer([seen], [(0, x) for x in asked])[0]

    def segment_batch(
        self,
        images: Iterable[ImageLike],
        expressions: str | Sequence[str],
        batch: int = 8,
    ) -> Iterator[list[Segment]]:
        """The answers of many pictures to the same expressions, `batch` at a time.

        Each picture is read when its turn comes. Raises as `segment`.
        """
        asked = _checked(expressions)
        waiting = iter(images)
        while chunk := list(itertools.islice(waiting, batch)):
            seen = self._encode(chunk)
            yield from self._answer(
                seen, [(i, x) for i in range(len(seen)) for x in asked]
            )

    def warmup(self, expressions: int = 8) -> None:
        """Compile for one picture and up to so many expressions of any length."""
        seen = self.encode_image(np.zeros((2, 2, 3), np.uint8))
        for count in _buckets(expressions):
            for length in self.config.data.lengths:
                ids = [[self.tokenizer.eos] * (length - self.tokenizer.around)] * count
                self._decode([seen], [0] * count, ids)

    def _encode(self, images: Sequence[ImageLike]) -> list[EncodedImage]:
        photos = [read_photo(image) for image in images]
        side = self.config.model.image_size
        canvases = np.empty((_bucket(len(photos)), side, side, 3), np.uint8)
        extent = np.ones((len(canvases), 2), np.int32)
        pad = preprocessing(self.config.model).pad_colour
        placements = [
            place(photo.pixels.shape[0], photo.pixels.shape[1], side)
            for photo in photos
        ]
        for i, (photo, p) in enumerate(zip(photos, placements, strict=True)):
            draw(photo.pixels, p, canvases[i], pad)
            extent[i] = p.height, p.width
        canvases[len(photos) :] = 0
        features = self._model.encode_image(canvases, extent)
        return [
            EncodedImage(photo.pixels, photo.note, p, features, i)
            for i, (photo, p) in enumerate(zip(photos, placements, strict=True))
        ]

    def _answer(
        self, seen: Sequence[EncodedImage], rows: Sequence[tuple[int, str]]
    ) -> list[list[Segment]]:
        """Answers of each picture of one batch to its (picture, expression) rows."""
        answers: list[list[Segment]] = [[] for _ in seen]
        ids = self.tokenizer.ids([text for _, text in rows])
        for start in range(0, len(rows), MAX_BUCKET):
            part = rows[start : start + MAX_BUCKET]
            index = [image for image, _ in part]
            logits, none = self._decode(seen, index, ids[start : start + MAX_BUCKET])
            for (image, text), mask, logit in zip(part, logits, none, strict=True):
                meant = self._no_target(float(logit))
                segment = Segment(text, mask, seen[image].placement, meant)
                answers[image].append(segment)
        return answers

    def _decode(
        self, seen: Sequence[EncodedImage], index: list[int], ids: list[list[int]]
    ) -> tuple[Float32[np.ndarray, "e g g"], Float32[np.ndarray, "e"]]:
        """Mask and no-target logits; rows are filled up with copies of the first."""
        fill = _bucket(len(ids)) - len(ids)
        tokens, lengths = self.tokenizer.pad(
            ids + ids[:1] * fill,
            self.config.model.text.context,
            self.config.data.lengths,
        )
        places = [seen[i].index for i in index + index[:1] * fill]
        words = self._model.encode_text(tokens, lengths)
        output = self._model.decode(
            seen[0].features, words, lengths, np.array(places, np.int32)
        )
        logits, none = (np.asarray(x)[: len(ids)] for x in output)
        if not (np.isfinite(logits).all() and np.isfinite(none).all()):
            raise CheckpointError(
                f"{self.about['checkpoint']}: the model's logits are not finite; take "
                "another step of the run"
            )
        return logits, none

    def _no_target(self, logit: float) -> float | None:
        if not self.about["no_target_trained"]:
            return None
        return float(0.5 * (1 + np.tanh(0.5 * logit)))


def load(
    path: str | Path = "",
    pick: Literal["best", "last"] = "best",
    *,
    dtype: Literal["", "float32", "bfloat16"] = "",
) -> Predictor:
    """The Predictor of a workdir, the folder of one step, or an export.

    Without a path: the quickstart's model, which comes with the package and knows the
    drawn scenes of PartWorld alone. `pick` says which step of a workdir; averaged
    weights are taken where it has them. `dtype` is the type of the computation: "" is
    float32 on CPU, which has no fast bfloat16, and the training's elsewhere. Raises
    CheckpointError.
    """
    path = path or BUNDLED
    loaded = (
        exported.read(path) if exported.is_export(path) else segmenter.load(path, pick)
    )
    if not dtype and jax.default_backend() == "cpu":
        dtype = "float32"
    if dtype:
        model = dataclasses.replace(loaded.config.model, dtype=dtype)
        config = dataclasses.replace(loaded.config, model=model)
        loaded = dataclasses.replace(loaded, config=config)
    return Predictor(loaded)


def _about(loaded: Loaded) -> dict[str, Any]:
    return {
        "name": loaded.config.name,
        "checkpoint": str(loaded.folder),
        "revision": loaded.meta.get("revision", ""),
        "no_target_trained": bool(loaded.meta.get("no_target_trained", False)),
    }


def _checked(expressions: str | Sequence[str]) -> list[str]:
    asked = [expressions] if isinstance(expressions, str) else list(expressions)
    if not asked:
        raise DataError("expressions: none given; expected at least one sentence")
    for i, text in enumerate(asked):
        _check_expression(text, f"expressions[{i}]")
    return asked


def _check_expression(text: Any, field: str) -> None:
    if not isinstance(text, str):
        raise DataError(f"{field}: is a {type(text).__name__}, expected a sentence")
    if len(text) > MAX_CHARACTERS:
        raise DataError(
            f"{field}: has {len(text)} characters, the limit is {MAX_CHARACTERS}"
        )
    try:
        text.encode()
    except UnicodeEncodeError:
        raise DataError(f"{field}: is no valid Unicode text") from None
    if not text.strip():
        raise DataError(f"{field}: is empty; expected at least one word")


def _bucket(count: int) -> int:
    """The smallest power of two that holds so many."""
    return 1 << max(count - 1, 0).bit_length()


def _buckets(upto: int) -> Iterator[int]:
    top = _bucket(min(upto, MAX_BUCKET))
    return (1 << n for n in range(top.bit_length()))
