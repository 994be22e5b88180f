"""Small prepared data sets, written by TFDS as the builders write theirs."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tensorflow_datasets as tfds

from unires_jax.data import prepared, tokenizer
from unires_jax.data.records import OBJECT, PART, Expression, Mask, Record
from unires_jax.data.stored import features, to_example
from unires_jax.pixels.masks import RunMask

NAMES = ("red", "old", "small", "bright", "dark", "plain", "round", "big")


Splits = Mapping[str, Sequence[Record]]


class Tiny(tfds.core.GeneratorBasedBuilder):
    """Records handed over in memory."""

    VERSION = tfds.core.Version("1.0.0")

    def __init__(self, folder: Path, name: str, splits: Splits) -> None:
        self.name, self._splits = name, splits
        super().__init__(file_format="array_record", data_dir=str(folder))

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(builder=self, features=features())

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        return {name: self._generate_examples(r) for name, r in self._splits.items()}

    def _generate_examples(self, items: Sequence[Record]) -> Iterator[Any]:
        for i, record in enumerate(items):
            yield i, to_example(record)


def write(folder: Path, name: str = "tiny", **splits: Sequence[Record]) -> Path:
    """Write the splits under `folder`, with a tokenizer; the data set's folder."""
    builder = Tiny(folder, name, splits)
    builder.download_and_prepare()
    out = Path(builder.data_path)
    captions = [x.sent for s in splits.values() for r in s for x in r.expressions]
    tokenizer.train_bpe(captions or ["dog"], out / prepared.TOKENIZER_FILE, 600)
    return out


def jpeg(pixels: np.ndarray) -> bytes:
    """The encoded picture (RGB)."""
    return cv2.imencode(".jpg", pixels[:, :, ::-1])[1].tobytes()


def rectangle(size: tuple[int, int], x: int, y: int, w: int, h: int) -> np.ndarray:
    """A mask of a picture of this height and width, true in one box."""
    pixels = np.zeros(size, bool)
    pixels[y : y + h, x : x + w] = True
    return pixels


def mask_of(pixels: np.ndarray, ann_id: int = 0, **values: Any) -> Mask:
    """The mask of these pixels, with its true box and area."""
    runs = RunMask.from_pixels(pixels)
    box = tuple(map(float, runs.box))
    fields = {"category": "dog", "bbox": box, "area": float(runs.area)} | values
    return Mask(ann_id=ann_id, rle=runs.counts, **fields)


def scene(index: int, height: int = 40, width: int = 60, pairs: int = 4) -> Record:
    """A picture of `pairs` objects, each with one part; two sentences per referent."""
    rng = np.random.default_rng(index)
    masks: list[Mask] = []
    expressions: list[Expression] = []
    for i in range(2 * pairs):
        level = PART if i % 2 else OBJECT
        x, y = int(rng.integers(0, width - 8)), int(rng.integers(0, height - 8))
        pixels = rectangle((height, width), x, y, 8, 8)
        names = {"part": "head", "parent": i - 1} if level == PART else {}
        masks.append(mask_of(pixels, 100 * index + i, level=level, **names))
        for j, sent in enumerate((f"{NAMES[i]} dog on the left", f"{NAMES[i]} animal")):
            text = f"head of {sent}" if level == PART else sent
            expressions.append(
                Expression(
                    ref_id=1000 * index + i,
                    sent_id=10 * i + j,
                    raw=text,
                    sent=text,
                    level=level,
                    targets=(i,),
                    sent_index=j,
                )
            )
    image = rng.integers(0, 256, (height, width, 3), np.uint8)
    return Record(
        image=jpeg(image),
        image_id=index,
        height=height,
        width=width,
        masks=tuple(masks),
        expressions=tuple(expressions),
        filename=f"{index}.jpg",
        source="tiny",
    )
