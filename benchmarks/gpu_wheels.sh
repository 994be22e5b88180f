#!/usr/bin/env bash
# Fetch into benchmarks/wheels what gpu.sh needs beside jax, flax, optax, orbax,
# tokenizers, safetensors, opencv, numba and transformers: wheels for Python 3.12 on
# Linux x86-64. pyarrow is left out: no path of ours imports it, and it is 45 MB.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
folder=$root/benchmarks/wheels
mkdir -p "$folder"
"${PYTHON:-python3}" -m pip download --quiet --disable-pip-version-check --no-deps \
    --only-binary=:all: --implementation cp --python-version 3.12 --abi cp312 --abi abi3 \
    --abi none --platform manylinux2014_x86_64 --platform manylinux_2_17_x86_64 \
    --platform manylinux_2_27_x86_64 --platform manylinux_2_28_x86_64 --platform any \
    --constraint "$root/constraints/3.12.txt" --dest "$folder" \
    array_record cloudpickle dm-tree docstring-parser googleapis-common-protos grain \
    immutabledict importlib_resources jaxtyping jinja2 markupsafe ml_collections \
    pillow portpicker psutil pycocotools simple-parsing six tensorboardX \
    tensorflow-datasets tensorflow-metadata termcolor toml wadler-lindig wrapt
"${PYTHON:-python3}" -m pip wheel --quiet --disable-pip-version-check --no-deps \
    --constraint "$root/constraints/3.12.txt" --wheel-dir "$folder" promise
du -ch "$folder"/*.whl | tail -1
