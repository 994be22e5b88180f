"""A draw from a stream whose length nobody knows, the same in whatever order it comes.

Of each stratum the items of the smallest hashes are kept (bottom-k sampling): every
item is as likely as any other, and memory is bounded by what is kept.
"""

import hashlib
import heapq
from collections import Counter
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Sample(Generic[T]):
    """At most `size` items of each stratum, drawn by `seed`."""

    def __init__(self, size: int, seed: int = 0) -> None:
        self.size, self.seed = size, seed
        self.counts = Counter[str]()  # of all items, by stratum
        self._heaps: dict[str, list[tuple[int, str, T]]] = {}

    def add(self, stratum: str, key: str, make: Callable[[], T]) -> None:
        """Offer an item; `key` is its own, and `make` gives it where it is drawn."""
        self.counts[stratum] += 1
        heap = self._heaps.setdefault(stratum, [])
        rank = -self.rank(key)  # the worst first
        if len(heap) < self.size:
            heapq.heappush(heap, (rank, key, make()))
        elif heap and rank > heap[0][0]:
            heapq.heapreplace(heap, (rank, key, make()))

    def rank(self, key: str) -> int:
        """The place of a key in the draw, in 64 bits."""
        digest = hashlib.blake2b(f"{self.seed}/{key}".encode(), digest_size=8)
        return int.from_bytes(digest.digest(), "big")

    def drawn(self, stratum: str) -> list[T]:
        """What was drawn of a stratum, in the order of the draw."""
        heap = self._heaps.get(stratum, [])
        return [item for _, _, item in sorted(heap, key=lambda x: (-x[0], x[1]))]

    @property
    def strata(self) -> list[str]:
        """The strata that have any, sorted."""
        return sorted(self._heaps)
