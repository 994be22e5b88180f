"""Scored (prediction, ground truth) pairs per minute of one core, for each protocol.

    python benchmarks/scoring.py [--coco ../shared/realdata/coco] [--pairs 20000]

Ground truths are COCO's annotations with their polygons; a prediction is its mask after
a grid of 120 x 120 cells, as a model would answer. Both are compressed RLE of the
picture's size; from there to the printed numbers everything counts. Rates are per
minute of processor time, which other programs disturb less. Exit status 1 below the
targets: 1,000,000 under native, 50,000 where masks are resampled.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from unires_jax.evaluation import metrics
from unires_jax.evaluation.protocols import PROTOCOLS

GRID = 120
NATIVE, RESAMPLED = 1_000_000, 50_000  # pairs a minute


def main() -> int:
    """Print a rate for each protocol; exit status 1 below the targets."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--coco", default="../shared/realdata/coco", type=Path)
    parser.add_argument("--pairs", default=20_000, type=int)
    parser.add_argument("--rounds", default=5, type=int)
    args = parser.parse_args()
    items = list(coco_pairs(args.coco) if args.coco.is_dir() else smooth_pairs())
    predictions, targets, polygons = zip(*items, strict=True)
    size = statistics.mean(len(t["counts"]) for t in targets)
    print(f"{len(items)} masks, {size:.0f} bytes of RLE on average")
    slow = False
    for name, protocol in PROTOCOLS.items():
        count = args.pairs if protocol.grid is None else args.pairs // 10
        times = -(-count // len(items))
        columns = (predictions * times, targets * times)
        outlines = polygons * times
        score(name, *columns, outlines)  # compilation, tables
        rates = [score(name, *columns, outlines) for _ in range(args.rounds)]
        target = NATIVE if name == "native" else RESAMPLED
        rate = statistics.median(rates)
        slow |= rate < target
        print(f"{name:8} {rate:10,.0f} pairs a minute (target {target:9,})")
    return int(slow)


def score(name: str, predictions: Any, targets: Any, polygons: Any) -> float:
    """Pairs per minute of processor time."""
    start = time.process_time()
    metrics.score(name, predictions, targets, polygons=polygons)
    return 60 * len(targets) / (time.process_time() - start)


Pair = tuple[dict, dict, list | None]


def coco_pairs(folder: Path) -> Iterator[Pair]:
    """Every annotation with its coarser self."""
    data = json.loads((folder / "instances.json").read_text())
    sizes = {i["id"]: (i["height"], i["width"]) for i in data["images"]}
    for annotation in data["annotations"]:
        raw, size = annotation["segmentation"], sizes[annotation["image_id"]]
        rle = coco_mask.frPyObjects(raw, *size)
        rle = coco_mask.merge(rle) if isinstance(raw, list) else rle
        outline = raw if isinstance(raw, list) else None
        yield _text(coarse(rle)), _text(rle), outline


def smooth_pairs() -> Iterator[Pair]:
    """Smooth regions of COCO's usual size, where the annotations are not at hand."""
    rng = np.random.default_rng(0)
    for _ in range(200):
        noise = rng.normal(size=(480, 640)).astype(np.float32)
        smooth = cv2.GaussianBlur(noise, (0, 0), 25)
        rle = metrics.as_rle(smooth > 1.8 * smooth.std())
        yield _text(coarse(rle)), _text(rle), None


def coarse(rle: dict) -> dict:
    """The mask through a grid of cells."""
    mask = coco_mask.decode(rle).astype(np.float32)
    cells = cv2.resize(mask, (GRID, GRID), interpolation=cv2.INTER_AREA)
    return metrics.as_rle(cv2.resize(cells, mask.shape[::-1]) > 0.5)


def _text(rle: dict) -> dict:
    """Counts as a string, as JSON and records hold them."""
    return {"size": rle["size"], "counts": rle["counts"].decode()}


if __name__ == "__main__":
    sys.exit(main())
