"""A request to stop, noted so that the loop can save and end."""

import signal
from types import FrameType

from unires_jax import hosts


class StopSignal:
    """Notes SIGTERM while it is entered.

    With several processes jax itself listens and agrees on a step
    (`Checkpoints.preempted`).
    """

    def __init__(self) -> None:
        self.received = False

    def __enter__(self) -> "StopSignal":
        if hosts.is_alone():
            self._before = signal.signal(signal.SIGTERM, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        if hosts.is_alone():
            signal.signal(signal.SIGTERM, self._before)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = True
