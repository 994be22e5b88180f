"""A training batch, on the host and on devices."""

from typing import Any, NamedTuple

from jaxtyping import Bool, Int32, UInt8


class Batch(NamedTuple):
    """One process's share of a global batch, or the whole of it.

    numpy arrays as the pipeline makes them, global arrays of jax after `mesh.feed`. b
    images, k expressions of each, l tokens, g x g cells of the mask grid.
    """

    images: UInt8[Any, "b H W 3"]
    extent: Int32[Any, "b 2"]  # valid height and width on the canvas, pixels
    tokens: Int32[Any, "b k l"]
    lengths: Int32[Any, "b k"]  # SOS and EOS included; 2 where not valid
    masks: UInt8[Any, "b k g g"]  # round(255 * share of the cell covered)
    valid: Bool[Any, "b k"]  # False: nothing was there to draw
    no_target: Bool[Any, "b k"]
    level: Int32[Any, "b k"]
