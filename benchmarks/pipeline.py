"""Training pictures per second of one core, against bare decoding of the same files.

    python benchmarks/pipeline.py [--coco ../shared/realdata/coco] [--rounds 5]

Each photograph carries 8 expressions (category names made into sentences, for timing
only) and goes through the whole pipeline at 480 pixels: ArrayRecord, drawing, decoding,
crop, letterbox, flip, 8 masks from RLE onto the 120 x 120 grid, tokens, batching. Rates
are per second of processor time, which other programs disturb less. The last line is
the ratio of the two, median over rounds; the target is 0.6.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import tensorflow_datasets as tfds
from pycocotools import mask as coco_mask

from unires_jax.config import Config, DataConfig, ModelConfig, TrainConfig
from unires_jax.data import pipeline, prepared, tokenizer
from unires_jax.data.batch import Batch
from unires_jax.data.records import Expression, Mask, Record
from unires_jax.data.stored import features, to_example

WORDS = ["red", "old", "small", "bright", "dark", "plain", "round", "big"]
EXPRESSIONS, BATCH = len(WORDS), 16
AHEAD = 6  # batches after which nothing read ahead is left


def main() -> int:
    """Print both rates and their ratio; exit status 1 below the target."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--coco", default="../shared/realdata/coco", type=Path)
    parser.add_argument("--rounds", default=5, type=int)
    parser.add_argument("--workdir", type=Path, default=None)
    args = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as temporary:
        items = list(coco_records(args.coco))
        config = prepare(items, args.workdir or Path(temporary))
        batches = pipeline.train_batches(config, pipeline.run_tokenizer(config))
        whole(batches, len(items))  # compilation
        rounds = [
            (decoding(items), whole(batches, len(items))) for _ in range(args.rounds)
        ]
    bare, full = (statistics.median(r) for r in zip(*rounds, strict=True))
    ratio = statistics.median(w / d for d, w in rounds)
    print(f"{len(items)} photographs, {EXPRESSIONS} expressions each, one core")
    print(f"bare JPEG decoding {bare:7.1f} images/s ({1e3 / bare:.2f} ms each)")
    print(f"whole pipeline     {full:7.1f} images/s ({1e3 / full:.2f} ms each)")
    print(f"ratio {ratio:.2f} (target 0.60)")
    return int(ratio < 0.6)


def decoding(items: list[Record]) -> float:
    """Pictures per CPU second of bare decoding to RGB."""
    start = time.process_time()
    for record in items:
        cv2.imdecode(np.frombuffer(record.image, np.uint8), cv2.IMREAD_COLOR_RGB)
    return len(items) / (time.process_time() - start)


def whole(batches: Iterator[Batch], images: int) -> float:
    """Pictures per CPU second of the pipeline, its reading thread included."""
    for _ in range(AHEAD):
        next(batches)
    count = -(-images // BATCH)
    start = time.process_time()
    for _ in range(count):
        next(batches)
    rate = count * BATCH / (time.process_time() - start)
    time.sleep(1)  # let the reading thread fill its buffer and fall silent
    return rate


def coco_records(folder: Path) -> Iterator[Record]:
    """The photographs that have annotations, as records with 8 referents each."""
    data = json.loads((folder / "instances.json").read_text())
    names = {c["id"]: c["name"] for c in data["categories"]}
    for image in data["images"]:
        size = (image["height"], image["width"])
        annotations = [a for a in data["annotations"] if a["image_id"] == image["id"]]
        masks = tuple(_mask(a, names[a["category_id"]], size) for a in annotations)
        if masks:
            yield Record(
                image=(folder / "images" / image["file_name"]).read_bytes(),
                image_id=image["id"],
                height=size[0],
                width=size[1],
                masks=masks,
                expressions=tuple(_expressions(masks)),
                filename=image["file_name"],
                source="coco",
            )


def _mask(annotation: dict, name: str, size: tuple[int, int]) -> Mask:
    raw = annotation["segmentation"]
    rle = (
        coco_mask.merge(coco_mask.frPyObjects(raw, *size))
        if isinstance(raw, list)
        else coco_mask.frPyObjects(raw, *size)
    )
    return Mask(
        ann_id=annotation["id"],
        category=name,
        rle=rle["counts"].decode(),
        bbox=tuple(annotation["bbox"]),
        area=float(coco_mask.area(rle)),
    )


def _expressions(masks: tuple[Mask, ...]) -> Iterator[Expression]:
    for i in range(EXPRESSIONS):
        mask = i % len(masks)
        text = f"the {WORDS[i]} {masks[mask].category} that stands by itself"
        yield Expression(
            ref_id=i, sent_id=i, raw=text, sent=text, level=0, targets=(mask,)
        )


class Coco(tfds.core.GeneratorBasedBuilder):
    """The records as TFDS writes them."""

    VERSION = tfds.core.Version("1.0.0")
    items: list[Record]

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(builder=self, features=features())

    def _split_generators(self, dl_manager: object) -> dict:
        return {"train": self._generate_examples()}

    def _generate_examples(self) -> Iterator[tuple[int, dict]]:
        for i, record in enumerate(self.items):
            yield i, to_example(record)


def prepare(items: list[Record], folder: Path) -> Config:
    """Write the records and return a config that reads them."""
    Coco.items = items
    builder = Coco(data_dir=str(folder), file_format="array_record")
    builder.download_and_prepare()
    sentences = [x.sent for r in items for x in r.expressions]
    tokenizer.train_bpe(sentences, Path(builder.data_path) / prepared.TOKENIZER_FILE)
    return Config(
        model=ModelConfig(image_size=480),
        data=DataConfig(
            # Many times the same: shuffling a set as small as this one costs grain
            # 0.3 ms a picture, which no real data set sees.
            train=(f"{builder.data_path}:train",) * 100,
            expressions=EXPRESSIONS,
            workers=0,
        ),
        train=TrainConfig(batch=BATCH),
    )


if __name__ == "__main__":
    sys.exit(main())
