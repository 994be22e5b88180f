"""A model's parameters with all that is needed to use and to name them."""

import dataclasses
from typing import Any

from unires_jax.config import Config
from unires_jax.data.tokenizer import Tokenizer
from unires_jax.files import Location

Meta = dict[str, Any]  # as `checkpoint.Meta`


@dataclasses.dataclass(frozen=True)
class Loaded:
    """A checkpoint or an export, ready to answer."""

    folder: Location  # of its step, or the export's
    config: Config  # it was trained with
    tokenizer: Tokenizer
    params: dict[str, Any]  # numpy; averaged weights where it has them
    meta: Meta  # what the checkpoint, or the export's manifest, says of itself

    @property
    def step(self) -> int | None:
        """The update its parameters are of; None where nothing tells."""
        name = self.folder.name
        step: int | None = self.meta.get("step", int(name) if name.isdigit() else None)
        return step

    @property
    def no_target_trained(self) -> bool:
        """Whether its no-target head ever saw an expression that denotes nothing."""
        return bool(self.meta.get("no_target_trained", False))

    @property
    def about(self) -> dict[str, Any]:
        """What answers and reports say of it."""
        return {
            "name": self.config.name,
            "step": self.step,
            "checkpoint": str(self.folder),
            "revision": self.meta.get("revision", ""),
            "no_target_trained": self.no_target_trained,
        }
