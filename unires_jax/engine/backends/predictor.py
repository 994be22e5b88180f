"""Our own Predictor as grounder: a picture is encoded once for all its texts.

It runs on jax's first device, which JAX_PLATFORMS chooses.
"""

import hashlib
import os
from collections.abc import Sequence
from typing import Literal

from unires_jax.checkpoint import find_checkpoint
from unires_jax.engine.roles import Image, ModelError, Pixels
from unires_jax.errors import CheckpointError, ConfigError
from unires_jax.files import Location, locate
from unires_jax.inference import exported, places
from unires_jax.serving import predictor as serving

# `loading.DTYPES` in the words of `unires_jax.load`; torch is not needed here.
_DTYPES: dict[str, Literal["", "float32", "bfloat16"]] = {
    "auto": "",
    "float32": "float32",
    "bfloat16": "bfloat16",
}
_PROGRAMS = (".md", ".py", ".pyc")  # of an export, beside the model
_CHUNK = 1 << 20


class PredictorGrounder:
    """A `roles.Grounder`.

    Masks are the model's own: its no-target head does not empty them.
    """

    name = "predictor"
    licence = "as its training data and pretrained towers have it"

    def __init__(self, checkpoint: str, device: str = "auto", dtype: str = "auto"):
        """A run's folder, an export, or "": the model of the package.

        `device` says nothing here. Raises ModelError for a folder that holds no model.
        """
        if dtype not in _DTYPES:
            raise ModelError(f"dtype {dtype!r}: expected {', '.join(_DTYPES)}")
        # Models of torch share the accelerator; jax would take three quarters of it.
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
        try:
            self.predictor = serving.load(checkpoint, dtype=_DTYPES[dtype])
        except (CheckpointError, ConfigError) as error:
            raise ModelError(str(error)) from None
        self.fingerprint = _fingerprint(locate(self.predictor.about["checkpoint"]))

    def ground(self, image: Image, texts: Sequence[str]) -> list[Pixels]:
        """What is marked for each text. Raises DataError for one without words."""
        if not texts:
            return []
        answerer = self.predictor.answerer
        pictures = answerer.look([image])
        answers = dict(answerer.answers(pictures, [(0, text) for text in texts]))
        return [answers[i].mask for i in range(len(texts))]


def fingerprint_of(checkpoint: str) -> str:
    """The fingerprint of the model that would be loaded. Raises ModelError."""
    try:
        place = places.find(checkpoint or places.BUNDLED)
        whole = exported.is_export(place)
        return _fingerprint(locate(place) if whole else find_checkpoint(place))
    except (CheckpointError, ConfigError) as error:
        raise ModelError(str(error)) from None


def _fingerprint(folder: Location) -> str:
    """Of the files of a checkpoint or an export: 12 hex digits of SHA-256."""
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        if path.suffix in _PROGRAMS:
            continue
        digest.update(str(path.relative_to(folder)).encode())
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    return digest.hexdigest()[:12]
