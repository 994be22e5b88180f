"""Masks from the exported ONNX graphs, without unires_jax: needs onnxruntime."""

import onnxruntime
from steps import FOLDER, main


def load(name):
    """A graph with its parameters, ready to call."""
    session = onnxruntime.InferenceSession(
        FOLDER / f"{name}.onnx", providers=["CPUExecutionProvider"]
    )
    names = [x.name for x in session.get_inputs()]
    return lambda *args: session.run(None, dict(zip(names, args, strict=True)))


if __name__ == "__main__":
    main(load("encode_image"), load("segment"))
