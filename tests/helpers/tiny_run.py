"""The smallest real run: a model of one block a tower on a handful of pictures."""

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from tensorboardX.proto.event_pb2 import Event, SessionLog

from helpers import small_data
from helpers.tiny import tiny_config
from unires_jax.config import Config

STEPS = 8


def write_data(folder: Path) -> Path:
    """A prepared data set with splits train and val."""
    scenes = [small_data.scene(i, pairs=2) for i in range(20)]
    return small_data.write(folder, train=scenes[:16], val=scenes[16:])


def run_config(data: Path, **changes: Any) -> Config:
    """Eight images a batch, so that eight devices can share it."""
    values: dict[str, Any] = {
        "model__image_size": 16,
        "model__vision__depth": 1,
        "model__mlp_ratio": 1,
        "model__groups": "none",
        "model__figure_only": True,
        "data__train": (f"{data}:train",),
        "data__expressions": 2,
        "data__lengths": (16,),
        "optim__warmup": 2,
        "optim__scratch_rate": 1e-2,
        "optim__ema": 0.9,
        "train__steps": STEPS,
        "train__batch": 8,
        "train__log_every": 2,
        "train__eval_every": 4,
        "train__checkpoint_every": 3,
        "eval__splits": (f"{data}:val",),
        "eval__watch_images": 2,
        "eval__batch": 2,
    }
    return tiny_config(**values | changes)


def config_file(folder: Path, config: Config) -> Path:
    """A config file that returns just this config."""
    file = folder / f"{config.name}.py"
    file.write_text(
        f"from unires_jax.config import *\n\ndef get_config():\n    return {config!r}\n"
    )
    return file


def lines(workdir: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl."""
    text = (workdir / "metrics.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def events(workdir: Path) -> Iterator[Event]:
    """The TensorBoard events of all starts, in order, but for a torn end of a file."""
    for file in sorted(workdir.glob("events.out.tfevents.*")):
        content = file.read_bytes()
        while len(content) >= 8:  # length, its checksum, the event, its checksum
            (length,) = struct.unpack("<Q", content[:8])
            if len(content) < 16 + length:
                break
            yield Event.FromString(content[12 : 12 + length])
            content = content[16 + length :]


def points(workdir: Path) -> dict[tuple[str, int], Any]:
    """What TensorBoard shows: value or picture by curve and step."""
    shown: dict[tuple[str, int], Any] = {}
    for event in events(workdir):
        if event.session_log.status == SessionLog.START:  # hides what was later
            shown = {(k, s): v for (k, s), v in shown.items() if s < event.step}
        for value in event.summary.value:
            point = (value.tag, event.step)
            assert point not in shown, point
            shown[point] = value.simple_value or value.image.encoded_image_string
    return shown


# What the clock decides of what a run says of itself.
CLOCKS = {"train/images_per_second", "train/step_seconds", "train/data_wait"}


def untimed(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The lines without what the clock decides, its presence kept."""
    return [{k: k in CLOCKS or v for k, v in line.items()} for line in rows]


def assert_same(tree: Any, expected: Any) -> None:
    """Two trees are equal bit by bit."""
    leaves, others = jax.tree.leaves(tree), jax.tree.leaves(expected)
    assert len(leaves) == len(others) > 0
    for a, b in zip(map(np.asarray, leaves), map(np.asarray, others), strict=True):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        assert a.tobytes() == b.tobytes()
