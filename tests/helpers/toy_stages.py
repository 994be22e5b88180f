"""Two stages without a model, and pictures with boxes for them.

Both work as real ones do: of one picture, from its pixels and settings. FAILS names
files, with commas between, that the first cannot be done for; SLOW is seconds.
"""

import dataclasses
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from helpers import small_data
from unires_jax.engine.plan import plan
from unires_jax.engine.plan_file import Plan
from unires_jax.engine.record import Picture, Text
from unires_jax.engine.roles import Image, OutOfMemory
from unires_jax.engine.runner import Way, run
from unires_jax.engine.settings import EngineConfig
from unires_jax.engine.stages import PLAN, Advance, Context, Stage

HEIGHT, WIDTH = 64, 80


def colours(picture: Picture, image: Image, context: Context) -> Picture:
    """A text of the mean colour within each box, and the seed."""
    time.sleep(float(os.environ.get("SLOW", "0")))
    if picture.file in os.environ.get("FAILS", "").split(","):
        raise OutOfMemory("no room for one box")
    if picture.file in os.environ.get("BREAKS", "").split(","):
        raise IndexError("7")
    regions = []
    for region in picture.regions:
        x0, y0, x1, y1 = map(int, region.box)
        mean = float(image[y0 : y1 + 1, x0 : x1 + 1].mean())
        text = Text(
            f"{region.category} {context.config.seed}",
            "caption",
            (region.id,),
            scores={"clip": mean / 255},
        )
        regions.append(dataclasses.replace(region, texts=(text,)))
    return dataclasses.replace(picture, regions=tuple(regions))


def shouts(picture: Picture, image: Image, context: Context) -> Picture:
    """Texts in capitals, once more."""
    regions = []
    for region in picture.regions:
        (text,) = region.texts
        loud = dataclasses.replace(text, text=text.text.upper(), of=text.text)
        regions.append(dataclasses.replace(region, texts=(text, loud)))
    return dataclasses.replace(picture, regions=tuple(regions))


def fingerprint_of(checkpoint: str) -> str:
    """That of the class, whatever is loaded."""
    return Words.fingerprint


class Words:
    """A model that has nothing to say; `fingerprint` is of its files."""

    name, licence = "toy", "none"
    fingerprint = "0" * 12

    def __init__(self, checkpoint: str, device: str, dtype: str) -> None:
        self.checkpoint = checkpoint

    def parts(self, category: str) -> list[str]:
        """None."""
        return []


class Toy(Stage):
    """A stage of this file."""

    def advance(self) -> Advance:
        """Its function, by its name."""
        return {"colours": colours, "shouts": shouts}[self.name]


STAGES = Toy("colours", PLAN, (), ("seed",)), Toy("shouts", "colours")


def write_pictures(folder: Path, count: int, boxes: int = 2) -> Path:
    """Photographs 0.jpg, 1.jpg, ... and their boxes.jsonl, which is returned."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for i in range(count):
        rng = np.random.default_rng(i)
        pixels = rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
        (folder / f"{i}.jpg").write_bytes(small_data.jpeg(pixels))
        corners = [[8 * b + i % 5, 4, 8 * b + 20, 40] for b in range(boxes)]
        given = [{"box": box, "category": f"Thing_{i % 3}"} for box in corners]
        lines.append({"image": f"{i}.jpg", "boxes": given})
    return write_lines(folder / "boxes.jsonl", lines)


def write_lines(path: Path, lines: Sequence[object]) -> Path:
    """JSONL."""
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def planned(out: Path, count: int = 7, shard: int = 2) -> Plan:
    """The plan of so many pictures, which lie beside the engine's folder."""
    pictures = out.with_name("pictures")
    if not pictures.exists():
        write_pictures(pictures, count)
    return plan(out, [pictures / "boxes.jsonl"], pictures, shard=shard)


def contents(out: Path) -> dict[str, bytes]:
    """The shards of all stages by their name."""
    return {
        str(path.relative_to(out)): path.read_bytes()
        for path in sorted(out.glob("*/shard-*.jsonl.gz"))
    }


def all_of(out: Path, workers: int = 0) -> None:
    """Plan and both stages, as far as they are not done."""
    planned(out)
    run(out, EngineConfig(), STAGES, Way(workers))
