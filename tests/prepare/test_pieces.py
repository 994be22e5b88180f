"""Stray pieces of polygons: a point or two among pieces with area."""

from typing import Any

import pytest

from unires_jax.prepare.pieces import whole_pieces

SQUARE = [0, 0, 4, 0, 4, 4, 0, 4]


@pytest.mark.parametrize("stray", [[], [1, 2], [1, 2, 3.5, 4], [10**400, 1]])
def test_stray_pieces_are_left_out(stray: list[Any]) -> None:
    assert whole_pieces([stray, SQUARE]) == {1: SQUARE}
    assert whole_pieces([stray]) == {0: stray}  # nothing else is there


@pytest.mark.parametrize("wrong", ["x", [1], ["a", 2], [float("nan"), 1], None])
def test_what_is_no_piece_stays_to_be_refused(wrong: Any) -> None:
    assert whole_pieces([wrong, SQUARE]) == {0: wrong, 1: SQUARE}
