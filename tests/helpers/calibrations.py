"""Calibrations for models of random weights."""

from collections.abc import Sequence

import numpy as np

from unires_jax.evaluation import calibrate, fits
from unires_jax.inference.calibration import Calibration, Logistic
from unires_jax.inference.loaded import Loaded
from unires_jax.parameters import fingerprint


def calibration_of(loaded: Loaded, pictures: Sequence[np.ndarray]) -> Calibration:
    """One that knows these pictures; what it makes of numbers is invented."""
    vectors = calibrate.look(calibrate.answerer(loaded), pictures)
    return Calibration(
        parameters=fingerprint(loaded.params),
        fitted_on={"boxes:val": "f"},
        right=Logistic(2.0, -0.7),
        nothing=Logistic(0.6),
        likeness=fits.likeness(vectors)[0],
        trained_on={"partworld:train": 1234},
    )


def stripes(seed: int, height: int = 40, width: int = 56) -> np.ndarray:
    """A picture of smooth coloured waves, unlike noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width][..., None] / 8
    waves = np.sin(x * rng.uniform(0.5, 1, 3) + y * rng.uniform(0.5, 1, 3))
    return (127 * (1 + waves)).astype(np.uint8)
