"""A model is loaded whole, from a folder that holds it, or refused with words."""

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from helpers.paths import ROOT
from helpers.programs import run

from unires_jax.engine.backends import BACKENDS, load
from unires_jax.engine.halving import halving
from unires_jax.engine.roles import ROLES, ModelError, OutOfMemory
from unires_jax.errors import UsageError

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
from safetensors.torch import load_file, save_file  # noqa: E402

from unires_jax.engine.backends import folders, loading  # noqa: E402

IMAGE = np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8)
BOXES = np.array([[10, 10, 60, 60], [30, 20, 90, 60], [0, 0, 128, 96]], np.float32)


@pytest.fixture
def folder(tmp_path: Path, tiny_model: Callable[[str], Path]) -> Path:
    """A copy of the tiny SAM 2, to be spoilt."""
    return Path(shutil.copytree(tiny_model("sam2"), tmp_path / "model"))


def refusal(place: Path | str, device: str = "cpu", dtype: str = "float32") -> str:
    with pytest.raises(ModelError) as error:
        load(f"sam2:{place}", "segmenter", device, dtype)
    return str(error.value)


def rewrite(folder: Path, **values: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_a_missing_tensor_is_named(folder: Path) -> None:
    weights = folder / "model.safetensors"
    tensors = load_file(weights)
    del tensors["mask_decoder.iou_token.weight"]
    save_file(tensors, weights, {"format": "pt"})
    text = refusal(folder)
    assert "1 tensors of Sam2Model" in text
    assert "mask_decoder.iou_token.weight first" in text


def test_a_tensor_of_another_shape_is_refused(folder: Path) -> None:
    weights = folder / "model.safetensors"
    tensors = load_file(weights)
    tensors["mask_decoder.iou_token.weight"] = torch.zeros(1, 7)
    save_file(tensors, weights, {"format": "pt"})
    assert "mask_decoder.iou_token.weight" in refusal(folder)


def test_half_a_download_is_refused(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    assert "no Sam2Model" in refusal(folder)


class Pickle:
    """What runs when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.marker,)


def test_pickled_weights_are_never_read(folder: Path, tmp_path: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save(Pickle(tmp_path / "ran"), folder / "pytorch_model.bin")
    assert "no Sam2Model" in refusal(folder)
    assert not (tmp_path / "ran").exists()


def test_code_beside_a_model_never_runs(folder: Path, tmp_path: Path) -> None:
    (folder / "evil.py").write_text(
        f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Evil:\n    pass\n"
    )
    code = {"AutoConfig": "evil.Evil", "AutoModel": "evil.Evil"}
    rewrite(folder, auto_map=code, trust_remote_code=True)
    load(f"sam2:{folder}", "segmenter", "cpu")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "values",
    [
        {"attn_implementation": "someone/kernel"},  # code of the hub
        {"vision_config": {"model_type": "timm_wrapper", "architecture": "resnet18"}},
        {"vision_config": 3},
        {"vision_config": {"model_type": "sam2_vision_model", "fpn_hidden_size": -1}},
        {"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}},
    ],
)
def test_a_config_that_asks_for_more_is_refused(
    folder: Path, values: dict[str, object]
) -> None:
    rewrite(folder, **values)
    assert str(folder) in refusal(folder)


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, '{"model_type": []}'])
def test_a_config_that_is_none_is_refused(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text)
    assert "is it" in refusal(folder)


def test_places_that_hold_no_such_model(
    tmp_path: Path,
    tiny_model: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hub = pytest.importorskip("huggingface_hub")
    monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", True)
    assert "no such folder" in refusal(tmp_path / "absent")
    assert "no hub id" in refusal("sam2.1-hiera-large")
    assert "the hub does not give it" in refusal("nobody/nothing")
    assert "config.json" in refusal(tmp_path)
    assert "model_type: owlv2, expected sam2" in refusal(tiny_model("owlv2"))


def test_devices_and_dtypes_that_are_not_there(folder: Path) -> None:
    for device in ("cuda:77", "gpu", "meta", "-1"):
        assert f"device '{device}'" in refusal(folder, device=device)
    assert "expected auto, float32, bfloat16" in refusal(folder, dtype="float8")


def test_a_broken_torchvision_is_named(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_broken_torchvision(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (folder / "model.safetensors").unlink()
    assert "no nms" in refusal(folder) and "torchvision" not in sys.modules


@pytest.mark.slow
def test_a_broken_torchvision_is_named_from_the_start(
    folder: Path, tmp_path: Path
) -> None:
    """No class of transformers can be imported beside it."""
    write_broken_torchvision(tmp_path)
    code = (
        "from unires_jax.engine import backends\n"
        f"try:\n    backends.load('sam2:{folder}', 'segmenter', 'cpu')\n"
        "except ValueError as error:\n    print(error)\n"
    )
    path = f"{tmp_path}{os.pathsep}{ROOT}"
    assert (
        "no nms); the engine does not need it"
        in run("-c", code, PYTHONPATH=path).stdout
    )


def write_broken_torchvision(folder: Path) -> None:
    (folder / "torchvision").mkdir()
    (folder / "torchvision/__init__.py").write_text("raise RuntimeError('no nms')")
    (folder / "torchvision-0.28.0.dist-info").mkdir()
    (folder / "torchvision-0.28.0.dist-info/METADATA").write_text(
        "Metadata-Version: 2.1\nName: torchvision\nVersion: 0.28.0\n"
    )


def test_a_fingerprint_is_of_config_and_weights(folder: Path) -> None:
    before = folders.fingerprint(folder)
    (folder / "README.md").write_text("x")
    assert folders.fingerprint(folder) == before and len(before) == 12
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x00")
    changed = folders.fingerprint(folder)
    rewrite(folder, torch_dtype="float32")
    assert len({before, changed, folders.fingerprint(folder)}) == 3


@pytest.fixture
def limited(folder: Path) -> Iterator[Callable[[int], object]]:
    """A SAM 2 on a device that has room for so many boxes."""
    backend = load(f"sam2:{folder}", "segmenter", "cpu")

    def limit(boxes: int) -> object:
        def refuse(module: object, args: object, kwargs: dict[str, object]) -> None:
            if kwargs["input_boxes"].shape[1] > boxes:  # type: ignore[attr-defined]
                raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate")

        backend.model.register_forward_pre_hook(refuse, with_kwargs=True)
        return backend

    yield limit


def test_where_memory_ends_less_is_asked(
    folder: Path, limited: Callable[[int], object]
) -> None:
    whole = load(f"sam2:{folder}", "segmenter", "cpu").segment(IMAGE, BOXES)
    backend = limited(1)
    with pytest.raises(OutOfMemory, match=r"^CUDA out of memory\.$"):
        backend.segment(IMAGE, BOXES)  # type: ignore[attr-defined]
    halved = halving(
        lambda some: backend.segment(IMAGE, np.stack(some)),  # type: ignore[attr-defined]
        list(BOXES),
        3,
    )
    for one, other in zip(halved, whole, strict=True):
        np.testing.assert_array_equal(one.mask, other.mask)


def test_no_room_for_one_box(limited: Callable[[int], object]) -> None:
    backend = limited(0)
    with pytest.raises(OutOfMemory):
        halving(
            lambda some: backend.segment(IMAGE, np.stack(some)),  # type: ignore[attr-defined]
            list(BOXES),
            3,
        )


def test_the_cpu_has_no_room_either() -> None:
    with pytest.raises(OutOfMemory), loading.told_when_full():
        torch.empty(2**60, dtype=torch.uint8)
    with pytest.raises(RuntimeError, match="size"), loading.told_when_full():
        torch.zeros(2) + torch.zeros(3)


def test_a_role_lists_its_backends() -> None:
    with pytest.raises(UsageError, match=r"no captioner; there are"):
        load("sam2:x", "captioner")
    with pytest.raises(UsageError, match="sam2, sam, sam_hq, sam3_tracker"):
        load("sam9:x", "segmenter")
    assert all(set(entry.roles) <= set(ROLES) for entry in BACKENDS.values())
    # The truth is a file of the user's own, whose terms nobody here knows.
    assert [name for name, e in BACKENDS.items() if not e.licence] == ["exact"]


def test_torch_is_for_models_alone() -> None:
    code = (
        "import sys\n"
        "from unires_jax.engine import backends, halving, record, settings, stages\n"
        "print([m for m in ('torch', 'transformers', 'jax') if m in sys.modules])\n"
        "sys.modules['torch'] = sys.modules['transformers'] = None  # not installed\n"
        "try:\n    backends.load('sam2:x', 'segmenter')\n"
        "except ValueError as error:\n    print(error)\n"
    )
    output = run("-c", code).stdout
    assert output.startswith("[]\nsam2:x: ")
    assert "pip install 'unires_jax[engine]'" in output
