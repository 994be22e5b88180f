"""How much is in the server at once: a bounded number of requests, of bounded size."""

import contextlib
from collections.abc import Callable, Iterator

from unires_jax.serving.api.problems import later


class Admission:
    """Counts requests and the bytes they sent. For one event loop."""

    def __init__(self, count: int, nbytes: int):
        self._count, self._nbytes = count, nbytes
        self.inside, self.held = 0, 0  # requests, and their bytes

    @contextlib.contextmanager
    def enter(self, expected_seconds: float) -> Iterator[Callable[[int], None]]:
        """A place for one request; takes the numbers of bytes as they arrive.

        Raises Problem: 429 where all places are taken, 503 where the bytes are too
        many.
        """
        if self.inside >= self._count:
            raise later(
                429,
                f"{self.inside} requests are in the server; please ask again later",
                expected_seconds,
            )
        self.inside += 1
        arrived = 0

        def take(nbytes: int) -> None:
            nonlocal arrived
            if self.held + nbytes > self._nbytes:
                raise later(
                    503,
                    "too many large pictures at the moment; please ask again later",
                    expected_seconds,
                )
            arrived += nbytes
            self.held += nbytes

        try:
            yield take
        finally:
            self.inside -= 1
            self.held -= arrived
