"""What the engine asks of its models: one protocol a role. Source: ours.

Pictures are uint8 RGB as stored, boxes x0, y0, x1, y1 in pixels of the picture. An
answer does not depend on what else is asked in the same call. A backend tells an
exhausted memory as `OutOfMemory`, and the caller halves what it asks for.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from unires_jax.errors import UserError

Image = UInt8[np.ndarray, "H W 3"]
Crop = UInt8[np.ndarray, "_ _ 3"]  # of any size beside the others of a call
Pixels = Bool[np.ndarray, "H W"]
Boxes = Float32[np.ndarray, "n 4"]


class OutOfMemory(UserError):
    """A model's device had no room for a call."""


class ModelError(UserError):
    """A model that cannot be used as asked: a missing tensor, file or library."""


@runtime_checkable
class Backend(Protocol):
    """What every backend says of itself."""

    name: str  # "sam2"
    fingerprint: str  # of its config and weight files, 12 hex digits
    licence: str  # of the weights, for the report


class Segmented(NamedTuple):
    """A mask for a box."""

    mask: Pixels
    iou: float  # the model's own estimate
    stability: float  # IoU of the masks at logits > -1 and > 1


class FoundPart(NamedTuple):
    """A candidate for a part."""

    name: str
    box: tuple[float, float, float, float]
    score: float  # of the detector, in [0, 1]
    mask: Pixels | None  # None: only a box, which the segmenter takes


class Caption(NamedTuple):
    """What a model says of a region."""

    text: str
    logprob: float  # mean over its tokens


@runtime_checkable
class Segmenter(Backend, Protocol):
    """Boxes to masks."""

    def segment(self, image: Image, boxes: Boxes) -> list[Segmented]:
        """A mask for each box."""


@runtime_checkable
class PartFinder(Backend, Protocol):
    """Names to places of parts, in the crop of one object."""

    def find(
        self,
        image: Image,
        object_mask: Pixels | None,
        object_name: str,
        names: Sequence[str],
    ) -> list[FoundPart]:
        """Candidates of every name, several of one name allowed; boxes are clipped.

        `image` is the crop and `object_mask` the object's pixels in it; None: the
        whole picture is searched for objects of these names.
        """


@runtime_checkable
class Captioner(Backend, Protocol):
    """Regions to words."""

    def caption(self, image: Image, boxes: Boxes) -> list[Caption]:
        """A text for each box."""


@runtime_checkable
class Scorer(Backend, Protocol):
    """How well texts fit crops."""

    def score(
        self, crops: Sequence[Crop], texts: Sequence[str]
    ) -> Float32[np.ndarray, "crops texts"]:
        """Cosines."""


@runtime_checkable
class Grounder(Backend, Protocol):
    """Texts to masks: the cycle check, and a model that `evaluate.py` scores."""

    def ground(self, image: Image, texts: Sequence[str]) -> list[Pixels]:
        """What each text means in the picture; nothing marked: it means nothing."""


@runtime_checkable
class Vocabulary(Backend, Protocol):
    """Categories to names of parts."""

    def parts(self, category: str) -> list[str]:
        """Names of the parts that a thing of this category has; [] where unknown."""


ROLES: dict[str, type] = {
    "segmenter": Segmenter,
    "part_finder": PartFinder,
    "captioner": Captioner,
    "scorer": Scorer,
    "grounder": Grounder,
    "vocabulary": Vocabulary,
}
