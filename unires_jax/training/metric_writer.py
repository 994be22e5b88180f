"""Scalars and pictures of a run: metrics.jsonl and TensorBoard events."""

import json
import math
import os
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import UInt8
from tensorboardX import summary
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog

from unires_jax.files import LineWriter, Location, locate, write_whole
from unires_jax.training import bucket_events

FILE = "metrics.jsonl"
FLUSH_AFTER = 60.0  # seconds until who watches TensorBoard sees a point; ours


class MetricWriter:
    """Writes what the run says of itself. One process of a run holds one."""

    def __init__(self, workdir: str | os.PathLike[str], step: int) -> None:
        """Go on after `step`: what was written of later steps is dropped."""
        file = locate(workdir) / FILE
        truncate(file, step)
        self._lines = LineWriter(file)
        bucket_events.register()
        # Not tensorboardX's SummaryWriter, which flushes when it likes.
        self._board = EventsWriter(f"{workdir}/events", f".{step}")
        # TensorBoard hides the events of a killed run from this step on.
        self._add(step + 1, session_log=SessionLog(status=SessionLog.START))
        self.flush()

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """One line of JSON, null where a value is not finite, and a point per curve."""
        finite = {k: v if math.isfinite(v) else None for k, v in values.items()}
        self._lines.write(json.dumps({"step": step} | finite))
        for name, value in values.items():
            self._add(step, summary=summary.scalar(name, value))
        if time.monotonic() - self._flushed > FLUSH_AFTER:
            self.flush()

    def pictures(
        self, step: int, pictures: Mapping[str, UInt8[np.ndarray, "h w 3"]]
    ) -> None:
        """RGB pictures to TensorBoard."""
        for name, picture in pictures.items():
            image = summary.image(name, picture, dataformats="HWC")
            self._add(step, summary=image)

    def _add(self, step: int, **content: Any) -> None:
        event = Event(wall_time=time.time(), step=step, **content)
        self._board.write_event(event)

    def flush(self) -> None:
        """Write the events that wait; the lines are written.

        Due before a checkpoint: a run that is killed after it writes nothing again.
        """
        self._board.flush()
        self._flushed = time.monotonic()

    def close(self) -> None:
        """Flush and close the events; the lines are written."""
        self._board.close()


def truncate(file: Location, step: int) -> None:
    """Keep the whole lines of a metrics.jsonl up to `step`: none where it is absent."""
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    whole = (line for line in text.splitlines(keepends=True) if line.endswith("\n"))
    write_whole(file, "".join(x for x in whole if json.loads(x)["step"] <= step))
