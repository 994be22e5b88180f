"""How the loops that Python is too slow for are compiled."""

from collections.abc import Callable
from typing import Any

import numba


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile at the first call, and keep the machine code on disk where possible.

    The function must also be `typing.no_type_check`: the tests' shape checks would wrap
    it in Python that numba cannot compile.
    """
    try:
        return numba.njit(cache=True)(function)
    except RuntimeError:  # neither the package's folder nor the user's is writable
        return numba.njit(function)
