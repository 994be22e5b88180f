"""Keys of random numbers, for the parameters of a new model."""

import jax
from jax import Array


class Keys:
    """A new key at every call: those of flax's `nnx.Rngs(seed).params()`.

    flax counts in a variable. Under a trace it then asks a traced array for its
    sharding at every key, and jax writes the text of an error that nobody reads, in a
    time that grows with the program: two thirds of a model's construction. Here the
    count is a number, and the keys are the same.
    """

    def __init__(self, seed: int | Array):
        """`seed` is a number or a key."""
        self._key = jax.random.key(seed) if isinstance(seed, int) else seed
        self._count = 0

    def __call__(self) -> Array:
        """The next key."""
        key = jax.random.fold_in(self._key, self._count)
        self._count += 1
        return key
