"""Pictures of several batches as one: what was encoded apart is decoded together.

Features stay on the device. Source: ours.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from unires_jax.inference.answer import EncodedPicture


def alone(picture: EncodedPicture) -> EncodedPicture:
    """The picture as a batch of its own: the others of its batch can be freed."""
    row = _row(picture.features, np.int32(picture.index))
    return dataclasses.replace(picture, features=row, index=0)


def together(pictures: Sequence[EncodedPicture], rows: int) -> list[EncodedPicture]:
    """Pictures that are each `alone`, as one batch of so many rows, at least theirs."""
    filled = [*pictures, *[pictures[0]] * (rows - len(pictures))]
    features = _batch(*[picture.features for picture in filled])
    return [
        dataclasses.replace(picture, features=features, index=i)
        for i, picture in enumerate(pictures)
    ]


@jax.jit
def _row(features: Any, index: Any) -> Any:
    return jax.tree.map(
        lambda x: jax.lax.dynamic_slice_in_dim(x, index, 1, axis=0), features
    )


@jax.jit
def _batch(*features: Any) -> Any:
    return jax.tree.map(lambda *rows: jax.numpy.concatenate(rows), *features)
