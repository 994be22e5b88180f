"""Textured, muted grounds, so that nothing is found by flatness alone."""

from random import Random

import cv2
import numpy as np
from jaxtyping import Float

from unires_jax.partworld import palette

Ground = Float[np.ndarray, "H W 3"]
_Rows = Float[np.ndarray, "H 1"]
_Columns = Float[np.ndarray, "1 W"]
_Field = Float[np.ndarray, "H W"]  # 0 = first colour, 1 = second


def background(height: int, width: int, r: Random) -> Ground:
    """A ground of two muted colours mixed by a texture, float32 RGB in 0..255."""
    rows = np.arange(height, dtype=np.float32)[:, None]
    columns = np.arange(width, dtype=np.float32)[None, :]
    texture = r.choice([_gradient, _clouds, _stripes, _checker, _horizon, _dots])
    share = texture(rows, columns, r)[..., None]
    first, second = (np.asarray(palette.ground(r), np.float32) for _ in range(2))
    noise = np.random.default_rng(r.getrandbits(32))
    grain = noise.standard_normal((height, width, 1), np.float32)
    return first + share * (second - first) + r.uniform(1.5, 5) * grain


def _gradient(rows: _Rows, columns: _Columns, r: Random) -> _Field:
    u, v = r.uniform(-1, 1), r.uniform(-1, 1)
    field = rows * (u / rows.size) + columns * (v / columns.size)
    return (field - field.min()) / (np.ptp(field) + 1e-6)


def _clouds(rows: _Rows, columns: _Columns, r: Random) -> _Field:
    cells = r.randint(4, 14)
    noise = np.random.default_rng(r.getrandbits(32)).random((cells, cells), np.float32)
    size = (columns.size, rows.size)
    return cv2.resize(noise, size, interpolation=cv2.INTER_CUBIC)


def _stripes(rows: _Rows, columns: _Columns, r: Random) -> _Field:
    u, v = r.choice([(0.0, 1.0), (1.0, 0.0), (0.7, 0.7), (-0.7, 0.7)])
    frequency = 2 * np.pi / r.uniform(7, 20)
    wave = np.sin(rows * (u * frequency) + columns * (v * frequency))
    return np.clip(0.5 + 1.5 * wave, 0, 1) * 0.6


def _checker(rows: _Rows, columns: _Columns, r: Random) -> _Field:
    cell = r.uniform(8, 18)
    return 0.5 * ((rows // cell + columns // cell) % 2)


def _horizon(rows: _Rows, columns: _Columns, r: Random) -> _Field:
    line, tilt = r.uniform(0.3, 0.65) * rows.size, r.uniform(-0.08, 0.08)
    return np.clip((rows - line + tilt * columns) / 2, 0, 1)


def _dots(rows: _Rows, columns: _Columns, r: Random) -> _Field:
    pitch = r.uniform(9, 18)
    y, x = rows % pitch - pitch / 2, columns % pitch - pitch / 2
    return np.clip(pitch * 0.28 - np.sqrt(x * x + y * y), 0, 1) * 0.7
