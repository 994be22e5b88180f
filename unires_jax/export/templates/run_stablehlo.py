"""Masks from the exported graphs, without unires_jax: needs jax."""

from jax import export
from steps import FOLDER, main


def load(name):
    """A graph with its parameters, ready to call."""
    return export.deserialize((FOLDER / f"{name}.stablehlo").read_bytes()).call


if __name__ == "__main__":
    main(load("encode_image"), load("segment"))
