"""Pictures that look alike though their files differ: copies of another size or format.

A picture's difference hash says, for 8 x 8 places of its grey thumbnail, whether the
next place to the right is brighter. Source: the dHash of N. Krawetz (2013).
"""

import cv2
import numpy as np
from jaxtyping import UInt8, UInt64

BITS = 3  # of 64 that may differ between two that are alike; ours


def difference_hash(image: UInt8[np.ndarray, "H W 3"]) -> int:
    """The 64 bits of a picture."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (9, 8), interpolation=cv2.INTER_AREA)
    brighter = small[:, 1:] > small[:, :-1]
    return int.from_bytes(np.packbits(brighter).tobytes(), "big")


def alike(hashes: UInt64[np.ndarray, " n"]) -> list[tuple[int, int]]:
    """Pairs of pictures that are alike: each with the first one it resembles.

    Two hashes that differ in BITS bits or fewer agree in one of BITS + 1 bands, so
    that only those of one band are compared.
    """
    unique, inverse = np.unique(hashes, return_inverse=True)
    root = np.arange(len(unique))
    width = 64 // (BITS + 1)
    for band in range(BITS + 1):
        digits = unique >> np.uint64(band * width) & np.uint64((1 << width) - 1)
        order = np.argsort(digits, kind="stable")
        edges = np.flatnonzero(np.diff(digits[order])) + 1
        for bucket in np.split(order, edges):
            for i, one in enumerate(bucket[:-1]):
                others = bucket[i + 1 :]
                distance = np.bitwise_count(unique[others] ^ unique[one])
                for other in others[distance <= BITS]:
                    _join(root, int(one), int(other))
    leaders: dict[int, int] = {}
    pairs = []
    for i, place in enumerate(inverse):
        leader = leaders.setdefault(_find(root, int(place)), i)
        if leader != i:
            pairs.append((leader, i))
    return pairs


def _find(root: np.ndarray, i: int) -> int:
    while root[i] != i:
        root[i] = root[root[i]]
        i = int(root[i])
    return i


def _join(root: np.ndarray, one: int, other: int) -> None:
    root[_find(root, one)] = _find(root, other)
