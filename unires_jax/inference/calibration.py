"""What a model's numbers are worth: its file, made by `unires calibrate`.

`calibration.json` lies in a run's folder or in an export. It belongs to the parameters
it was measured with, which it names by a hash: of others it says nothing.
"""

import dataclasses
import json
import logging
import math
from typing import Any, NamedTuple

from unires_jax import documents
from unires_jax.config import ModelConfig, fits
from unires_jax.errors import CheckpointError, DataError, shorten
from unires_jax.files import Location
from unires_jax.inference import likeness
from unires_jax.inference.likeness import Likeness

FILE = "calibration.json"
FORMAT = "unires_jax-calibration/1"
# What reading a damaged one may raise.
_DAMAGE = (AttributeError, DataError, LookupError, TypeError, ValueError, OverflowError)
EDGE = 1e-6  # probabilities are kept this far from 0 and 1 (ours)

log = logging.getLogger(__name__)


class Logistic(NamedTuple):
    """A probability made of another: its logit scaled and moved (Platt, 1999)."""

    scale: float  # above zero: the order stays
    offset: float = 0.0  # 0: what lies above one half stays there

    def __call__(self, probability: float) -> float:
        """The calibrated probability."""
        p = min(max(probability, EDGE), 1 - EDGE)
        moved = self.scale * math.log(p / (1 - p)) + self.offset
        return 0.5 * (1 + math.tanh(0.5 * moved))


@dataclasses.dataclass(frozen=True)
class Calibration:
    """What was measured on data the model was not trained on."""

    parameters: str  # `parameters.fingerprint` of them
    fitted_on: dict[str, str]  # splits, and what each held
    right: Logistic  # of a mask's quality: if it is meant, its IoU is one half or more
    nothing: Logistic | None  # that nothing is meant; None: never trained
    likeness: Likeness
    trained_on: dict[str, int] = dataclasses.field(default_factory=dict)  # pictures
    checks: dict[str, Any] = dataclasses.field(default_factory=dict)  # as measured

    def to_json(self) -> str:
        """The file's text."""
        values = {"format": FORMAT} | {
            field.name: getattr(self, field.name) for field in dataclasses.fields(self)
        }
        for name in ("right", "nothing"):
            values[name] = values[name] and values[name]._asdict()
        values["likeness"] = self.likeness.to_json()
        return json.dumps(values)


def home(folder: Location) -> Location:
    """Where the calibration of a step's or an export's folder lies."""
    if not (folder / "state").is_dir():
        return folder
    from unires_jax import checkpoint  # with orbax, which an export does not need

    parents = folder.parents
    return parents[1] if parents[0].name == checkpoint.FOLDER else parents[0]


def read(
    folder: Location, model: ModelConfig, params: dict[str, Any]
) -> Calibration | None:
    """The calibration of these parameters, of a step's or an export's folder.

    None without one, and for one of other parameters, which is logged. Raises
    CheckpointError naming the file for one that is damaged.
    """
    file = home(folder) / FILE
    if not file.is_file():
        return None
    try:
        calibration = _of(documents.read_object(file), model)
    except _DAMAGE as error:
        raise CheckpointError(
            f"{file}: cannot be used ({type(error).__name__}: {error}); remove it, and "
            "make it anew with: unires calibrate"
        ) from None
    from unires_jax.parameters import fingerprint  # with jax

    if calibration.parameters != fingerprint(params):
        log.warning("%s: is of other parameters and not used: calibrate again", file)
        return None
    return calibration


def _of(values: dict[str, Any], model: ModelConfig) -> Calibration:
    if values.get("format") != FORMAT:
        raise ValueError(f"format {values.get('format')!r}, expected {FORMAT!r}")
    nothing = values["nothing"]
    return Calibration(
        parameters=str(values["parameters"]),
        fitted_on={str(k): str(v) for k, v in dict(values["fitted_on"]).items()},
        right=_logistic(values["right"]),
        nothing=None if nothing is None else _logistic(nothing),
        likeness=likeness.from_json(values["likeness"], likeness.pooled_size(model)),
        trained_on={str(k): int(v) for k, v in dict(values["trained_on"]).items()},
        checks=_checks(values["checks"]),
    )


def _checks(values: dict[str, Any]) -> dict[str, Any]:
    """What was measured, as a card prints it."""
    checks = dict(values)
    for name, row in checks.items():
        numbers = [row["pictures"], row["unlike"], row.get("auroc", 0)]
        for error in row.get("error", {}).values():
            numbers += [error["after"], error["before"]] if error else []
        # An error of no expression is not a number.
        if not all(isinstance(x, float) or fits(x, float) for x in numbers):
            raise ValueError(f"checks: {shorten(name)}: expected numbers")
    return checks


def _logistic(values: dict[str, Any]) -> Logistic:
    logistic = Logistic(float(values["scale"]), float(values["offset"]))
    if not (0 < logistic.scale < math.inf and math.isfinite(logistic.offset)):
        raise ValueError(f"{logistic}: expected finite numbers, the scale above zero")
    return logistic
