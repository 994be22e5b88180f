"""A call that asks for less where memory ends."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from unires_jax.engine.roles import ModelError, OutOfMemory

T = TypeVar("T")
R = TypeVar("R")


def halving(
    call: Callable[[Sequence[T]], list[R]], items: Sequence[T], batch: int
) -> list[R]:
    """The answers to all items, at most `batch` at once, fewer where there is no room.

    Raises OutOfMemory where there is none for a single item, ModelError for a call
    that answers more or fewer items than were asked.
    """
    answers: list[R] = []
    batch = max(batch, 1)
    while len(answers) < len(items):
        some = items[len(answers) : len(answers) + batch]
        try:
            given = call(some)
        except OutOfMemory:
            if len(some) == 1:
                raise
            batch = len(some) // 2
            continue
        if len(given) != len(some):
            raise ModelError(f"a model gave {len(given)} answers to {len(some)}")
        answers += given
    return answers
