"""What UniRES does on this machine's GPU, as one JSON. `gpu.sh` prepares and starts it.

    python benchmarks/gpu.py --out gpu.json [--budget 450] [--dry_run]

Every piece of `gpu_pieces.py` is a process of its own with a time limit, the most
valuable first, so that one that fails or hangs costs no other; the file is written
whole after each. The data set is built meanwhile. --dry_run: every piece at tiny sizes,
on CPU as well. What the file holds: docs/performance.md.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from unires_jax.files import write_whole

ROOT = Path(__file__).resolve().parents[1]
# A piece with its argument, and the most seconds it may take: most of them compile.
PIECES = [
    ("step", "l14", 300),
    ("step", "b16", 300),
    ("attention", "", 100),
    ("predictor", "b16", 150),
    ("quickstart", "", 300),
    ("forms", "b16", 150),
    ("step", "l14_remat", 300),
    ("step", "b16_remat", 300),
]
LEAST = 20  # seconds left under which no piece is started


def main() -> int:
    """Run the pieces; exit status 1 where one failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default="gpu.json", type=Path)
    parser.add_argument("--budget", default=450.0, type=float, help="seconds in all")
    parser.add_argument("--only", default="", help="pieces, with commas")
    parser.add_argument("--dry_run", action="store_true", help="tiny sizes")
    args = parser.parse_args()
    end = time.monotonic() + args.budget
    report: dict[str, Any] = {"dry_run": args.dry_run, "pieces": {}}
    with tempfile.TemporaryDirectory() as folder:
        data = start_build(Path(folder), args.dry_run)
        for name, argument, limit in PIECES:
            title = f"{name} {argument}".strip()
            if args.only and name not in args.only.split(","):
                continue
            limit = limit if not args.dry_run else 600
            left = end - time.monotonic()
            if left < LEAST:
                report["pieces"][title] = {"status": "no time left"}
            else:
                command = [name, argument, folder, *["--dry_run"] * args.dry_run]
                report["pieces"][title] = run_piece(command, min(limit, left))
            write_whole(args.out, json.dumps(report, indent=1) + "\n")
            print(title, json.dumps(report["pieces"][title])[:2000], flush=True)
        data.kill()
        data.wait()
    done = [piece["status"] == "done" for piece in report["pieces"].values()]
    return int(not all(done))


def start_build(folder: Path, dry_run: bool) -> subprocess.Popen[bytes]:
    """PartWorld, on the CPU, while the GPU works; ends as data, or as build.log."""
    sizes = ["--scenes", "40", "--eval_scenes", "4"] if dry_run else []
    command = ["-m", "unires_jax.cli", "build", "partworld", *sizes]
    with (folder / "build.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, *command, "--data_dir", str(folder / "data")],
            stdout=log,
            stderr=log,
            cwd=ROOT,
            env=os.environ | {"JAX_PLATFORMS": "cpu"},
        )


def run_piece(command: list[str], limit: float) -> dict[str, Any]:
    """What a piece reported, how it ended, and in how many seconds."""
    start = time.monotonic()
    program = Path(__file__).with_name("gpu_pieces.py")
    quick = {"XLA_FLAGS": "--xla_backend_optimization_level=0"}  # to compile, on CPU
    try:
        done = subprocess.run(
            [sys.executable, program, *command],
            capture_output=True,
            text=True,
            timeout=limit,
            env=os.environ | (quick if "--dry_run" in command else {}),
        )
        output, status = done, "done" if done.returncode == 0 else "failed"
    except subprocess.TimeoutExpired as late:
        output, status = late, "out of time"
    piece: dict[str, Any] = {"status": status}
    piece["seconds"] = round(time.monotonic() - start, 1)
    # Each line of figures is a JSON object; later ones add to the earlier.
    for line in as_text(output.stdout).splitlines():
        if line.startswith("{"):
            piece |= json.loads(line)
    if status != "done":
        piece["stderr"] = as_text(output.stderr)[-1500:]
    return piece


def as_text(stream: Any) -> str:
    """What a process wrote; bytes where it was cut off."""
    return (
        stream.decode(errors="replace") if isinstance(stream, bytes) else stream or ""
    )


if __name__ == "__main__":
    sys.exit(main())
