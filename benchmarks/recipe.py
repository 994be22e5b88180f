"""What each change of the quickstart is worth at equal processor time.

    python benchmarks/recipe.py --out runs/recipe                # every change, a seed
    python benchmarks/recipe.py --only two_stages,one_stage --seeds 3 --steps 700
    python benchmarks/recipe.py --table                            # of what is there

A run trains the quickstart with the paper's two stages and one change, on one core, and
is scored on val and val_novel. It gets the processor time of `--steps` steps unchanged:
what a step of each change costs is measured first, as processor time over that of a
fixed matmul in between, so that other programs on the machine decide little. Every
number is a line of `--results`, by change, seed and steps; what is there is not done
again, and a broken run goes on, so that runs can be collected over many sessions. N-acc
stands beside T-acc, and as it would be at the threshold that leaves T-acc at 97 % (on
val, so it says how well the two are told apart, not what to expect elsewhere).
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ablations import cell

ROOT = Path(__file__).parents[1]
CONFIG = f"{ROOT}/configs/quickstart.py:full"
SPLITS = ("partworld:val", "partworld:val_novel")
LEVELS = ("object", "part", "pooled")
TIMED, FIRST = 8, 3  # steps whose cost is measured, after so many that are not
MATMUL = 1024  # side of the fixed matmul's matrices
KEPT = 97.0  # T-acc at which N-acc is compared, percent
APART = f"N-acc@{KEPT:.0f}"

# What the quickstart was before; see "before" and its single pieces.
_BEFORE = {
    "model.mask_head": "upsample",
    "model.mask_stride": "4",
    "model.stem_to_patches": "False",
    "loss.positive_cap": "10.0",
    "data.lengths": "(16, 24, 32)",
    "data.whole_every": "1",
    "model.vision.depth": "6",
    "model.text.depth": "3",
    "model.stage_layers": "2",
    "optim.scratch_rate": "3e-3",
}
# The same model and rate, with masks that are products.
_DEEP = {
    name: _BEFORE[name]
    for name in ("model.vision.depth", "model.text.depth", "model.stage_layers")
}


def _without(name: str) -> dict[str, str]:
    """`deep` but for one setting, which is the quickstart's."""
    deep = _DEEP | {"optim.scratch_rate": "3e-3"}
    return {key: value for key, value in deep.items() if key != name}


CHANGES: dict[str, dict[str, str]] = {
    "two_stages": {},
    "before": _BEFORE,
    "deep": _DEEP | {"optim.scratch_rate": "3e-3"},
    "deep_5e-3": _DEEP,
    "deep_but_tower_4": _without("model.vision.depth"),
    "deep_but_text_1": _without("model.text.depth"),
    "deep_but_stages_of_1": _without("model.stage_layers"),
    "tower_6": {"model.vision.depth": "6"},
    "text_3": {"model.text.depth": "3"},
    "stages_of_2": {"model.stage_layers": "2"},
    "upsample": {"model.mask_head": "upsample", "model.mask_stride": "4"},
    "stride_4": {"model.mask_stride": "4"},
    "no_stem_in_patches": {"model.stem_to_patches": "False"},
    "two_depths": {"model.pixel_layers": "(1, 3)"},
    "cap_10": {"loss.positive_cap": "10.0"},
    "cap_1": {"loss.positive_cap": "1.0"},
    "all_whole": {"data.whole_every": "1"},
    "muon_3_steps": {"optim.muon_steps": "3"},
    "rate_3e-3": {"optim.scratch_rate": "3e-3"},
    "rate_8e-3": {"optim.scratch_rate": "8e-3"},
    "rate_8e-3_short": {
        "optim.scratch_rate": "8e-3",
        "optim.muon_steps": "3",
        "optim.warmup": "50",
    },
    "no_average": {"optim.ema": "0.0"},
    "half_batch": {"train.batch": "8"},
    "4_expressions": {"data.expressions": "4"},
    "one_stage": {"model.stages": "1"},
    "high_only": {"model.groups": "high"},
    "no_groups": {"model.groups": "none"},
    "no_gate": {"model.gate": "False"},
    "no_mixer": {"model.mixer_layers": "0"},
    "none_weight_1": {"loss.no_target_weight": "1.0"},
}

Line = dict[str, Any]


def flags(change: str) -> list[str]:
    """The change as flags of train.py."""
    return [f"--config.{name}={value}" for name, value in CHANGES[change].items()]


def read(results: Path) -> list[Line]:
    """The numbers there are."""
    lines = results.read_text().splitlines() if results.exists() else []
    return [json.loads(line) for line in lines]


def add(results: Path, line: Line) -> Line:
    """Keep a number."""
    results.parent.mkdir(parents=True, exist_ok=True)
    with results.open("a") as file:
        file.write(json.dumps(line) + "\n")
    return line


def find(lines: list[Line], **values: Any) -> Line | None:
    """The last line that says so."""
    hits = [x for x in lines if all(x.get(k) == v for k, v in values.items())]
    return hits[-1] if hits else None


def measure_cost(change: str, data_dir: str) -> float:
    """Processor time of a step of a change, in fixed matmuls; the median of `TIMED`."""
    import jax
    import jax.numpy as jnp

    from unires_jax import app, process
    from unires_jax.data.pipeline import run_tokenizer, train_batches
    from unires_jax.mesh import feed, make_mesh
    from unires_jax.training.recipe import make_recipe

    process.start()
    data = f"--config.data.dir={data_dir}"
    config, _ = app.parse_config(["", f"--config={CONFIG}", data, *flags(change)])
    recipe = make_recipe(config, make_mesh(config.mesh, jax.devices()[:1]))
    batches = train_batches(config, run_tokenizer(config), workers=0)
    matrix, matmul = jnp.ones((MATMUL, MATMUL)), jax.jit(jnp.matmul)
    matmul(matrix, matrix).block_until_ready()
    state, costs = recipe.init(), []
    for _ in range(FIRST + TIMED):
        start = time.process_time()
        batch = next(batches)
        state, metrics = recipe.train_step(state, feed(batch, recipe.mesh))
        jax.block_until_ready((state, metrics))
        middle = time.process_time()
        matmul(matrix, matrix).block_until_ready()
        costs.append((middle - start) / (time.process_time() - middle))
    batches.close()
    # A rare long batch compiles a step of its own within: the median leaves it out.
    return statistics.median(costs[FIRST:])


def cost_of(change: str, data_dir: str, results: Path) -> float:
    """`measure_cost` in a process of its own, or what it was before."""
    if line := find(read(results), cost_of=change):
        return float(line["cost"])
    command = [*pinned(), str(Path(__file__)), "--cost_of", change]
    output = subprocess.run(
        [*command, "--data_dir", data_dir],
        check=True,
        capture_output=True,
        text=True,
        env=environment(),
    ).stdout
    cost = float(output.split()[-1])
    add(results, {"cost_of": change, "cost": cost})
    return cost


def pinned() -> list[str]:
    """Python on the first core that this process may use."""
    core = min(os.sched_getaffinity(0))
    return ["taskset", "-c", str(core), sys.executable]


def environment() -> dict[str, str]:
    """So that the scripts find the package."""
    return os.environ | {"PYTHONPATH": str(ROOT)}


def run(change: str, seed: int, steps: int, workdir: Path, data_dir: str) -> float:
    """Train and score; the processor seconds of training, of this start."""
    workdir.mkdir(parents=True, exist_ok=True)
    train = [
        "train.py",
        f"--config={CONFIG}",
        f"--workdir={workdir}",
        f"--config.seed={seed}",
        f"--config.data.dir={data_dir}",
        f"--config.train.steps={steps}",
        "--config.train.eval_every=0",
        "--config.train.picture_every=0",
        "--config.train.checkpoint_every=100",
        *flags(change),
    ]
    score = ["evaluate.py", f"--workdir={workdir}", f"--data_dir={data_dir}"]
    score += [f"--splits={','.join(SPLITS)}"]
    seconds = 0.0
    with (workdir / "log.txt").open("a") as log:
        for script, *options in (train, score):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run(
                [*pinned(), str(ROOT / script), *options],
                check=True,
                stdout=log,
                stderr=log,
                env=environment(),
            )
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            if script == "train.py":
                seconds = after.ru_utime + after.ru_stime
                seconds -= before.ru_utime + before.ru_stime
    return seconds


def scores(workdir: Path, data_dir: str) -> Line:
    """What the evaluation of a run came to, in percent."""
    folder = workdir / "evaluation"
    metrics = json.loads((folder / "metrics.json").read_text())
    none = metrics[SPLITS[0]]["no_target"]
    return {
        "revision": metrics[SPLITS[0]]["about"]["revision"],
        "mIoU": {
            s: {n: round(100 * metrics[s][n]["mIoU"], 2) for n in LEVELS}
            for s in SPLITS
        },
        "N-acc": round(100 * none["N-acc"], 2),
        "T-acc": round(100 * none["T-acc"], 2),
        APART: round(told_apart(folder / "predictions.jsonl", data_dir), 2),
    }


def told_apart(predictions: Path, data_dir: str) -> float:
    """N-acc on val, percent, at the threshold that leaves T-acc at `KEPT`."""
    import numpy as np

    from unires_jax.data.prepared import open_split

    split = open_split(SPLITS[0], data_dir)
    truth = {
        (record.image_id, x.ref_id, x.sent_id): x.no_target
        for record in map(split.__getitem__, range(len(split)))
        for x in record.expressions
    }
    prefix = SPLITS[0].replace(":", "/") + "/"
    rows = [json.loads(line) for line in predictions.read_text().splitlines()]
    rows = [row for row in rows if row["key"].startswith(prefix)]
    keys = [tuple(map(int, row["key"].removeprefix(prefix).split("/"))) for row in rows]
    denies = np.array([truth[key] for key in keys])
    probability = np.array([row["no_target"] for row in rows])
    threshold = np.percentile(probability[~denies], KEPT)
    return 100 * float((probability[denies] > threshold).mean())


def run_missing(
    plan: list[tuple[int, str]], of: int, out: Path, data_dir: str, results: Path
) -> None:
    """Every run of the plan that is not done, one after the other."""
    for seed, change in plan:
        if find(read(results), change=change, seed=seed, of=of):
            continue
        cost = cost_of(change, data_dir, results)
        steps = round(of * cost_of("two_stages", data_dir, results) / cost)
        print(f"{change}, seed {seed}: {steps} steps", flush=True)
        workdir = out / f"{change}-{seed}-{of}"
        seconds = run(change, seed, steps, workdir, data_dir)
        line = {"change": change, "seed": seed, "of": of, "steps": steps, "cost": cost}
        line |= {"processor_seconds": round(seconds, 1)}
        add(results, line | scores(workdir, data_dir))


def table(results: Path, of: int) -> str:
    """A row for each change: means over its seeds, and their range."""
    names = [f"{s.split(':')[1]} {level}" for s in SPLITS for level in LEVELS]
    accuracies = ["N-acc", "T-acc", APART]
    heads = ["change", "seeds", "cost", "steps", *names, *accuracies]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for change in CHANGES:
        runs = list(_runs(read(results), change, of))
        if not runs:
            continue
        columns = [[x["mIoU"][s][n] for x in runs] for s in SPLITS for n in LEVELS]
        columns += [[x[name] for x in runs] for name in accuracies]
        cells = [change, str(len(runs)), f"{runs[0]['cost']:.1f}"]
        cells += [str(runs[0]["steps"]), *map(cell, columns)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _runs(lines: list[Line], change: str, of: int) -> Iterator[Line]:
    """The last line of each seed."""
    seeds = {x["seed"] for x in lines if x.get("change") == change and x["of"] == of}
    for seed in sorted(seeds):
        line = find(lines, change=change, seed=seed, of=of)
        if line:
            yield line


def main() -> None:
    """Run what is missing, then print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", default="runs/recipe", help="folder of the runs")
    parser.add_argument("--data_dir", default="data", help="folder of data sets")
    parser.add_argument(
        "--results", default=str(ROOT / "docs" / "recipe.jsonl"), help="the numbers"
    )
    parser.add_argument("--steps", type=int, default=200, help="of two_stages")
    parser.add_argument("--seeds", type=int, default=1, help="runs of each change")
    parser.add_argument("--only", default="", help=f"of {', '.join(CHANGES)}")
    parser.add_argument("--table", action="store_true", help="run nothing")
    parser.add_argument("--cost_of", default="", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.cost_of:
        print(measure_cost(args.cost_of, args.data_dir))
        return
    changes = args.only.split(",") if args.only else list(CHANGES)
    if unknown := set(changes) - set(CHANGES):
        parser.error(f"--only: no {sorted(unknown)}; there are {list(CHANGES)}")
    results, data_dir = Path(args.results), str(Path(args.data_dir).resolve())
    if not args.table:
        plan = [(seed, change) for seed in range(args.seeds) for change in changes]
        run_missing(plan, args.steps, Path(args.out).resolve(), data_dir, results)
    print(table(results, args.steps))


if __name__ == "__main__":
    main()
