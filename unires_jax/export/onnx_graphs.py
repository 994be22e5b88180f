"""The two graphs as ONNX, through jax2onnx."""

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from unires_jax.errors import ConfigError
from unires_jax.export.graphs import Graphs
from unires_jax.inference.exported import Flat
from unires_jax.inference.loaded import Loaded
from unires_jax.models import fast, forms

MAX_FILE = 2**31 - 2**24  # bytes; protobuf ends at 2 GB, the graph itself is small


def _attend(
    q: Array,
    k: Array,
    v: Array,
    mask: Array | None = None,
    group_bias: Array | None = None,
    groups: int = 0,
) -> Array:
    """`plain.attend`, whose sum on the logits is a tenth of onnxruntime's time."""
    logits = fast.attention_logits(q, k, mask, group_bias, groups)
    return jnp.matmul(jax.nn.softmax(logits, axis=-1), v)


# onnxruntime has fast operations for these and none for the pieces of the fast forms.
FORMS = forms.PLAIN._replace(attend=_attend)


def write(folder: Path, loaded: Loaded, flat: Flat) -> None:
    """Write encode_image.onnx and segment.onnx with their parameters.

    Above protobuf's 2 GB the parameters lie in a .onnx.data file beside. Raises
    ConfigError where jax2onnx is not installed or jax is newer than it knows.
    """
    try:
        import jax2onnx
        import onnx
        import onnxruntime
    except ImportError as error:
        raise ConfigError(
            f"--to onnx needs {error.name}: pip install 'unires_jax[export]'"
        ) from None
    if jax.__version_info__ >= (0, 12):
        raise ConfigError(
            f"--to onnx needs jax below 0.12, this is {jax.__version__}: "
            "pip install 'unires_jax[export]'"
        )
    params = {name: jnp.asarray(x) for name, x in flat.items()}
    graphs = Graphs(loaded.config)
    for name, function, inputs in graphs.signatures():
        with forms.use(FORMS), _quiet():
            model = jax2onnx.to_onnx(
                lambda *args, f=function: f(params, *args),
                inputs=list(inputs.values()),
                input_names=list(inputs),
                output_names=graphs.outputs(name),
                model_name=f"unires_{name}",
            )
        _help_fusion(model, onnx.TensorProto.FLOAT)
        file = folder / f"{name}.onnx"
        large = sum(len(x.raw_data) for x in model.graph.initializer) > MAX_FILE
        onnx.save(
            model, file, save_as_external_data=large, location=f"{file.name}.data"
        )
        onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """jax2onnx warns of every shape without a type, which is none of ours."""
    log = logging.getLogger("onnx_ir")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)


def _help_fusion(model: Any, float32: int) -> None:
    """The same graph as onnxruntime likes it.

    It fuses layer normalisation for scales of shape [d] alone, jax2onnx writes
    [1, 1, d], which broadcasts alike. Nor does its CPU have a CastLike, of
    `jnp.linspace`.
    """
    adders: set[str] = set()  # names of what Add or Mul take
    elsewhere: set[str] = set()
    for node in model.graph.node:
        if node.op_type == "CastLike":
            node.op_type = "Cast"
            del node.input[1:]
            node.attribute.add(name="to", type="INT", i=float32)
        (adders if node.op_type in ("Add", "Mul") else elsewhere).update(node.input)
    for x in model.graph.initializer:
        rows = x.dims[:-1]
        if len(rows) and set(rows) == {1} and x.name in adders - elsewhere:
            del x.dims[:-1]
