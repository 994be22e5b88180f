"""PartWorld: procedurally drawn scenes with objects, parts and checked expressions."""

from unires_jax.partworld.world import (
    SPLITS,
    Scene,
    draw_record,
    draw_records,
    draw_scene,
)

__all__ = ["SPLITS", "Scene", "draw_record", "draw_records", "draw_scene"]
