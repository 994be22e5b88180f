"""Encoded pictures that clients ask about again, kept for a while."""

import collections
import dataclasses
import secrets
import threading
import time
from collections.abc import Callable

import jax

from unires_jax.inference import regroup
from unires_jax.inference.answer import EncodedPicture
from unires_jax.serving.predictor import EncodedImage


@dataclasses.dataclass(frozen=True, eq=False)
class Picture:
    """A picture the model has looked at, without its pixels."""

    encoded: EncodedPicture  # alone in its batch, on the device
    warnings: tuple[str, ...]  # what a user should know of it

    @classmethod
    def of(cls, image: EncodedImage) -> "Picture":
        """What is needed of an image to answer about it."""
        notes = image.note, image.unlike
        return cls(regroup.alone(image.encoded), tuple(filter(None, notes)))

    @property
    def size(self) -> tuple[int, int]:
        """Height and width as used, pixels."""
        placement = self.encoded.placement
        return placement.crop_height, placement.crop_width

    @property
    def nbytes(self) -> int:
        """What keeping it takes, on the device."""
        return sum(int(x.nbytes) for x in jax.tree.leaves(self.encoded.features))


class Pictures:
    """Pictures by key; the least recently used ones make room.

    At most `nbytes` bytes, but always the newest; each for `seconds` after its last
    use. Threads may share it.
    """

    def __init__(
        self,
        nbytes: int,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._nbytes, self._seconds, self._clock = nbytes, seconds, clock
        # Used last, last; with the time of that.
        self._kept: collections.OrderedDict[str, tuple[Picture, float]]
        self._kept = collections.OrderedDict()
        self._total = 0  # bytes
        self._lock = threading.Lock()

    def put(self, picture: Picture) -> str:
        """Keep a picture; its key, which none can guess."""
        key = secrets.token_urlsafe(18)
        with self._lock:
            self._kept[key] = picture, self._clock()
            self._total += picture.nbytes
            self._forget()
        return key

    def get(self, key: str) -> Picture | None:
        """The picture of a key, used now; None where it is not kept (any more)."""
        with self._lock:
            self._forget()
            kept = self._kept.pop(key, None)
            if kept is None:
                return None
            self._kept[key] = kept[0], self._clock()
            return kept[0]

    def holds(self) -> tuple[int, int]:
        """How many are kept, and their bytes."""
        with self._lock:
            self._forget()
            return len(self._kept), self._total

    def _forget(self) -> None:
        oldest = self._clock() - self._seconds
        while self._kept:
            key, (picture, used) = next(iter(self._kept.items()))
            crowded = len(self._kept) > 1 and self._total > self._nbytes
            if used >= oldest and not crowded:
                return
            del self._kept[key]
            self._total -= picture.nbytes
