#!/usr/bin/env bash
# What UniRES does on a GPU, as $OUT/gpu.json, in at most 8 minutes and without network.
#
#     bash benchmarks/gpu_wheels.sh      # before, on a machine with network
#     OUT=. bash benchmarks/gpu.sh       # on the machine with the GPU; --dry_run: tiny
#
# The machine brings Python 3.12 with jax and flax for its GPU; benchmarks/wheels brings
# what it lacks. Nothing is installed: wheels are unpacked into a folder of this run.
set -euo pipefail

start=$SECONDS
root=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python3}
out=${OUT:-.}
site=$(mktemp -d)
trap 'rm -rf "$site"' EXIT

"$python" - "$root" "$site" <<'END'
import importlib.metadata as metadata, pathlib, sys, tomllib, zipfile

root, site = map(pathlib.Path, sys.argv[1:])
names = [d.metadata["Name"] or "" for d in metadata.distributions()]
have = {name.lower().replace("-", "_") for name in names}
for wheel in sorted((root / "benchmarks" / "wheels").glob("*.whl")):
    if wheel.name.split("-")[0].lower() not in have:
        zipfile.ZipFile(wheel).extractall(site)
        print("brought", wheel.name)
# The package runs from the checkout; its version is stated in its metadata.
project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
about = site / f"unires_jax-{project['version']}.dist-info"
about.mkdir()
text = f"Metadata-Version: 2.1\nName: unires_jax\nVersion: {project['version']}\n"
(about / "METADATA").write_text(text)
END

export PYTHONPATH="$root:$site${PYTHONPATH:+:$PYTHONPATH}"
export XLA_PYTHON_CLIENT_MEM_FRACTION=${XLA_PYTHON_CLIENT_MEM_FRACTION:-.92}
export TF_CPP_MIN_LOG_LEVEL=3 HF_HUB_OFFLINE=1 PYTHONWARNINGS=ignore
mkdir -p "$out"
budget=$((${BUDGET:-470} - (SECONDS - start)))
cd "$root"
"$python" benchmarks/gpu.py --out "$out/gpu.json" --budget "$budget" "$@"
