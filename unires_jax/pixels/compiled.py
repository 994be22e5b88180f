"""How the loops that Python is too slow for are compiled."""

import functools
import time
from collections.abc import Callable
from typing import Any

# Of a loop in numpy, after which numba is started; that takes about a second (ours).
SECONDS = 0.3


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile at the first call, and keep the machine code on disk where possible.

    numba is imported then. The function must also be `typing.no_type_check`: the tests'
    shape checks would wrap it in Python that numba cannot compile. It calls no other
    one of these.
    """

    @functools.cache
    def loop() -> Callable[..., Any]:
        import numba

        try:
            return numba.njit(cache=True)(function)
        except RuntimeError:  # neither the package's folder nor the user's is writable
            return numba.njit(function)

    @functools.wraps(function)
    def run(*args: Any) -> Any:
        return loop()(*args)

    return run


def compiled_after(plain: Callable[..., Any]) -> Any:
    """`compiled`, once `plain` has taken SECONDS of this process.

    It does the same in numpy, to the bit: for a picture or two, numba would take longer
    to start than it saves.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        loop, spent = compiled(function), 0.0

        @functools.wraps(function)
        def run(*args: Any) -> Any:
            nonlocal spent
            if spent >= SECONDS:
                return loop(*args)
            start = time.perf_counter()
            result = plain(*args)
            spent += time.perf_counter() - start
            return result

        return run

    return decorate
