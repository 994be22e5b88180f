"""The two graphs as ONNX, through jax2onnx."""

import logging
from pathlib import Path

import jax.numpy as jnp

from unires_jax.config import ConfigError
from unires_jax.models.layers import plain_form
from unires_jax.serving.exported import Flat
from unires_jax.serving.graphs import Graphs


def write(folder: Path, graphs: Graphs, flat: Flat) -> None:
    """Write encode_image.onnx and segment.onnx with their parameters.

    Models above protobuf's 2 GB keep them in a .onnx.data file beside. Raises
    ConfigError where jax2onnx is not installed.
    """
    try:
        import jax2onnx
        import onnxruntime
    except ImportError as error:
        raise ConfigError(
            f"--to onnx needs {error.name}: pip install 'unires_jax[export]'"
        ) from None
    # It tells of every shape without a type, which is none of ours.
    logging.getLogger("onnx_ir").setLevel(logging.ERROR)
    params = {name: jnp.asarray(x) for name, x in flat.items()}
    for name, function, inputs in graphs.both():
        file = folder / f"{name}.onnx"
        with plain_form():
            jax2onnx.to_onnx(
                lambda *args, f=function: f(params, *args),
                inputs=list(inputs.values()),
                input_names=list(inputs),
                output_names=graphs.outputs(name),
                model_name=f"unires_{name}",
                return_mode="file",
                output_path=str(file),
            )
        onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
