"""What each part of the model adds: one removed at a time from the whole model.

    python benchmarks/ablations.py --out runs/ablations     # 2 to 4 hours on 2 cores

Trains and scores every ablation of configs/quickstart.py, the whole (`:full`) and that
without group tokens with three seeds. Each run has one core: so many at a time get
more done than one on all of them. Numbers go to docs/ablations.jsonl, a line a run;
what is there is not run again, and a broken run goes on, so the command can be stopped
and given again (`--results new.jsonl` starts afresh). Ends with a table (Markdown);
`--table` prints it from what is there.
"""

import argparse
import importlib.util
import json
import os
import queue
import statistics
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
CONFIG = ROOT / "configs" / "quickstart.py"
SPLITS = ("partworld:val", "partworld:val_novel")
SEEDS = {"full": 3, "no_groups": 3}  # the others: one
LEVELS = ("object", "part", "pooled")

Key = tuple[str, int]  # ablation, seed
_writing = threading.Lock()


def ablations() -> list[str]:
    """The names that configs/quickstart.py takes as argument."""
    spec = importlib.util.spec_from_file_location("quickstart", CONFIG)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return list(module.ABLATIONS)


def plan() -> Iterator[Key]:
    """Every run, the first seeds first."""
    runs = [(name, seed) for name in ablations() for seed in range(SEEDS.get(name, 1))]
    yield from sorted(runs, key=lambda run: run[1])


def read(results: Path) -> dict[Key, dict[str, Any]]:
    """The runs that are done."""
    lines = results.read_text().splitlines() if results.exists() else []
    runs = [json.loads(line) for line in lines]
    return {(x["ablation"], x["seed"]): x for x in runs}


def train_and_score(
    key: Key, workdir: Path, data_dir: str, cores: "queue.Queue[int]"
) -> None:
    """One run on a free core, its output in <workdir>/log.txt."""
    workdir.mkdir(parents=True, exist_ok=True)
    train = [
        "train.py",
        f"--config={CONFIG}:{key[0]}",
        f"--workdir={workdir}",
        f"--config.seed={key[1]}",
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
    print(f"{key[0]}, seed {key[1]}: starts on core {core}", flush=True)
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


def collect(key: Key, workdir: Path, results: Path) -> None:
    """Add a scored run's numbers (mIoU in percent) to the results."""
    metrics = json.loads((workdir / "evaluation" / "metrics.json").read_text())
    about = metrics[SPLITS[0]]["about"]
    line = {
        "ablation": key[0],
        "seed": key[1],
        "steps": about["step"],
        "revision": about["revision"],
        "mIoU": {
            s: {n: round(100 * metrics[s][n]["mIoU"], 2) for n in LEVELS}
            for s in SPLITS
        },
    }
    with _writing, results.open("a") as file:
        file.write(json.dumps(line) + "\n")


def run_missing(out: Path, data_dir: str, results: Path) -> None:
    """All runs that are not done, one on each core."""
    cores: queue.Queue[int] = queue.Queue()
    for core in sorted(os.sched_getaffinity(0)):
        cores.put(core)

    def run(key: Key) -> None:
        workdir = out / f"{key[0]}-{key[1]}"
        if not (workdir / "evaluation" / "metrics.json").exists():
            train_and_score(key, workdir, data_dir, cores)
        collect(key, workdir, results)

    missing = [key for key in plan() if key not in read(results)]
    with ThreadPoolExecutor(cores.qsize()) as pool:
        for _ in pool.map(run, missing):
            pass


def table(results: Path) -> str:
    """A row for each ablation: the mean over its seeds, and their range."""
    rows: dict[str, list[list[float]]] = {}
    runs = read(results)
    for key in plan():
        if key in runs:
            scores = runs[key]["mIoU"]
            rows.setdefault(key[0], []).append(
                [scores[s][n] for s in SPLITS for n in LEVELS]
            )
    heads = [f"{s.split(':')[1]} {level}" for s in SPLITS for level in LEVELS]
    lines = ["| ablation | seeds | " + " | ".join(heads) + " |"]
    lines.append("|---" * (2 + len(heads)) + "|")
    for name, each in rows.items():
        cells = [cell(column) for column in zip(*each, strict=True)]
        lines.append(f"| {name} | {len(each)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def cell(values: Sequence[float]) -> str:
    """The mean of some runs, and their range."""
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
    parser.add_argument(
        "--results", default=str(ROOT / "docs" / "ablations.jsonl"), help="the numbers"
    )
    parser.add_argument("--table", action="store_true", help="run nothing")
    args = parser.parse_args()
    results = Path(args.results)
    if not args.table:
        run_missing(Path(args.out).resolve(), args.data_dir, results)
    print(table(results))


if __name__ == "__main__":
    main()
