"""Records of the engine for tests: PartWorld's truth, and what was dropped of it."""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unires_jax import partworld
from unires_jax.data.records import LEVELS, PART, Record
from unires_jax.engine import filters, shard_files
from unires_jax.engine.plan_file import Plan
from unires_jax.engine.record import Picture, Region, Text
from unires_jax.engine.settings import Thresholds

SCORES = {"pred_iou": 0.93, "stability": 0.97, "box_iou": 0.9, "in_box": 1.0}
FORMS = ("caption", "place", "colour", "relation", "ordinal")


def picture_of(record: Record) -> Picture:
    """What a perfect engine would make of a record; everything is kept."""
    names = _names(record)
    texts: dict[int, list[Text]] = {}
    for x in record.expressions:
        form = FORMS[len(x.sent.split()) % len(FORMS)]
        holder = x.targets[0] if x.targets else 0
        texts.setdefault(holder, []).append(
            Text(
                text=x.raw,
                form=form if x.targets else "negative",
                targets=tuple(names[i] for i in x.targets),
                of="" if x.targets else record.expressions[0].raw,
                src="florence2@0123456789ab" if form == "caption" else "geometry",
                raw=x.raw.upper() if form == "caption" else "",
                scores={"clip": 0.3, "clip_rank": 0, "own_iou": 0.8},
            )
        )
    regions = []
    for i, mask in enumerate(record.masks):
        x, y, width, height = mask.bbox
        part = mask.level == PART
        regions.append(
            Region(
                id=names[i],
                level=LEVELS[mask.level],
                category=mask.category,
                category_raw=mask.category.title(),
                box=(x, y, x + width, y + height),
                parent=names[mask.parent] if mask.parent >= 0 else "",
                part=mask.part,
                rle=mask.rle,
                area=int(mask.area),
                texts=tuple(texts.get(i, ())),
                scores=SCORES | ({"detector": 0.6, "contain": 0.99} if part else {}),
                src={"box": "given", "mask": "sam2@ba9876543210"},
            )
        )
    return Picture(
        image_id=record.image_id,
        file=record.filename,
        sha256=hashlib.sha256(record.image).hexdigest(),
        height=record.height,
        width=record.width,
        regions=tuple(regions),
        coco_id=record.image_id + 1000,
    )


def _names(record: Record) -> list[str]:
    """Ids as the engine gives them: "o0", and of its parts "o0/p1"."""
    return [
        f"o{i if m.parent < 0 else m.parent}" + (f"/p{i}" if m.parent >= 0 else "")
        for i, m in enumerate(record.masks)
    ]


def bare(region: Region) -> Region:
    """A region as a plan has it: a box."""
    return dataclasses.replace(region, rle="", area=0, texts=(), scores={})


def drop(picture: Picture, region_id: str, *codes: str) -> Picture:
    """The picture with a region dropped, its parts and all texts about them too."""
    gone = {r.id for r in picture.regions if region_id in (r.id, r.parent)}
    regions = []
    for region in picture.regions:
        texts = tuple(
            dataclasses.replace(x, keep=False, codes=codes)
            if gone & set(x.targets)
            else x
            for x in region.texts
        )
        if region.id in gone:
            region = dataclasses.replace(region, keep=False, codes=codes)
        regions.append(dataclasses.replace(region, texts=texts))
    return dataclasses.replace(picture, regions=tuple(regions))


def drop_text(picture: Picture, text: Text, *codes: str) -> Picture:
    """The picture with a text dropped."""
    worse = dataclasses.replace(text, keep=False, codes=codes)
    regions = tuple(
        dataclasses.replace(r, texts=tuple(worse if x == text else x for x in r.texts))
        for r in picture.regions
    )
    return dataclasses.replace(picture, regions=regions)


def write_engine(
    folder: Path, pictures: Sequence[Picture], shards: int = 3, **plan: Any
) -> Path:
    """An engine's folder whose filter has gone over these pictures, in shards."""
    out = folder / "engine"
    for k in range(shards):
        path = out / "filter" / shard_files.name(k, shards)
        shard_files.write(path, pictures[k::shards])
    summary = filters.Summary("scores", "default", Thresholds(), {}, {}, {})
    (out / "filter" / filters.COUNTS).write_text(json.dumps(summary.to_json()))
    (out / "plan").mkdir(exist_ok=True)
    facts = {"form": "boxes", "sources": {}, "exhaustive": False, "shard": 1, **plan}
    count = len(pictures)
    Plan(pictures=str(folder / "photos"), count=count, **facts).write(out)
    return out


@functools.cache
def drawn(count: int) -> tuple[Record, ...]:
    """Records of PartWorld, drawn once."""
    return tuple(partworld.draw_records(3, "train", count))


def partworld_engine(folder: Path, count: int, **plan: Any) -> list[Picture]:
    """Pictures of PartWorld in `photos`, and their records, all kept."""
    records = drawn(count)
    photos = folder / "photos"
    photos.mkdir(parents=True)
    for record in records:
        (photos / record.filename).write_bytes(record.image)
    pictures = [picture_of(record) for record in records]
    write_engine(folder, pictures, **plan)
    return pictures
