"""What the page keeps of each visitor: pictures, looked at, and the last answers."""

import collections
import dataclasses
import secrets
import threading

from unires_jax.inference.segment import Segment
from unires_jax.serving.predictor import EncodedImage

# Visits kept of a session (ours): answers may overtake one another on the way to a
# page, and those that show then must still have their masks.
LAST = 3


@dataclasses.dataclass(frozen=True, eq=False)
class Visit:
    """A picture and what was asked about it last. Replaced, never changed."""

    digest: bytes  # of the picture's file
    image: EncodedImage
    answers: tuple[Segment, ...] = ()
    # Whoever has it may download.
    key: str = dataclasses.field(default_factory=lambda: secrets.token_urlsafe(18))

    @property
    def answers_nbytes(self) -> int:
        """What keeping the answers takes beside the picture, in bytes."""
        return sum(x.logits.nbytes for x in self.answers)


class Visits:
    """The last visits of each session; the least recently used ones make room.

    Of at most `count` sessions, and at most `nbytes` bytes, but always the newest.
    Threads may share it.
    """

    def __init__(self, count: int, nbytes: int):
        self._count, self._nbytes = count, nbytes
        self._kept: collections.OrderedDict[str, tuple[Visit, ...]]
        self._kept = collections.OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def nbytes(self) -> int:
        """What all visits take, in bytes."""
        with self._lock:
            return self._total()

    def of(self, session: str) -> Visit | None:
        """The newest visit of a session, now the most recently used one."""
        with self._lock:
            if session not in self._kept:
                return None
            self._kept.move_to_end(session)
            return self._kept[session][-1]

    def by_key(self, key: str) -> Visit | None:
        """The visit with this key, while it is one of the last of its session."""
        with self._lock:
            for session, visits in self._kept.items():
                for visit in visits:
                    if visit.key == key:
                        self._kept.move_to_end(session)
                        return visit
        return None

    def put(self, session: str, visit: Visit) -> None:
        """Keep a session's newest visit; its LAST newest stay."""
        with self._lock:
            older = self._kept.pop(session, ())
            self._kept[session] = (*older, visit)[-LAST:]
            while len(self._kept) > self._count or self._total() > self._nbytes:
                first, visits = next(iter(self._kept.items()))
                if len(visits) > 1:
                    self._kept[first] = visits[1:]
                elif len(self._kept) > 1:
                    del self._kept[first]
                else:
                    break

    def drop(self, session: str) -> None:
        """Forget a session."""
        with self._lock:
            self._kept.pop(session, None)

    def _total(self) -> int:
        visits = [visit for kept in self._kept.values() for visit in kept]
        images = {id(x.image): x.image.nbytes for x in visits}  # visits share them
        return sum(images.values()) + sum(x.answers_nbytes for x in visits)
