"""What the page keeps of each visitor: one picture, looked at, and its last answers."""

import collections
import dataclasses
import secrets
import threading

from unires_jax.inference.segment import Segment
from unires_jax.serving.predictor import EncodedImage


@dataclasses.dataclass(frozen=True, eq=False)
class Visit:
    """A picture and what was asked about it last. Replaced, never changed."""

    digest: bytes  # of the picture's file
    image: EncodedImage
    answers: tuple[Segment, ...] = ()
    # Whoever has it may download.
    key: str = dataclasses.field(default_factory=lambda: secrets.token_urlsafe(18))

    @property
    def nbytes(self) -> int:
        """What keeping it takes, in bytes."""
        return self.image.nbytes + sum(x.logits.nbytes for x in self.answers)


class Visits:
    """The last visit of each session; the least recently used ones make room.

    At most `count` visits and `nbytes` bytes, but always the newest. Threads may share
    it.
    """

    def __init__(self, count: int, nbytes: int):
        self._count, self._nbytes = count, nbytes
        self._visits: collections.OrderedDict[str, Visit] = collections.OrderedDict()
        self._sessions: dict[str, str] = {}  # by key
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._visits)

    @property
    def nbytes(self) -> int:
        """What all visits take, in bytes."""
        with self._lock:
            return self._total()

    def of(self, session: str) -> Visit | None:
        """The visit of a session, now the most recently used one."""
        with self._lock:
            if session in self._visits:
                self._visits.move_to_end(session)
            return self._visits.get(session)

    def by_key(self, key: str) -> Visit | None:
        """The visit with this key, while it is the last one of its session."""
        with self._lock:
            session = self._sessions.get(key)
        return None if session is None else self.of(session)

    def put(self, session: str, visit: Visit) -> None:
        """Replace what is kept of a session."""
        with self._lock:
            self._remove(session)
            self._visits[session] = visit
            self._sessions[visit.key] = session
            while len(self._visits) > 1 and (
                len(self._visits) > self._count or self._total() > self._nbytes
            ):
                self._remove(next(iter(self._visits)))

    def drop(self, session: str) -> None:
        """Forget a session."""
        with self._lock:
            self._remove(session)

    def _remove(self, session: str) -> None:
        visit = self._visits.pop(session, None)
        if visit:
            del self._sessions[visit.key]

    def _total(self) -> int:
        return sum(visit.nbytes for visit in self._visits.values())
