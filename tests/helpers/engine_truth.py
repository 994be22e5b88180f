"""PartWorld as the engine's input and truth, and its stages run one after another."""

import dataclasses
import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from unires_jax.data.records import Expression, Record, runs_of
from unires_jax.engine import boxes, shard_files
from unires_jax.engine.backends import load
from unires_jax.engine.record import Picture, Region
from unires_jax.engine.roles import OutOfMemory
from unires_jax.engine.settings import (
    EngineConfig,
    ExpressionSettings,
    ModelSettings,
    Thresholds,
)
from unires_jax.engine.stages import STAGES, Context, Stage
from unires_jax.partworld import draw_record
from unires_jax.pixels.components import clean
from unires_jax.pixels.images import decode_image
from unires_jax.prepare.mres import write


@functools.cache
def records(count: int) -> tuple[Record, ...]:
    """Scenes whose masks are whole, each mask with one text that nothing else has."""
    chosen, index = [], 0
    while len(chosen) < count:
        record = draw_record(7, "train", index)
        index += 1
        if all(_is_whole(record, i) for i in range(len(record.masks))):
            chosen.append(dataclasses.replace(record, expressions=_named(record)))
    return tuple(chosen)


def _is_whole(record: Record, index: int) -> bool:
    pixels = runs_of(record, record.masks[index]).pixels()
    cleaned, largest = clean(pixels, 0.01)
    whole = record.masks[index].part or largest > 0.8
    return bool(whole and (cleaned == pixels).all())


def _named(record: Record) -> tuple[Expression, ...]:
    texts = [
        f"the {m.part} of {m.category} number {i}"
        if m.part
        else f"the {m.category} that has the number {i}"
        for i, m in enumerate(record.masks)
    ]
    named = [(i, text) for i, text in enumerate(texts)]
    named.append((last_object(record), counting(record)))
    return tuple(
        Expression(ref, ref, text, text, record.masks[i].level, (i,))
        for ref, (i, text) in enumerate(named)
    )


def last_object(record: Record) -> int:
    """The place of the last object among the masks."""
    return max(i for i, m in enumerate(record.masks) if not m.part)


def counting(record: Record) -> str:
    """A text of the last object that speaks of all of its category."""
    return f"the second {record.masks[last_object(record)].category} from the left"


def truth(folder: Path, items: Sequence[Record]) -> Path:
    """The records as a file of MRES JSONL, with the pictures beside it."""
    path = folder / "train.jsonl"
    write.write(path, items)
    return path


def planned(record: Record) -> Picture:
    """What `plan` makes of the boxes of a record's objects."""
    objects = [m for m in record.masks if not m.part]
    regions = (
        Region(f"o{i}", "object", m.category, boxes.of(runs_of(record, m)))
        for i, m in enumerate(objects)
    )
    return Picture(
        image_id=record.image_id,
        file=record.filename,
        sha256=hashlib.sha256(record.image).hexdigest(),
        height=record.height,
        width=record.width,
        regions=tuple(regions),
    )


def config(spec: str, **thresholds: float) -> EngineConfig:
    """Every role by one backend; PartWorld's pictures are small."""
    return EngineConfig(
        models=ModelSettings(*[spec] * 6, batch=3),
        thresholds=Thresholds(**thresholds),
        expressions=ExpressionSettings(object_side=8),
    )


def advance(
    pictures: Sequence[Picture],
    images: Sequence[bytes],
    settings: EngineConfig,
    stages: Sequence[str],
) -> list[Picture]:
    """Pictures through stages, as the runner does it."""
    steps = [stage for stage in STAGES if stage.name in stages]
    roles = {role for stage in steps for role in stage.roles}
    models = {
        role: load(spec, role)
        for role in roles
        if (spec := getattr(settings.models, role))
    }
    return [
        _advance(picture, decode_image(data), Context(settings, models), steps)
        for picture, data in zip(pictures, images, strict=True)
    ]


def _advance(
    picture: Picture, image: np.ndarray, context: Context, steps: Sequence[Stage]
) -> Picture:
    for stage in steps:
        try:
            picture = stage.advance()(picture, image, context)
        except (OutOfMemory, RuntimeError) as error:
            errors = (*picture.errors, f"{stage.name}: {error}")
            picture = dataclasses.replace(picture, errors=errors)
    return picture


def write_shards(
    out: Path, stage: str, pictures: Sequence[Picture], count: int = 1
) -> None:
    """Pictures as the shards of a stage."""
    for i in range(count):
        path = out / stage / shard_files.name(i, count)
        shard_files.write(path, pictures[i::count])
