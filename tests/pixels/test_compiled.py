"""Loops that numpy serves first: what it gives is what the machine code gives."""

import numpy as np
import pytest

from unires_jax.pixels import compiled, grid, resize


@pytest.mark.parametrize("size", [(3, 5), (31, 40), (200, 90)])
def test_a_first_picture_is_averaged_as_all_others(size: tuple[int, int]) -> None:
    draw = np.random.default_rng(0)
    h, w = size
    image = draw.integers(0, 256, (h, 3 * w), np.uint8)
    for share in (0.5, 0.7, 1.0):
        height, width = max(2, round(h * share)), max(3, round(w * share))
        taps = *resize._taps(h, height), *resize._taps(w, width, True)
        one, two = np.zeros((2, height + 2, width + 1, 3), np.uint8)
        resize._averaged(image, *taps, one)
        compiled.compiled(resize._average.__wrapped__)(image, *taps, two)
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("size", [(1, 1), (37, 300), (500, 260)])
def test_a_first_mask_is_interpolated_as_all_others(size: tuple[int, int]) -> None:
    logits = np.random.default_rng(1).normal(size=(12, 12)).astype(np.float32)
    rows, columns = (grid.taps(n, 90, 96, 12) for n in size)
    one, two = np.empty((2, *size[::-1]), np.float32)
    grid._interpolated(logits, *rows, *columns, one)
    compiled.compiled(grid._interpolate.__wrapped__)(logits, *rows, *columns, two)
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize(("seconds", "third"), [(0.0, "loop"), (60.0, "numpy")])
def test_loops_are_compiled_where_it_pays(
    seconds: float, third: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled, "SECONDS", seconds)
    monkeypatch.setattr(compiled, "compiled", lambda function: function)
    who = compiled.compiled_after(lambda: "numpy")(lambda: "loop")
    assert [who() for _ in range(3)][-1] == third
