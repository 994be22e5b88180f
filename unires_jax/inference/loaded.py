"""A model's parameters with all that is needed to use and to name them."""

import dataclasses
import re
from typing import Any

from unires_jax.config import Config, training_model
from unires_jax.data.tokenizer import Tokenizer
from unires_jax.errors import ConfigError, shorten
from unires_jax.files import Location
from unires_jax.inference.calibration import Calibration

# Data sets that are told by a description, not by their name.
DESCRIBED = {"partworld": "drawn scenes of PartWorld"}

Meta = dict[str, Any]  # as `checkpoint.Meta`


@dataclasses.dataclass(frozen=True)
class Loaded:
    """A checkpoint or an export, ready to answer."""

    folder: Location  # of its step, or the export's
    config: Config  # it was trained with
    tokenizer: Tokenizer
    params: dict[str, Any]  # numpy; averaged weights where it has them
    meta: Meta  # what the checkpoint, or the export's manifest, says of itself
    calibration: Calibration | None = None  # of these parameters
    other_side: int = 0  # of the pictures it answers at, pixels; 0: its own

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
    def trained_on(self) -> str:
        """Its training data in words, and how many pictures; "" where nothing tells."""
        counts = self.calibration.trained_on if self.calibration else {}
        return ", ".join(
            _described(split)
            + (f" ({counts[split]:,} pictures)" if split in counts else "")
            for split in self.meta.get("data", {})
        )

    def answering_at(self, side: int) -> "Loaded":
        """The same model for pictures letterboxed to another side, in pixels.

        Without its calibration, which was measured at its own. Raises ConfigError for a
        side that is no multiple of its patch.
        """
        model = self.config.model
        if side == model.image_size:
            return self
        if side < 1 or side % model.vision.patch:
            raise ConfigError(
                f"image_size={side} must be a positive multiple of the model's patch, "
                f"{model.vision.patch} pixels"
            )
        table = training_model(model).image_size
        model = dataclasses.replace(model, image_size=side, train_size=table)
        return dataclasses.replace(
            self,
            config=dataclasses.replace(self.config, model=model),
            calibration=None,
            other_side=side,
        )

    @property
    def about(self) -> dict[str, Any]:
        """What answers and reports say of it."""
        return {
            "name": self.config.name,
            "step": self.step,
            "checkpoint": str(self.folder),
            "revision": self.meta.get("revision", ""),
            **({"image_size": self.other_side} if self.other_side else {}),
            "no_target_trained": self.no_target_trained,
            "trained_on": self.trained_on,
            "calibrated_on": ", ".join(
                map(shorten, getattr(self.calibration, "fitted_on", {}))
            ),
        }


def _described(split: str) -> str:
    """A split by name, or by the description of its data set."""
    names = re.split("[/:]", split)
    known = (text for name, text in DESCRIBED.items() if name in names)
    return next(known, shorten(split))  # it is another's word
