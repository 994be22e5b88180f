"""Which form of the operations is traced: the one place that chooses.

A set of forms computes the same functions within rounding (tested). Kernels of a
platform enter as one more set, chosen in `forms`.
"""

import contextlib
import contextvars
from collections.abc import Callable, Iterator
from typing import NamedTuple

from jax import Array

from unires_jax.models import fast, plain


class Forms(NamedTuple):
    """The operations that have more than one form; signatures are those of `plain`."""

    dense: Callable[..., Array]
    layer_norm: Callable[..., Array]
    attend: Callable[..., Array]
    quick_gelu: Callable[..., Array]


PLAIN = Forms(plain.dense, plain.layer_norm, plain.attend, plain.quick_gelu)
FAST = Forms(fast.dense, fast.layer_norm, fast.attend, fast.quick_gelu)

_selected: contextvars.ContextVar[Forms] = contextvars.ContextVar("forms")


def forms() -> Forms:
    """The set selected by `use`, otherwise the fast one, on every platform."""
    return _selected.get(FAST)


@contextlib.contextmanager
def use(selected: Forms) -> Iterator[None]:
    """What is traced inside is made of these forms.

    For exporters: a function that jax has traced before keeps the forms it had then.
    """
    token = _selected.set(selected)
    try:
        yield
    finally:
        _selected.reset(token)
