"""Scalars and pictures of a run: metrics.jsonl and TensorBoard events."""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8
from tensorboardX import SummaryWriter
from tensorboardX.proto.summary_pb2 import Summary

FILE = "metrics.jsonl"


class MetricWriter:
    """Writes what the run says of itself. One process of a run holds one."""

    def __init__(self, workdir: str | Path, step: int) -> None:
        """Go on after `step`: what was written of later steps is dropped."""
        file = Path(workdir) / FILE
        truncate(file, step)
        self._lines = file.open("a", encoding="utf-8")
        # TensorBoard hides the events of a killed run from this step on.
        self._board = SummaryWriter(str(workdir), purge_step=step + 1 if step else None)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """One line of JSON, null where a value is not finite, and a point per curve."""
        finite = {k: v if math.isfinite(v) else None for k, v in values.items()}
        self._lines.write(json.dumps({"step": step} | finite) + "\n")
        self._lines.flush()  # on disk before the checkpoint of the same step
        for name, value in values.items():
            self._board.add_scalar(name, value, step)

    def pictures(
        self, step: int, pictures: Mapping[str, UInt8[np.ndarray, "h w 3"]]
    ) -> None:
        """RGB pictures to TensorBoard."""
        # tensorboardX' own add_image wants Pillow, which nothing else here needs.
        for name, picture in pictures.items():
            encoded = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1]
            image = Summary.Image(
                height=picture.shape[0],
                width=picture.shape[1],
                colorspace=3,
                encoded_image_string=encoded.tobytes(),
            )
            summary = Summary(value=[Summary.Value(tag=name, image=image)])
            self._board.file_writer.add_summary(summary, step)

    def close(self) -> None:
        """Flush and close both."""
        self._lines.close()
        self._board.close()


def truncate(file: Path, step: int) -> None:
    """Keep the whole lines of a metrics.jsonl up to `step`."""
    if not file.exists():
        return
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in lines if line.endswith("\n") and _step(line) <= step]
    temporary = file.with_suffix(".tmp")
    temporary.write_text("".join(kept), encoding="utf-8")
    os.replace(temporary, file)


def _step(line: str) -> int:
    return int(json.loads(line)["step"])
