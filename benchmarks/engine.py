"""The data engine without its models: what is spent around them, and memory.

    python benchmarks/engine.py [--pictures 48] [--rounds 3] [--many 10000]

Pictures of 640 x 480 with 15 objects and 17 parts each, MRES-32M's mean, go through
every stage with the backend `exact`, which answers from the file that they are in. Its
calls are timed apart: what is left is the engine's own. It is given per picture, and as
a multiple of the time that OpenCV takes to decode that picture, measured in the same
run. Rates are per second of one core's time. A second run over 1,000 and over `many`
small pictures shows whether memory grows.
"""

import argparse
import dataclasses
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

OBJECTS, PARTS = 15, 17
HEIGHT, WIDTH = 480, 640
FEW = 1000


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", default=48, type=int)
    parser.add_argument("--rounds", default=3, type=int)
    parser.add_argument("--many", default=10_000, type=int)
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        kind, folder, count = args.one
        work = {"stages": through_stages, "memory": through_copies}[kind]
        print(json.dumps(work(Path(folder), int(count))))
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        rounds = [
            run("stages", Path(temporary, f"{i}"), args.pictures)
            for i in range(args.rounds)
        ]
        few = run("memory", Path(temporary, "few"), FEW)
        many = run("memory", Path(temporary, "many"), args.many)
    report(args.pictures, rounds)
    print(
        f"{few['megabytes']:8.0f} MB at the peak over {FEW:,} pictures; "
        f"{many['megabytes']:.0f} MB over {args.many:,}: "
        f"{many['megabytes'] / few['megabytes']:.2f} times as much"
    )
    return 0


def run(kind: str, folder: Path, count: int) -> dict[str, Any]:
    """A round in a fresh process; what it measured."""
    folder.mkdir()
    argv = [sys.executable, __file__, "--one", kind, str(folder), str(count)]
    process = subprocess.run(argv, capture_output=True, text=True, check=True)
    return json.loads(process.stdout.splitlines()[-1])


def write_pictures(folder: Path, count: int) -> Path:
    """Photographs of smooth noise with masks, as MRES JSONL."""
    from unires_jax.pixels.masks import RunMask

    lines = []
    for i in range(count):
        r = np.random.default_rng(i)
        small = r.integers(0, 256, (HEIGHT // 16, WIDTH // 16, 3), np.uint8)
        pixels = cv2.resize(small, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
        (folder / f"{i}.jpg").write_bytes(cv2.imencode(".jpg", pixels)[1].tobytes())
        masks, expressions = [], []
        for j in range(OBJECTS + PARTS):
            part, parent = j >= OBJECTS, j % OBJECTS
            mask = ellipse(parent, 0.3 if part else 1.0, j // OBJECTS)
            kind = {"level": "object"}
            if part:
                kind = {"level": "part", "part": f"knob {j}", "parent": str(parent)}
            rle = RunMask.from_pixels(mask).rle
            masks.append({"id": str(j), "category": f"thing {parent % 5}", "rle": rle})
            masks[-1] |= kind
            text = f"the {kind.get('part', 'thing')} number {j} of {i}"
            expressions.append({"text": text, "level": kind["level"]})
            expressions[-1]["targets"] = [str(j)]
        line = {"image": f"{i}.jpg", "image_id": i, "height": HEIGHT, "width": WIDTH}
        lines.append(line | {"masks": masks, "expressions": expressions})
    path = folder / "train.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def ellipse(place: int, size: float, shift: int) -> np.ndarray:
    """A mask at one of 15 places; smaller ones lie within, apart by `shift`."""
    x, y = 64 + 128 * (place % 5), 80 + 160 * (place // 5)
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    axes = int(60 * size), int(70 * size)
    cv2.ellipse(mask, (x + 22 * shift * (size < 1), y), axes, 0, 0, 360, 1, -1)
    return mask.astype(bool)


class Timed:
    """A model whose calls are timed."""

    spent = 0.0  # seconds in all of them

    def __init__(self, model: Any) -> None:
        self._model = model

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._model, name)
        return self._timed(value) if callable(value) else value

    def _timed(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            began = time.thread_time()
            try:
                return call(*args, **kwargs)
            finally:
                Timed.spent += time.thread_time() - began

        return timed


def through_stages(folder: Path, count: int) -> dict[str, Any]:
    """Every stage over pictures with 32 regions."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    from unires_jax.engine import filters, models, runner, status
    from unires_jax.engine.plan import plan
    from unires_jax.engine.settings import EngineConfig, ModelSettings
    from unires_jax.engine.stages import STAGES
    from unires_jax.pixels.images import decode_image

    truth = write_pictures(folder, count)
    exact = f"exact:{truth}"
    roles = ("segmenter", "part_finder", "captioner", "scorer", "grounder")
    named = dict.fromkeys((*roles, "vocabulary"), exact)
    config = EngineConfig(models=ModelSettings(**named), preset="none", shard=8)
    loaded = models._loaded

    def timed(*args: Any) -> dict[str, Any]:
        return {role: Timed(model) for role, model in loaded(*args).items()}

    models._loaded = timed  # type: ignore[assignment]
    out = folder / "engine"
    figures = {"plan": clocked(lambda: plan(out, [truth], folder, shard=8))}
    inside: dict[str, float] = {}
    for stage in STAGES:
        models.load(stage, config.models)  # once in a process
        Timed.spent = 0.0
        figures[stage.name] = clocked(lambda s=stage: runner.run(out, config, (s,)))
        inside[stage.name] = Timed.spent
    figures["filter"] = clocked(lambda: filters.run(out, config))
    (last,) = (r for r in status.progress(out, config, STAGES) if r.stage == "scores")
    data = (folder / "0.jpg").read_bytes()
    decode_image(data)
    decode = clocked(lambda: [decode_image(data) for _ in range(100)]) / 100
    return {
        **dataclasses.asdict(last),
        "seconds": figures,
        "inside": inside,
        "decode": decode,
    }


def clocked(work: Callable[[], object]) -> float:
    """Seconds of processor time."""
    began = time.process_time()
    work()
    return time.process_time() - began


def through_copies(folder: Path, count: int) -> dict[str, Any]:
    """Small pictures through two stages that do nothing, in this process."""
    from unires_jax.engine import runner
    from unires_jax.engine.plan import plan
    from unires_jax.engine.settings import EngineConfig
    from unires_jax.engine.stages import PLAN, Stage

    class Copy(Stage):
        def advance(self) -> Callable[..., Any]:
            return lambda picture, image, context: picture

    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    data = cv2.imencode(".jpg", pixels)[1].tobytes()
    boxes = [{"box": [i, i, i + 20, i + 20], "category": "dog"} for i in range(32)]
    with (folder / "boxes.jsonl").open("w") as file:
        for i in range(count):
            (folder / f"{i}.jpg").write_bytes(data)
            print(json.dumps({"image": f"{i}.jpg", "boxes": boxes}), file=file)
    out, copies = folder / "engine", (Copy("a", PLAN), Copy("b", "a"))
    plan(out, [folder / "boxes.jsonl"], folder, shard=64)
    runner.run(out, EngineConfig(), copies)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"megabytes": peak}


def report(pictures: int, rounds: list[dict[str, Any]]) -> None:
    """The figures in words: medians over rounds."""

    def median(value: Callable[[dict[str, Any]], float]) -> float:
        return statistics.median(map(value, rounds))

    first = rounds[0]
    regions = first["regions"] / pictures
    texts = first["texts"] / pictures
    print(f"{pictures} pictures, {regions:.0f} regions and {texts:.0f} texts each")
    print("ms a picture outside the models, as decodings, share of the stage's time:")
    for name in first["seconds"]:
        outside = median(lambda r, n=name: r["seconds"][n] - r["inside"].get(n, 0.0))
        share = median(
            lambda r, n=name: 1 - r["inside"].get(n, 0.0) / max(r["seconds"][n], 1e-9)
        )
        each = outside / pictures
        times = each / median(lambda r: r["decode"])
        print(f"  {name:12} {1000 * each:7.1f} {times:7.1f} {share:7.0%}")
    total = median(lambda r: sum(r["seconds"].values()))
    inside = median(lambda r: sum(r["inside"].values()))
    outside = total - inside
    print(f"{(total - inside) / total:8.0%} of all time is outside the models")
    print(
        f"{1000 * outside / pictures:8.0f} ms a picture in all, "
        f"{outside / pictures / median(lambda r: r['decode']):.1f} decodings of it"
    )
    print(f"{pictures / 8 / total:8.2f} shards of 8 pictures/s")
    print(f"{pictures / total:8.1f} records/s through all stages")


if __name__ == "__main__":
    sys.exit(main())
