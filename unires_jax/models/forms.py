"""Which form of the operations is traced: the one place that chooses.

A set of forms computes the same functions within rounding (tested). Every platform has
one, and it is chosen when a function is traced.
"""

import contextlib
import contextvars
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
from jax import Array

from unires_jax.models import depthwise, fast, gpu, plain, tpu


class Forms(NamedTuple):
    """The operations that have more than one form; signatures are those of `plain`,
    that of the last `depthwise.plain`'s.
    """

    dense: Callable[..., Array]
    layer_norm: Callable[..., Array]
    attend: Callable[..., Array]
    quick_gelu: Callable[..., Array]
    depthwise: Callable[..., Array] = depthwise.plain


PLAIN = Forms(plain.dense, plain.layer_norm, plain.attend, plain.quick_gelu)
FAST = Forms(fast.dense, fast.layer_norm, fast.attend, fast.quick_gelu)
CPU = FAST._replace(depthwise=depthwise.fast)
GPU = FAST._replace(attend=gpu.attend)
# The fast dense layer flattens rows, which TPU copies where a picture's rows fill no
# whole tiles: a block of L/14 moved 2.87 GB with it and 2.65 GB with the plain one.
TPU = FAST._replace(attend=tpu.attend, dense=plain.dense)

_selected: contextvars.ContextVar[Forms] = contextvars.ContextVar("forms")


def for_platform(name: str) -> Forms:
    """The set for a platform, by jax's name for it: "cpu", "tpu", "gpu" or "cuda".

    Any other has the fast forms, which hold nothing of a platform.
    """
    return {"cpu": CPU, "tpu": TPU, "gpu": GPU, "cuda": GPU}.get(name, FAST)


def forms() -> Forms:
    """The set selected by `use`, otherwise that of jax's default platform."""
    return _selected.get(None) or for_platform(jax.default_backend())


@contextlib.contextmanager
def use(selected: Forms) -> Iterator[None]:
    """What is traced inside is made of these forms.

    For exporters, and to trace for another platform than this machine's: a function
    that jax has traced before keeps the forms it had then.
    """
    token = _selected.set(selected)
    try:
        yield
    finally:
        _selected.reset(token)
