"""Presets of thresholds, and which ones a run has."""

import dataclasses

from unires_jax.engine.record import Region
from unires_jax.engine.settings import EngineConfig, Thresholds
from unires_jax.errors import ConfigError

NONE = "none"  # judges nothing but whether a thing can be used at all
# Each keeps what the next one keeps. Lenient is ours; default and strict have SA-1B's
# and GranD's figures where they give some, the rest is ours.
PRESETS = {
    NONE: Thresholds(
        side=0.0,
        box_area=0.0,
        twin=1.0,
        pred_iou=-1.0,
        stability=-1.0,
        mask_area=1.0,
        mask_pixels=0,
        box_iou=-1.0,
        in_box=-1.0,
        largest=-1.0,
        detector=-2.0,
        contain=-1.0,
        part_area_min=-1.0,
        part_area_max=1.0,
        same_name=1.0,
        same_place=1.0,
        parts=1_000_000,
        clip=-1.0,
        clip_margin=-2.0,
        clip_share=0.0,
        own_iou=-1.0,
        ahead=-1.0,
        absent=2.0,
        extra=2.0,
    ),
    "lenient": Thresholds(
        pred_iou=0.70,
        stability=0.80,
        mask_area=0.98,
        box_iou=0.50,
        in_box=0.80,
        largest=0.50,
        detector=0.10,
        contain=0.70,
        part_area_min=0.001,
        part_area_max=0.90,
        same_name=0.70,
        same_place=0.90,
        parts=20,
        clip=0.15,
        clip_margin=-0.05,
        clip_share=0.05,
        own_iou=0.40,
        ahead=0.10,
        absent=0.20,
        extra=0.50,
    ),
    "default": Thresholds(),
    "strict": Thresholds(
        side=16.0,
        box_area=0.001,
        twin=0.90,
        pred_iou=0.88,
        stability=0.95,
        mask_area=0.90,
        mask_pixels=100,
        box_iou=0.70,
        in_box=0.95,
        largest=0.85,
        detector=0.35,
        contain=0.90,
        part_area_min=0.005,
        part_area_max=0.80,
        same_name=0.40,
        same_place=0.75,
        parts=10,
        clip=0.22,
        clip_margin=0.0,
        clip_share=0.20,
        own_iou=0.65,
        ahead=0.30,
        absent=0.05,
        extra=0.20,
    ),
}
USUAL = -1.0  # of a detector's threshold: that of its part finder
# By part finder; others have .25 (GroundingDINO's own).
_DETECTORS = {"owlv2": 0.15, "sam3": 0.30}
_DETECTOR = 0.25


def resolve(config: EngineConfig) -> Thresholds:
    """The thresholds of a run: its preset's, but for those that were set.

    Set is what differs from `Thresholds()`. Raises ConfigError for another preset.
    """
    if config.preset not in PRESETS:
        raise ConfigError(
            f"preset {config.preset!r}: expected one of {', '.join(PRESETS)}"
        )
    usual = dataclasses.asdict(Thresholds())
    values = dataclasses.asdict(config.thresholds)
    return dataclasses.replace(
        PRESETS[config.preset], **{k: v for k, v in values.items() if v != usual[k]}
    )


def detector(thresholds: Thresholds, region: Region) -> float:
    """What a part's score must reach: -1 stands for its finder's usual threshold."""
    if thresholds.detector != USUAL:
        return thresholds.detector
    return _DETECTORS.get(region.src.get("box", "").split("@")[0], _DETECTOR)
