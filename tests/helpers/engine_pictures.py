"""Pictures of the engine with truth masks: PartWorld's scenes, COCO's photographs."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np

from unires_jax.engine.record import Picture, Region
from unires_jax.engine.settings import EngineConfig
from unires_jax.engine.stages import Context
from unires_jax.partworld.kinds import KINDS
from unires_jax.partworld.render import View
from unires_jax.pixels.masks import RunMask


class KindVocabulary:
    """PartWorld's own part names."""

    name, fingerprint, licence = "kinds", "0" * 12, ""

    def parts(self, category: str) -> list[str]:
        return list(KINDS[category].parts) if category in KINDS else []


def context(vocabulary: Any = None, **expressions: Any) -> Context:
    """What the expression stage is given."""
    config = EngineConfig()
    config.expressions = dataclasses.replace(config.expressions, **expressions)
    return Context(config, {"vocabulary": vocabulary} if vocabulary else {})


def region(name: str, mask: RunMask, **fields: Any) -> Region:
    """A region whose prompt is its mask's box."""
    x, y, w, h = mask.bbox
    facts = {"box": (x, y, x + w, y + h), "rle": mask.counts, "area": mask.area}
    return Region(**{"id": name, "level": "object"} | facts | fields)


def of_view(view: View, image_id: int) -> Picture:
    """A scene of PartWorld: "o1" is object 1, "o1/head" its head."""
    regions = []
    for i, thing in enumerate(view.objects):
        mask = RunMask.from_pixels(thing.whole.mask)
        regions.append(region(f"o{i}", mask, category=thing.kind))
        for part, visible in sorted(thing.parts.items()):
            mask = RunMask.from_pixels(visible.mask)
            fields = {"level": "part", "parent": f"o{i}", "part": part}
            name = f"o{i}/{part}"
            regions.append(region(name, mask, category=thing.kind, **fields))
    return Picture(image_id, "", "", *view.size, regions=tuple(regions))


def of_coco(folder: Path) -> list[tuple[Picture, Path]]:
    """The pictures of a COCO JSON and their files."""
    value = json.loads((folder / "instances.json").read_text())
    names = {c["id"]: c["name"] for c in value["categories"]}
    pictures = []
    for image in value["images"]:
        size = image["height"], image["width"]
        mine = [a for a in value["annotations"] if a["image_id"] == image["id"]]
        regions = [
            region(
                f"o{i}",
                _mask(a["segmentation"], *size),
                category=names[a["category_id"]],
                crowd=bool(a["iscrowd"]),
            )
            for i, a in enumerate(mine)
        ]
        picture = Picture(image["id"], image["file_name"], "", *size, tuple(regions))
        pictures.append((picture, folder / "images" / image["file_name"]))
    return pictures


def _mask(shape: Any, height: int, width: int) -> RunMask:
    if isinstance(shape, dict):
        return RunMask.of(shape)
    polygons = RunMask.from_polygons(shape, height, width)
    return RunMask.union(polygons, height, width)


def of_mres(path: Path) -> list[tuple[Picture, Path]]:
    """The pictures of a file of MRES JSONL and their files, without its sentences."""
    pictures = []
    for line in path.read_text().splitlines():
        value = json.loads(line)
        size = value["height"], value["width"]
        regions = [
            region(
                m["id"],
                RunMask.of(m["rle"]),
                level=m["level"],
                category=m["category"],
                part=m.get("part", ""),
                parent=m.get("parent", ""),
            )
            for m in value["masks"]
        ]
        picture = Picture(value["image_id"], value["image"], "", *size, tuple(regions))
        pictures.append((picture, path.parent / value["image"]))
    return pictures


def blank(picture: Picture) -> np.ndarray:
    """Grey pixels of a picture's size: no colour word fits."""
    return np.full((picture.height, picture.width, 3), 128, np.uint8)
