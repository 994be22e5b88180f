"""Processor time until a command has answered, as ratios to `import jax`.

    python benchmarks/start.py [--repeats 5]

Each row is a process of its own; turns spread what other programs disturb, medians
count. `predict` is the bundled model on an example of the page, its programs kept in a
temporary folder: "first" compiles them, "next" finds them. Exit status 1 where the next
prediction takes more than the target.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import unires_jax

TARGET = 2.5  # of `import jax`, for the next prediction
PICTURE = Path(unires_jax.__file__).parent / "serving/page/examples/val_000001.jpg"
COMMAND = ["-m", "unires_jax.cli"]


def main() -> int:
    """Print a table; exit status 1 above the target."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        cache = os.environ | {"JAX_COMPILATION_CACHE_DIR": f"{folder}/programs"}
        none = os.environ | {"JAX_ENABLE_COMPILATION_CACHE": "0"}
        predict = [*COMMAND, "predict", str(PICTURE), "the car", "--out", folder]
        load = ["-c", "import unires_jax; unires_jax.load()"]
        first = processor_seconds(predict, cache)
        rows = {
            "import jax": (["-c", "import jax"], none),
            "import unires_jax": (["-c", "import unires_jax"], none),
            "unires predict --help": ([*COMMAND, "predict", "--help"], none),
            "unires_jax.load(), nothing kept": (load, none),
            "unires_jax.load(), next": (load, cache),
            "unires predict, next": (predict, cache),
        }
        processor_seconds(load, cache)
        seconds: dict[str, list[float]] = {name: [] for name in rows}
        for _ in range(args.repeats):
            for name, (argv, env) in rows.items():
                seconds[name].append(processor_seconds(argv, env))
    medians = {name: statistics.median(each) for name, each in seconds.items()}
    medians["unires predict, first"] = first
    for name, median in medians.items():
        print(f"{name:32} {median:6.2f} s  {median / medians['import jax']:6.2f}")
    return int(medians["unires predict, next"] > TARGET * medians["import jax"])


def processor_seconds(argv: list[str], env: dict[str, str]) -> float:
    """What Python with these arguments takes, user and system, all threads."""
    process = subprocess.Popen(
        [sys.executable, *argv], env=env, stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(argv)}: failed")
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    sys.exit(main())
