"""Pictures for tests, whole and damaged."""

import io
import random
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image


def noise(seed: int, height: int = 40, width: int = 56) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)


def corners() -> np.ndarray:
    """24 x 40 pixels, each quarter of one colour."""
    pixels = np.zeros((24, 40, 3), np.uint8)
    pixels[:12, :20], pixels[:12, 20:] = (250, 10, 10), (10, 250, 10)
    pixels[12:, :20], pixels[12:, 20:] = (10, 10, 250), (250, 250, 10)
    return pixels


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def bomb(side: int) -> bytes:
    """A PNG of a few hundred bytes that states side x side pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")


def mutated(r: random.Random, whole: bytes, donor: bytes) -> bytes:
    """Bits flipped, bytes set, cut, doubled, or joined with another picture."""
    data = bytearray(whole)
    for _ in range(r.randint(1, 6)):
        at = r.randrange(len(data) or 1)
        action = r.randrange(6)
        if action == 0 and data:
            data[at] ^= 1 << r.randrange(8)
        elif action == 1 and data:
            data[at] = r.choice((0, 1, 127, 128, 255))
        elif action == 2:
            del data[at : at + r.randint(1, 64)]
        elif action == 3:
            data[at:at] = data[at : at + r.randint(1, 64)]
        elif action == 4:
            data[at:] = donor[r.randrange(len(donor)) :]
        else:
            data[at : at + 4] = r.randbytes(4)
    return bytes(data)
