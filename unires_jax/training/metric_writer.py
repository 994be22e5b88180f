"""Scalars and pictures of a run: metrics.jsonl and TensorBoard events."""

import json
import math
import os
from collections.abc import Mapping

import numpy as np
from jaxtyping import UInt8
from tensorboardX import SummaryWriter

from unires_jax.files import LineWriter, Location, locate, write_whole
from unires_jax.training import bucket_events

FILE = "metrics.jsonl"


class MetricWriter:
    """Writes what the run says of itself. One process of a run holds one."""

    def __init__(self, workdir: str | os.PathLike[str], step: int) -> None:
        """Go on after `step`: what was written of later steps is dropped."""
        file = locate(workdir) / FILE
        truncate(file, step)
        self._lines = LineWriter(file)
        bucket_events.register()
        # TensorBoard hides the events of a killed run from this step on.
        self._board = SummaryWriter(str(workdir), purge_step=step + 1 if step else None)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """One line of JSON, null where a value is not finite, and a point per curve."""
        finite = {k: v if math.isfinite(v) else None for k, v in values.items()}
        # In place before the checkpoint of the same step.
        self._lines.write(json.dumps({"step": step} | finite))
        for name, value in values.items():
            self._board.add_scalar(name, value, step)

    def pictures(
        self, step: int, pictures: Mapping[str, UInt8[np.ndarray, "h w 3"]]
    ) -> None:
        """RGB pictures to TensorBoard."""
        for name, picture in pictures.items():
            self._board.add_image(name, picture, step, dataformats="HWC")

    def close(self) -> None:
        """Flush and close the events; the lines are written."""
        self._board.close()


def truncate(file: Location, step: int) -> None:
    """Keep the whole lines of a metrics.jsonl up to `step`: none where it is absent."""
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    whole = (line for line in text.splitlines(keepends=True) if line.endswith("\n"))
    write_whole(file, "".join(x for x in whole if json.loads(x)["step"] <= step))
