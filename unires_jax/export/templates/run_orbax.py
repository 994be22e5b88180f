"""Masks from exported parameters, without unires_jax: needs jax and orbax."""

from functools import partial

import orbax.checkpoint as ocp
from jax import export
from steps import FOLDER, main


def load(name, params):
    """A graph that was given its parameters, a dict by dotted name."""
    graph = export.deserialize((FOLDER / f"{name}.stablehlo").read_bytes())
    return partial(graph.call, params)


if __name__ == "__main__":
    weights = ocp.PyTreeCheckpointer().restore((FOLDER / "model").resolve())
    main(load("encode_image", weights), load("segment", weights))
