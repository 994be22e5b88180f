"""What devices could do, and what they ask of the readers."""

import dataclasses
import runpy

import jax
import pytest
from helpers.paths import ROOT

from unires_jax.config import Config
from unires_jax.training.flops import train_step_flops
from unires_jax.training.speed import asked_pictures, ideal_seconds


@dataclasses.dataclass
class Device:
    device_kind: str
    platform: str = "gpu"


H100, OTHER = Device("NVIDIA H100 80GB HBM3"), Device("NVIDIA Something New")
V5E = Device("TPU v5 lite", "tpu")


def b16() -> Config:
    config: Config = runpy.run_path(str(ROOT / "configs" / "unires.py"))["get_config"]()
    config.data.expressions = 4
    return config


def test_ideal_seconds_are_flops_over_all_peaks() -> None:
    config = b16()
    one, eight = (ideal_seconds(config, [V5E] * n, [16]) for n in (1, 8))
    assert one == train_step_flops(config) / 197e12
    assert eight == pytest.approx(one / 8)
    longer = ideal_seconds(config, [V5E], [77])
    assert longer > one
    mixed = ideal_seconds(config, [V5E], [16, 16, 77])
    assert mixed == pytest.approx((2 * one + longer) / 3)
    assert ideal_seconds(config, [H100, OTHER], [16]) is None
    assert ideal_seconds(config, jax.devices(), [16]) is None


def test_devices_ask_for_pictures() -> None:
    """B/16 at 480 px costs about 650 GFLOP a picture; an H100 does 396 T a second."""
    config = b16()
    assert asked_pictures(config, [H100]) == pytest.approx(610, rel=0.05)
    assert asked_pictures(config, [H100] * 8) == pytest.approx(4880, rel=0.05)
    assert asked_pictures(config, [OTHER]) == asked_pictures(config, [H100])
    assert asked_pictures(config, jax.devices()) == 0
    config.train.batch *= 2  # the batch changes nothing
    assert asked_pictures(config, [V5E]) == pytest.approx(122, rel=0.05)
