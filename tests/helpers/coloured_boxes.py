"""A small data set of coloured boxes and a model that finds their colours."""

import cv2
import jax
import jax.numpy as jnp
import numpy as np

from helpers.small_data import mask_of, rectangle
from unires_jax.data.records import OBJECT, PART, Expression, Record
from unires_jax.data.tokenizer import Tokenizer

COLOURS = {"red": (230, 20, 20), "green": (20, 200, 20), "blue": (20, 20, 230)}
GROUND = (128, 128, 128)
IMAGE_SIZE, GRID = 64, 16


class Boxes(list):
    """Records under the name of a split."""

    dataset, split = "boxes", "val"


class ColourSegmenter:
    """Marks the cells whose mean colour is near that of the first colour word."""

    def __init__(self, tokenizer: Tokenizer):
        table = np.full((tokenizer.vocab_size, 3), -1.0, np.float32)
        for name, colour in COLOURS.items():
            (token,) = tokenizer.ids([name])[0]
            table[token] = colour
        self._table = jnp.asarray(table)
        self.encode_image = jax.jit(self._encode_image)
        self.encode_text = jax.jit(self._encode_text)
        self.decode = jax.jit(self._decode)

    def _encode_image(self, images: jax.Array, extent: jax.Array) -> jax.Array:
        b, side, cell = len(images), GRID, IMAGE_SIZE // GRID
        cells = images.astype(jnp.float32).reshape(b, side, cell, side, cell, 3)
        return cells.mean((2, 4))

    def _encode_text(self, tokens: jax.Array, lengths: jax.Array) -> jax.Array:
        words = self._table[tokens]  # [e, l, 3]
        coloured = (words[..., :1] >= 0).astype(jnp.float32)
        return (words * coloured).sum(1) / jnp.maximum(coloured.sum(1), 1)

    def _decode(
        self,
        features: jax.Array,
        words: jax.Array,
        lengths: jax.Array,
        image_index: jax.Array,
    ) -> tuple[jax.Array, jax.Array]:
        distance = jnp.abs(features[image_index] - words[:, None, None]).sum(-1)
        logits = (160 - distance) / 50
        return logits, -logits.max((1, 2))


def make_record(index: int) -> Record:
    rng = np.random.default_rng(index)
    height, width = int(rng.integers(60, 130)), int(rng.integers(60, 130))
    image = np.full((height, width, 3), GROUND, np.uint8)
    h, w = height // 2, width // 3
    size = height, width
    red, blue = rectangle(size, 4, 4, w, h), rectangle(size, w + 12, 8, w, h)
    green = rectangle(size, 4, 4 + h // 2, w, h // 2)
    for name, box in (("red", red), ("green", green), ("blue", blue)):
        image[box] = COLOURS[name]
    masks = (
        mask_of(red, 1, category="car"),
        mask_of(green, 2, category="car", part="wheel", level=PART, parent=0),
        mask_of(blue, 3, category="bus"),
    )
    sentences = [
        ("the red car", (0,), OBJECT),
        ("green wheel of the car that is here", (1,), PART),
        ("blue", (2,), OBJECT),
        ("red and blue things", (0, 2), OBJECT),
        ("a person", (), OBJECT),
    ]
    expressions = tuple(
        Expression(10 + i, 100 + i, text, text, level, targets, no_target=not targets)
        for i, (text, targets, level) in enumerate(sentences[: 5 - index % 2])
    )
    encoded = cv2.imencode(".png", image[..., ::-1])[1].tobytes()
    return Record(encoded, index, height, width, masks, expressions, source="boxes")
