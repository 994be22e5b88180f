"""Masks from exported parameters, without unires_jax: needs jax and safetensors."""

from functools import partial

import ml_dtypes  # noqa: F401  (numpy's bfloat16, should the weights be stored in it)
from jax import export
from safetensors.numpy import load_file
from steps import FOLDER, main


def load(name, params):
    """A graph that was given its parameters, a dict by dotted name."""
    graph = export.deserialize((FOLDER / f"{name}.stablehlo").read_bytes())
    return partial(graph.call, params)


if __name__ == "__main__":
    weights = load_file(FOLDER / "model.safetensors")
    main(load("encode_image", weights), load("segment", weights))
