"""Conversion of MRES JSONL on one core: images and masks per second, memory, bytes.

    python benchmarks/conversion.py [--coco ../shared/realdata/coco] [--rounds 3]

The photographs are written again and again as lines of 32 masks each (MRES-32M's mean:
32.2 million masks on one million images), drawn in turn from the COCO annotations of
all photographs and carried to the picture's size, with one expression of the paper's
mean length each. Each round is a fresh process of `unires build mres32m --workers 0`
pinned to one core; rates are per second of its processor time, which other programs
disturb less. A second run over four times the images shows whether memory grows.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

MASKS = 32
IMAGES, CORES = 1_000_000, 16  # what the hours are stated for
WORDS = "front wheel of the black"  # and a category: 4.6 words in the paper's data


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--coco", default="../shared/realdata/coco", type=Path)
    parser.add_argument("--rounds", default=3, type=int)
    parser.add_argument("--repeat", default=6, type=int, help="times each photograph")
    parser.add_argument("--one", nargs=2, type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        return convert(*args.one)
    with tempfile.TemporaryDirectory() as temporary:
        small, large = Path(temporary, "small"), Path(temporary, "large")
        images = write_lines(args.coco, small, args.repeat)
        write_lines(args.coco, large, 4 * args.repeat)
        rounds = [run(small, Path(temporary, f"out{i}")) for i in range(args.rounds)]
        big = run(large, Path(temporary, "big"))
    report(images, rounds, big)
    return 0


def write_lines(coco: Path, folder: Path, repeat: int) -> int:
    """Lines of `MASKS` masks for every photograph, `repeat` times; how many."""
    data = json.loads((coco / "instances.json").read_text())
    sizes = {i["id"]: (i["width"], i["height"]) for i in data["images"]}
    names = {c["id"]: c["name"] for c in data["categories"]}
    polygonal = [a for a in data["annotations"] if isinstance(a["segmentation"], list)]
    (folder / "images").mkdir(parents=True)
    count = 0
    with (folder / "train.jsonl").open("w") as file:
        for image in data["images"] * repeat:
            target = folder / "images" / image["file_name"]
            if not target.exists():
                source = coco / "images" / image["file_name"]
                target.write_bytes(source.read_bytes())
            chosen = [
                polygonal[(count * MASKS + i) % len(polygonal)] for i in range(MASKS)
            ]
            size = (image["width"], image["height"])
            masks = [mask(a, i, sizes, size, names) for i, a in enumerate(chosen)]
            line = {"image": f"images/{image['file_name']}", "image_id": count}
            line |= {"width": size[0], "height": size[1]}
            line |= {"masks": masks, "expressions": [expression(m) for m in masks]}
            print(json.dumps(line), file=file)
            count += 1
    return count


def mask(
    annotation: dict[str, Any],
    number: int,
    sizes: dict[int, tuple[int, int]],
    size: tuple[int, int],
    names: dict[int, str],
) -> dict[str, Any]:
    """An annotation carried to a picture of another size, as compressed RLE."""
    from pycocotools import mask as coco_mask

    width, height = sizes[annotation["image_id"]]
    scale = (size[0] / width, size[1] / height)
    polygons = [
        [v * scale[i % 2] for i, v in enumerate(p)] for p in annotation["segmentation"]
    ]
    rle = coco_mask.merge(coco_mask.frPyObjects(polygons, size[1], size[0]))
    if not coco_mask.area(rle):  # a speck that vanished: one pixel instead
        polygons = [[0, 0, 2, 0, 2, 2, 0, 2]]
        rle = coco_mask.merge(coco_mask.frPyObjects(polygons, size[1], size[0]))
    return {
        "id": str(number),
        "level": "object",
        "category": names[annotation["category_id"]],
        "rle": {"size": [size[1], size[0]], "counts": rle["counts"].decode()},
    }


def expression(mask: dict[str, Any]) -> dict[str, Any]:
    """A sentence about a mask."""
    text = f"{WORDS} {mask['category']}"
    return {"text": text, "level": "object", "targets": [mask["id"]]}


def run(raw: Path, data: Path) -> dict[str, float]:
    """Convert in a fresh process; what it measured."""
    argv = [sys.executable, __file__, "--one", str(raw), str(data)]
    process = subprocess.run(argv, capture_output=True, text=True, check=True)
    return json.loads(process.stdout.splitlines()[-1])


def convert(raw: Path, data: Path) -> int:
    """One conversion in this process, its figures as a line of JSON."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    from unires_jax.data.stored import features
    from unires_jax.prepare import build

    features()  # TFDS's import is no part of the work
    start, clock = time.process_time(), time.monotonic()
    folder = build.build("mres32m", data, raw=str(raw), workers=0)
    spent, waited = time.process_time() - start, time.monotonic() - clock
    from unires_jax.data.prepared import PreparedSplit

    split = PreparedSplit(str(folder), "train")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    stored = [m for i in range(0, len(split), 7) for m in split[i].masks]
    figures = {
        "images": len(split),
        "seconds": spent,
        "waited": waited,
        "megabytes": peak,
        "rle": statistics.mean(len(m.rle) for m in stored),
        "disk": sum(p.stat().st_size for p in folder.glob("*.array_record-*")),
        "pictures": sum(len(split[i].image) for i in range(len(split))),
    }
    print(json.dumps(figures))
    return 0


def report(images: int, rounds: list[dict[str, float]], big: dict[str, float]) -> None:
    """The figures in words."""
    rate = statistics.median(images / r["seconds"] for r in rounds)
    hours = IMAGES / rate / CORES / 3600
    first = rounds[0]
    beside = (first["disk"] - first["pictures"]) / images / MASKS
    print(f"{images} photographs, {MASKS} masks and expressions each, one core")
    print(f"{rate:8.1f} images/s, {rate * MASKS:8.0f} masks/s of processor time")
    print(f"{hours:8.2f} hours for {IMAGES:,} images of {MASKS} masks on {CORES} cores")
    print(f"{first['rle']:8.0f} bytes of RLE a mask")
    print(f"{beside:8.0f} bytes a mask on disk, names, boxes and expressions included")
    print(
        f"{first['megabytes']:8.0f} MB at the peak; {big['megabytes']:.0f} MB with "
        f"{big['images'] / images:.0f} times the images"
    )


if __name__ == "__main__":
    sys.exit(main())
