"""Label Studio's masks: the RGBA values of a picture, packed by runs of equal ones.

Source of the format: thi.ng's rle-pack, as Label Studio's converter describes it: a
count (32 bits), the bits of a value less one (5), four sizes of run lengths less one (4
each); then packets: a bit that says whether one value is repeated, two that choose the
size, the length less one, and one value or as many as that.
"""

import itertools
from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8

from unires_jax.errors import DataError, Kind
from unires_jax.pixels.masks import RunMask

SIZES = (3, 4, 8, 16)  # bits of run lengths, as Label Studio's own have
PACKETS = 1 << 20  # of one mask; a large one has some 100,000; ours
_CHANNELS, _OPACITY = 4, 3


def read_mask(packed: Sequence[int], height: int, width: int) -> RunMask:
    """The mask: where the picture is not transparent. Raises DataError for damage."""
    if not all(type(v) is int and 0 <= v < 256 for v in packed):
        raise DataError("rle: expected bytes, numbers from 0 to 255")
    values = _unpack(np.array(packed, np.uint8), height * width * _CHANNELS)
    mask = RunMask.from_pixels(values[_OPACITY::_CHANNELS].reshape(height, width))
    if not mask.area:
        raise DataError("rle: its mask holds no pixel", kind=Kind.MASK_EMPTY)
    return mask


def write_mask(mask: RunMask) -> list[int]:
    """The bytes of a mask, which `read_mask` reads back."""
    marked = np.repeat(mask.pixels().ravel(), _CHANNELS)
    edges = np.flatnonzero(np.diff(marked, prepend=~marked[:1], append=~marked[-1:]))
    bits = [f"{len(marked):032b}", f"{7:05b}", *(f"{size - 1:04b}" for size in SIZES)]
    for start, end in itertools.pairwise(edges.tolist()):
        value = f"{255 * int(marked[start]):08b}"
        for at in range(start, end, 1 << SIZES[-1]):
            length = min(end - at, 1 << SIZES[-1])
            which = next(i for i, size in enumerate(SIZES) if length <= 1 << size)
            bits += ["1", f"{which:02b}", f"{length - 1:0{SIZES[which]}b}", value]
    text = "".join(bits)
    packed = np.packbits(np.frombuffer(text.encode(), np.uint8) - ord("0"))
    return list(map(int, packed))


class _Bits:
    """Numbers of so many bits, one after the other."""

    def __init__(self, data: UInt8[np.ndarray, " n"]) -> None:
        self._bits, self._at = np.unpackbits(data), 0

    def take(self, count: int, size: int) -> UInt8[np.ndarray, " count"]:
        """`count` values of up to 8 bits."""
        end = self._at + count * size
        if end > len(self._bits):
            raise DataError("rle: ends too early; export it again")
        bits = self._bits[self._at : end].reshape(count, size)
        self._at = end
        return np.packbits(bits, axis=1)[:, 0] >> (8 - size)

    def number(self, size: int) -> int:
        """One number of any size."""
        end = self._at + size
        if end > len(self._bits):
            raise DataError("rle: ends too early; export it again")
        value = 0
        for bit in self._bits[self._at : end].tolist():
            value = value << 1 | bit
        self._at = end
        return value


def _unpack(data: UInt8[np.ndarray, " n"], expected: int) -> UInt8[np.ndarray, " v"]:
    bits = _Bits(data)
    count, size = bits.number(32), bits.number(5) + 1
    if count != expected or size > 8:
        raise DataError(
            f"rle: {count} values of {size} bits, the picture has {expected} of 8",
            kind=Kind.SIZE_DIFFERS,
        )
    sizes = [bits.number(4) + 1 for _ in range(4)]
    values = np.zeros(count, np.uint8)
    at = packets = 0
    while at < count:
        packets += 1
        repeated = bits.number(1)
        length = 1 + bits.number(sizes[bits.number(2)])
        if at + length > count or packets > PACKETS:
            raise DataError("rle: more values than the picture has; export it again")
        own = bits.take(1 if repeated else length, size)
        values[at : at + length] = own
        at += length
    return values
