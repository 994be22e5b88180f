"""Predicates mean the same in a picture of any size."""

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unires_jax.data.predicates import PLACES, RELATIONS, counted, placed, sized


@dataclasses.dataclass(frozen=True)
class Block:
    box: tuple[float, float, float, float]

    @property
    def whole(self):
        return self

    @property
    def extent(self):
        return self.box[2:]

    @property
    def hides(self):
        return frozenset()


@dataclasses.dataclass(frozen=True)
class Blocks:
    size: tuple[int, int]
    objects: tuple[Block, ...]

    def times(self, factor):
        height, width = self.size
        blocks = [Block(tuple(factor * v for v in b.box)) for b in self.objects]
        return Blocks((factor * height, factor * width), tuple(blocks))


_numbers = st.integers(4, 60).map(float)
_boxes = st.tuples(_numbers, _numbers, _numbers, _numbers)
_sights = st.builds(
    Blocks,
    st.sampled_from([(120, 160), (160, 120)]),
    st.lists(st.builds(Block, _boxes), min_size=2, max_size=5).map(tuple),
)


def judged(sight):
    regions, n = sight.objects, range(len(sight.objects))
    yield from (placed(p, m, sight, regions) for p in PLACES for m in (True, False))
    yield from (counted(2, side, sight, regions) for side in ("left", "top"))
    yield from (sized(size, regions) for size in ("big", "small"))
    pairs = [(i, j) for i in n for j in n if i != j]
    yield from ([holds(sight, *p) for p in pairs] for holds in RELATIONS.values())


@settings(max_examples=100, deadline=None)
@given(_sights, st.sampled_from([2, 4, 8]))  # exact in binary
def test_a_larger_copy_is_judged_alike(sight, factor):
    assert list(judged(sight)) == list(judged(sight.times(factor)))


@pytest.mark.parametrize(("size", "truth"), [((120, 160), True), ((480, 640), None)])
def test_twenty_pixels_are_a_tie_in_a_photograph(size, truth):
    sight = Blocks(size, (Block((10, 10, 20, 20)), Block((30, 10, 20, 20))))
    assert placed("left", False, sight, sight.objects)[0] is truth
