"""What a host can read, against what its chips ask at 40 % of their peak.

    python benchmarks/input.py [--coco ../shared/realdata/coco] [--json input.json]

Measured, on one core of this machine: pictures per second of the whole pipeline for
B/16 at 480 px and L/14 at 448 px with 4 and 8 expressions (`benchmarks/pipeline.py`
says of what), bare decoding in the same run, and what a batch costs the process that
takes it from a reader. Rates are per second of processor time.

Arithmetic: hosts of 16, 112 and 208 such cores, as many readers as a run there would
start, the model FLOPs of a step and the published peaks. A core that a cloud sells is
half of a physical one; if this machine's are whole, halve the shares.
"""

import argparse
import copy
import itertools
import json
import os
import runpy
import statistics
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
from pipeline import AHEAD, BATCH, coco_records, decoding, prepare, whole

from unires_jax.config import Config
from unires_jax.data.pipeline import run_tokenizer, train_batches
from unires_jax.data.readers import reader_count
from unires_jax.training.speed import GOOD_MFU, asked_pictures

SETTINGS = tuple(itertools.product(("b16", "l14"), (4, 8)))
CORES = (16, 112, 208)
CHIPS = (
    ("1 x H100", ["NVIDIA H100 80GB HBM3"]),
    ("8 x H100", ["NVIDIA H100 80GB HBM3"] * 8),
    ("4 x v5e", ["TPU v5e"] * 4),
    ("4 x v5p", ["TPU v5p"] * 4),
    ("4 x v6e", ["TPU v6e"] * 4),
)


def main() -> None:
    """Measure, reckon, print both."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--coco", default="../shared/realdata/coco", type=Path)
    parser.add_argument("--rounds", default=3, type=int)
    parser.add_argument("--json", type=Path, help="write the figures there too")
    args = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    cv2.setNumThreads(1)
    measured = measure(args.coco, args.rounds)
    print("Measured here, one core:")
    print(f"  bare decoding       {measured['bare']:6.0f} pictures/s")
    for name, rate in measured["rates"].items():
        share = rate / measured["bare"]
        print(f"  {name:<19} {rate:6.0f} pictures/s, {share:.2f} of bare decoding")
    print(f"  taking a batch      {measured['taking_ms']:6.3f} ms a picture", end=", ")
    print(f"{measured['calling_ms']:.3f} of it in the thread that waits for it")
    rows = reckon(measured)
    print(f"\nArithmetic, chips at {GOOD_MFU:.0%} of their peak:")
    hosts = "".join(f"  {f'{cores} cores':>16}" for cores in CORES)
    print(f"  {'':<18}{'asks/s':>8}{'cores':>7}{'taking':>7}{hosts}")
    for row in rows:
        fed = "".join(f"  {x['readers']:>7} {x['fed']:>7.1f}x" for x in row["hosts"])
        title = f"{row['chips']} {row['setting']}"
        need = f"{row['asked']:>8.0f}{row['cores']:>7.1f}{row['taking']:>7.1f}"
        print(f"  {title:<18}{need}{fed}")
    print(
        "  cores: to read them; taking: more of them to take the batches. Of each host"
    )
    print("  the readers a run starts, and what they read over what the chips ask.")
    if args.json:
        figures = {"measured": measured, "arithmetic": rows}
        args.json.write_text(json.dumps(figures, indent=1) + "\n")


def measure(coco: Path, rounds: int) -> dict[str, Any]:
    """Rates of one core; medians over rounds, which take all settings in turn."""
    with tempfile.TemporaryDirectory() as folder:
        items = list(coco_records(coco))
        base = prepare(items, Path(folder))
        streams = {}
        for size, k in SETTINGS:
            config = setting(size, k, base)
            streams[f"{size} k={k}"] = train_batches(config, run_tokenizer(config))
        rates: dict[str, list[float]] = {name: [] for name in streams}
        bare = []
        for stream in streams.values():
            whole(stream, len(items))  # compilation
        for _ in range(rounds):
            bare.append(decoding(items))
            for name, stream in streams.items():
                rates[name].append(whole(stream, len(items)))
        taking, calling = consumer_ms(setting("b16", 8, base))
    return {
        "photographs": len(items),
        "bare": statistics.median(bare),
        "rates": {name: statistics.median(x) for name, x in rates.items()},
        "taking_ms": taking,
        "calling_ms": calling,
    }


def setting(size: str, k: int, base: Config | None = None) -> Config:
    """configs/unires.py with k expressions; of `base` the data, if given."""
    file = Path(__file__).parents[1] / "configs" / "unires.py"
    config: Config = runpy.run_path(str(file))["get_config"](size)
    if base:
        config.data = copy.deepcopy(base.data)
        config.train.batch = base.train.batch
    config.data.expressions = k
    return config


def consumer_ms(config: Config, batches: int = 60) -> tuple[float, float]:
    """Milliseconds a picture costs the process that takes batches from a reader.

    The second is the share of the thread that asks for them; the rest is that of
    grain's threads, which give the shared memory back.
    """
    stream = train_batches(config, run_tokenizer(config), workers=1)
    for _ in range(AHEAD):
        next(stream)
    process, thread = time.process_time(), time.thread_time()
    for _ in range(batches):
        next(stream)
    spent = time.process_time() - process, time.thread_time() - thread
    stream.close()
    return 1e3 * spent[0] / (batches * BATCH), 1e3 * spent[1] / (batches * BATCH)


def reckon(measured: dict[str, Any]) -> list[dict[str, Any]]:
    """For chips and settings: what they ask, and what each host would read."""
    rows = []
    for (chips, kinds), (size, k) in itertools.product(CHIPS, SETTINGS):
        devices = [SimpleNamespace(device_kind=x, platform="chip") for x in kinds]
        asked = asked_pictures(setting(size, k), devices)
        rate = measured["rates"][f"{size} k={k}"]
        hosts = []
        for cores in CORES:
            readers = reader_count(-1, cores, asked)
            fed = readers * rate / asked
            hosts.append({"cores": cores, "readers": readers, "fed": fed})
        row = {"chips": chips, "setting": f"{size} k={k}", "asked": asked}
        taking = asked * measured["taking_ms"] / 1e3
        rows.append(row | {"cores": asked / rate, "taking": taking, "hosts": hosts})
    return rows


if __name__ == "__main__":
    main()
