"""A call that asks for less where memory ends."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from unires_jax.engine.roles import OutOfMemory

T = TypeVar("T")
R = TypeVar("R")


def halving(
    call: Callable[[Sequence[T]], list[R]], items: Sequence[T], batch: int
) -> list[R]:
    """The answers to all items, at most `batch` at once, fewer where there is no room.

    Raises OutOfMemory where there is none for a single item.
    """
    answers: list[R] = []
    while len(answers) < len(items):
        some = items[len(answers) : len(answers) + batch]
        try:
            answers += call(some)
        except OutOfMemory:
            if len(some) == 1:
                raise
            batch = len(some) // 2
    return answers
