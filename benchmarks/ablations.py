"""What each part of the model adds: the quickstart with one part removed at a time.

    python benchmarks/ablations.py --out runs/ablations     # about 2 hours on 2 cores

Trains and scores every ablation of configs/quickstart.py, the whole model and the one
without group tokens with three seeds. Each run has one core: so many at a time get
more done than one on all of them. Runs that are done are kept and a broken one goes
on, so the command can be stopped and given again. Ends with a table (Markdown), which
it also writes beside the runs; `--table` prints it from what is there.
"""

import argparse
import importlib.util
import json
import os
import queue
import statistics
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
CONFIG = ROOT / "configs" / "quickstart.py"
SPLITS = ("partworld:val", "partworld:val_novel")
SEEDS = {"full": 3, "no_groups": 3}  # the others: one
LEVELS = ("object", "part", "pooled")


def ablations() -> list[str]:
    """The names that configs/quickstart.py takes as argument."""
    spec = importlib.util.spec_from_file_location("quickstart", CONFIG)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return list(module.ABLATIONS)


def plan(out: Path) -> Iterator[tuple[str, int, Path]]:
    """(ablation, seed, workdir) of every run, the first seeds first."""
    runs = [(name, seed) for name in ablations() for seed in range(SEEDS.get(name, 1))]
    for name, seed in sorted(runs, key=lambda run: run[1]):
        yield name, seed, out / f"{name}-{seed}"


def train_and_score(
    name: str, seed: int, workdir: Path, data_dir: str, cores: "queue.Queue[int]"
) -> None:
    """One run on a free core, its output in <workdir>/log.txt; none if it is done."""
    if (workdir / "evaluation" / "metrics.json").exists():
        return
    workdir.mkdir(parents=True, exist_ok=True)
    train = [
        "train.py",
        f"--config={CONFIG}:{name}",
        f"--workdir={workdir}",
        f"--config.seed={seed}",
        f"--config.data.dir={data_dir}",
        "--config.train.eval_every=0",
    ]
    score = [
        "evaluate.py",
        f"--workdir={workdir}",
        f"--data_dir={data_dir}",
        f"--splits={','.join(SPLITS)}",
    ]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    core = cores.get()
    print(f"{name}, seed {seed}: starts on core {core}", flush=True)
    pinned = ["taskset", "-c", str(core), sys.executable]
    try:
        with (workdir / "log.txt").open("a") as log:
            for script, *options in (train, score):
                subprocess.run(
                    [*pinned, str(ROOT / script), *options],
                    check=True,
                    stdout=log,
                    stderr=log,
                    env=environment,
                )
    finally:
        cores.put(core)


def run_missing(out: Path, data_dir: str) -> None:
    """All runs that are not done, one on each core."""
    cores: queue.Queue[int] = queue.Queue()
    for core in sorted(os.sched_getaffinity(0)):
        cores.put(core)
    with ThreadPoolExecutor(cores.qsize()) as pool:
        runs = [
            pool.submit(train_and_score, name, seed, workdir, data_dir, cores)
            for name, seed, workdir in plan(out)
        ]
        for run in runs:
            run.result()


def scores(workdir: Path) -> list[float]:
    """mIoU in percent of each split and level."""
    found: dict[str, Any] = json.loads(
        (workdir / "evaluation" / "metrics.json").read_text()
    )
    return [100 * found[split][level]["mIoU"] for split in SPLITS for level in LEVELS]


def table(out: Path) -> str:
    """A row for each ablation: the mean over its seeds, and their range."""
    rows: dict[str, list[list[float]]] = {}
    for name, _, workdir in plan(out):
        if (workdir / "evaluation" / "metrics.json").exists():
            rows.setdefault(name, []).append(scores(workdir))
    heads = [f"{s.split(':')[1]} {level}" for s in SPLITS for level in LEVELS]
    lines = ["| ablation | seeds | " + " | ".join(heads) + " |"]
    lines.append("|---" * (2 + len(heads)) + "|")
    for name, found in rows.items():
        cells = [_cell(column) for column in zip(*found, strict=True)]
        lines.append(f"| {name} | {len(found)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(values: tuple[float, ...]) -> str:
    mean = f"{statistics.mean(values):.1f}"
    if len(values) == 1:
        return mean
    return f"{mean} ({min(values):.1f} to {max(values):.1f})"


def main() -> None:
    """Run what is missing, then print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", default="runs/ablations", help="folder of the runs")
    parser.add_argument("--data_dir", default="data", help="folder of data sets")
    parser.add_argument("--table", action="store_true", help="run nothing")
    args = parser.parse_args()
    out = Path(args.out).resolve()
    if not args.table:
        run_missing(out, args.data_dir)
        (out / "table.md").write_text(table(out) + "\n")
    print(table(out))


if __name__ == "__main__":
    main()
