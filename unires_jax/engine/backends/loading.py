"""How a published model is loaded: whole, from a folder or the hub, or not at all."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import torch
from jaxtyping import Float
from transformers.utils import logging

from unires_jax import documents
from unires_jax.engine.backends import BACKENDS, torchvision_fault
from unires_jax.engine.backends.folders import find, fingerprint, first_line
from unires_jax.engine.roles import Image, ModelError, OutOfMemory
from unires_jax.errors import DataError, shorten

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
F = TypeVar("F")


def choose_device(device: str) -> torch.device:
    """The device of a setting; "auto": the first accelerator, or the CPU.

    Raises ModelError for one that is not there.
    """
    if device == "auto":
        there = torch.accelerator.is_available()
        device = str(torch.accelerator.current_accelerator()) if there else "cpu"
    try:
        torch.ones(1, device=device).item()
    except (RuntimeError, AssertionError) as error:
        raise ModelError(f"device {device!r}: {first_line(error)}") from None
    return torch.device(device)


def choose_dtype(dtype: str, device: torch.device) -> torch.dtype:
    """The dtype of a setting; "auto": bfloat16 on an accelerator, float32 on the CPU.

    Raises ModelError for another word.
    """
    if dtype == "auto":
        return torch.float32 if device.type == "cpu" else torch.bfloat16
    if dtype not in DTYPES:
        raise ModelError(f"dtype {dtype!r}: expected auto, {', '.join(DTYPES)}")
    return DTYPES[dtype]


def load_model(
    cls: Any,
    folder: Path,
    device: torch.device,
    dtype: torch.dtype,
    also: tuple[str, ...] = (),
) -> Any:
    """A model of transformers in evaluation mode.

    `also`: types of models whose folders hold this class's tensors too. Raises
    ModelError for a folder of another type, for a tensor that is missing or of another
    shape (transformers would draw it at random), and for whatever else does not load.
    """
    _require_type(cls, folder, also)
    # One thread, so that a model answers the same in one process and in a pool.
    torch.set_num_threads(1)
    logging.set_verbosity_error()  # what matters is raised below
    logging.disable_progress_bar()
    try:
        model, info = cls.from_pretrained(
            folder,
            dtype=dtype,
            output_loading_info=True,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,  # and nobody is asked
            ignore_mismatched_sizes=True,  # named below
        )
        model = model.to(device).eval()
    except Exception as error:  # what a file of others can raise is no short list
        raise _no(cls, folder, error) from None
    absent = sorted({*info["missing_keys"], *(x[0] for x in info["mismatched_keys"])})
    if absent:
        raise ModelError(
            f"{folder}: {len(absent)} tensors of {cls.__name__} are missing or of "
            f"another shape, {absent[0]} first; is it another model's folder, or a "
            "part of a download?"
        )
    return model


def load_processor(cls: Any, folder: Path) -> Any:
    """A tokenizer or image processor of transformers, by its class.

    Raises ModelError where the folder does not hold one.
    """
    try:
        return cls.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # as above
        raise _no(cls, folder, error) from None


def _require_type(cls: Any, folder: Path, also: tuple[str, ...]) -> None:
    """Before weights are read: a wrong type's would be drawn at random, all of them."""
    try:
        config = documents.read(folder / "config.json")
    except DataError as error:
        raise ModelError(f"{error}; is it a model's folder?") from None
    # Classes that take any type (Auto…) have none of their own.
    own = getattr(getattr(cls, "config_class", None), "model_type", None)
    stated = config.get("model_type") if isinstance(config, dict) else None
    if own is not None and stated not in (own, *also):
        expected = " or ".join((own, *also))
        raise ModelError(
            f"{folder}: config.json: model_type: {shorten(str(stated))}, expected "
            f"{expected}; is it another model's folder?"
        )


def _no(cls: Any, folder: Path, error: Exception) -> ModelError:
    why = torchvision_fault() or first_line(error)
    return ModelError(f"{folder}: no {cls.__name__} ({why})")


@contextlib.contextmanager
def told_when_full() -> Iterator[None]:
    """Compute without gradients; raise OutOfMemory where torch has no room."""
    try:
        with torch.inference_mode():
            yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise OutOfMemory(first_line(error)) from None
    except RuntimeError as error:  # the CPU has no class of its own
        if "allocate memory" not in str(error) and "enough memory" not in str(error):
            raise
        raise OutOfMemory(first_line(error)) from None


class LastPicture(Generic[F]):
    """What a model makes of a picture, kept until it is asked about another.

    A picture is told by its array, which nobody changes in place.
    """

    def __init__(self, encode: Callable[[Image], F]) -> None:
        """`encode`: a picture to whatever its texts and boxes are held against."""
        self._encode = encode
        self._last: tuple[Image, F] | None = None

    def __call__(self, image: Image) -> F:
        """The encoding of a picture."""
        if self._last is None or self._last[0] is not image:
            self._last = None  # its memory first
            self._last = image, self._encode(image)
        return self._last[1]


class Pretrained:
    """A model of transformers as a backend: the base of those of one class."""

    name: ClassVar[str]
    model_class: ClassVar[Any]
    also: ClassVar[tuple[str, ...]] = ()  # as load_model takes it

    def __init__(self, place: str, device: str = "auto", dtype: str = "auto") -> None:
        """`place`: folder or hub id. Raises ModelError as `find` and `load_model`."""
        self.device = choose_device(device)
        self.dtype = choose_dtype(dtype, self.device)
        self.folder = find(place)
        self.model = load_model(
            self.model_class, self.folder, self.device, self.dtype, self.also
        )
        self.fingerprint = fingerprint(self.folder)
        self.licence = BACKENDS[self.name].licence

    def pixels(self, processor: Any, image: Image) -> Float[torch.Tensor, "1 3 h w"]:
        """A picture as a processor of transformers makes it, where the model is."""
        made = processor(image, input_data_format="channels_last", return_tensors="pt")
        return made["pixel_values"].to(self.device, self.dtype)
