"""How fast a run could be: its work against the peak of its devices."""

import statistics
from collections.abc import Sequence
from typing import Any

from unires_jax.config import Config
from unires_jax.training.chips import H100, chip_of
from unires_jax.training.flops import train_step_flops

GOOD_MFU = 0.4  # share of the peak that a good step reaches; ours


def ideal_seconds(
    config: Config, devices: Sequence[Any], lengths: Sequence[int]
) -> float | None:
    """Seconds of an update at the peak of all its devices, sentences in turn so long.

    This over a step's duration is its model FLOP utilisation. None where the peak of a
    device is not known, as that of a CPU.
    """
    chips = [chip_of(device.device_kind) for device in devices]
    if not all(chips):
        return None
    peak = sum(chip.peak_flops for chip in chips if chip)
    return statistics.fmean(train_step_flops(config, n) for n in lengths) / peak


def asked_pictures(config: Config, devices: Sequence[Any]) -> float:
    """Pictures per second that these devices take at `GOOD_MFU`.

    An accelerator that `chips` does not list is taken for an H100, so that it rather
    gets too much. A CPU asks for none worth counting: reading is far cheaper than
    training, and on the same cores.
    """
    peaks = [
        (chip_of(device.device_kind) or H100).peak_flops
        for device in devices
        if device.platform != "cpu"
    ]
    each = train_step_flops(config) / config.train.batch
    return float(GOOD_MFU * sum(peaks) / each)
