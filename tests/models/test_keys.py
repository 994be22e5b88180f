"""Keys are those that flax would give, so that a seed's parameters stay."""

import jax
import numpy as np
import pytest
from flax import nnx

from unires_jax.models.keys import Keys


@pytest.mark.parametrize("seed", [0, 7, jax.random.key(3)], ids=str)
def test_keys_are_those_of_flax(seed: int | jax.Array) -> None:
    ours, theirs = Keys(seed), nnx.Rngs(seed)
    drawn = [
        (jax.random.key_data(ours()), jax.random.key_data(theirs.params()))
        for _ in range(4)
    ]
    for one, other in drawn:
        np.testing.assert_array_equal(one, other)
    assert len({tuple(one.tolist()) for one, _ in drawn}) == 4
