"""The plan's picture files as pixels, decoded ahead of whoever asks for them."""

import collections
import hashlib
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from unires_jax import files
from unires_jax.engine.record import Picture
from unires_jax.engine.roles import Image
from unires_jax.errors import DataError
from unires_jax.pixels.images import decode_image

SIDE = 64  # pixels; pictures with a shorter side are planned and not worked on [I1]
THREADS, AHEAD = 2, 4  # pictures that are decoded, and held, at once; ours


def is_usable(picture: Picture) -> bool:
    """Whether a stage works on it: planned without a fault, not small, no error yet."""
    return not picture.errors and min(picture.height, picture.width) >= SIDE


def digest(data: bytes) -> str:
    """SHA-256 of a picture's file."""
    return hashlib.sha256(data).hexdigest()


def read(folder: Path, picture: Picture) -> Image:
    """The pixels as stored. Raises DataError for another file than was planned."""
    data = planned(folder, picture.file, picture.sha256)
    if data is None:
        raise DataError(
            "is another file than when it was planned; restore it and run `unires "
            "engine retry`, or plan into another --out",
            place=picture.file,
        )
    return decode_image(data)


def planned(folder: Path, file: str, sha256: str) -> bytes | None:
    """The content of a picture's file; None where it is another than was planned.

    The plan said which links may be followed, and its hash of what they led to holds.
    Raises DataError for one that is gone.
    """
    data = files.read_inside(folder, file, follow_links=True)
    return data if digest(data) == sha256 else None


def ahead(
    folder: Path, pictures: Iterable[Picture]
) -> Iterator[tuple[Picture, "Future[Image]"]]:
    """Each picture with its pixels, which are there or will be; in order.

    Those that are not usable have none: their future is cancelled.
    """
    waiting: collections.deque[tuple[Picture, Future[Image]]] = collections.deque()
    with ThreadPoolExecutor(THREADS) as pool:
        for picture in pictures:
            future: Future[Image] = Future()
            if is_usable(picture):
                future = pool.submit(read, folder, picture)
            else:
                future.cancel()
            waiting.append((picture, future))
            if len(waiting) > AHEAD:
                yield waiting.popleft()
        while waiting:
            yield waiting.popleft()
