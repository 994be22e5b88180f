"""What annotation tools export of the scene of `part_forms`."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from helpers import part_forms
from helpers.part_forms import HEIGHT, OBJECTS, PARTS, WIDTH, Box

CAPTION = "the red car in the middle"


def write_coco(folder: Path) -> Path:
    """COCO JSON without parts; one annotation has a caption, one an attribute."""
    content = part_forms.coco_json()
    content["categories"] = content["categories"][:2]
    content["annotations"] = [
        a for a in content["annotations"] if a["category_id"] <= 2
    ]
    for annotation in content["annotations"]:
        if annotation["category_id"] == 1:
            annotation["caption"] = CAPTION
        else:
            annotation["attributes"] = {"occluded": False, "caption": "a dog,\n asleep"}
    return part_forms.write_json(folder, content)


def _points(box: Box) -> list[list[float]]:
    values = part_forms.polygon(box)
    return [values[i : i + 2] for i in range(0, len(values), 2)]


def write_labelme(folder: Path, embedded: bool = False) -> Path:
    """A folder of LabelMe's JSON; shapes of every kind, groups of pieces."""
    root = folder / "labels"
    root.mkdir(parents=True)
    for number in (1, 2):
        picture = part_forms.write_picture(folder / "photos" / f"{number}.jpg", number)
        shapes = [_shape(name, box, i) for i, (name, box) in enumerate(OBJECTS)]
        shapes += [
            _shape(f"{OBJECTS[of][0]}:{part}", box, of) for part, box, of in PARTS
        ]
        shapes[0]["description"] = CAPTION
        x, y, w, h = OBJECTS[1][1]
        shapes[1] |= {"shape_type": "rectangle", "points": [[x, y], [x + w, y + h]]}
        x, y, w, h = OBJECTS[2][1]
        patch = np.ones((h, w), bool)
        shapes[2] |= {
            "shape_type": "mask",
            "points": [[x, y], [x + w - 1, y + h - 1]],
            "mask": part_forms.png_base64(patch),
        }
        shapes.append({"label": "x", "shape_type": "point", "points": [[1, 1]]})
        content: dict[str, Any] = {
            "version": "5.5.0",
            "flags": {},
            "shapes": shapes,
            "imagePath": f"..\\photos\\{number}.jpg",
            "imageData": None,
            "imageHeight": HEIGHT,
            "imageWidth": WIDTH,
        }
        if embedded:
            content["imageData"] = part_forms.base64_of(picture)
        (root / f"{number}.json").write_text(json.dumps(content))
    return root


def write_lisa(folder: Path) -> Path:
    """A picture whose two dogs one sentence means, and what it does not."""
    part_forms.write_picture(folder / "1.jpg", 1)
    shapes = [
        {"label": label, "shape_type": "polygon", "points": _points(box)}
        for label, (_, box) in zip(("ignore", "target", "target"), OBJECTS, strict=True)
    ]
    content = {"text": [CAPTION], "is_sentence": True, "shapes": shapes}
    (folder / "1.json").write_text(json.dumps(content))
    return folder


def _shape(label: str, box: Box, group: int) -> dict[str, Any]:
    return {
        "label": label,
        "points": _points(box),
        "group_id": group,
        "shape_type": "polygon",
        "flags": {},
        "description": "",
    }


def pack(mask: np.ndarray) -> list[int]:
    """Label Studio's RLE of a mask: opacity in the fourth of four channels."""
    values = np.zeros((mask.size, 4), np.uint8)
    values[:, 3] = mask.ravel() * 255
    flat = values.ravel()
    bits = [f"{len(flat):032b}", f"{7:05b}", *(f"{n - 1:04b}" for n in (3, 4, 8, 16))]
    at = 0
    while at < len(flat):
        same = flat[at:] != flat[at]
        run = int(same.argmax()) if same.any() else len(flat) - at
        if run > 8:
            run = min(run, 1 << 16)
            bits += ["1", "11", f"{run - 1:016b}", f"{flat[at]:08b}"]
        else:
            run = min(200, len(flat) - at)
            bits += ["0", "10", f"{run - 1:08b}"]
            bits += [f"{v:08b}" for v in flat[at : at + run]]
        at += run
    text = "".join(bits)
    text += "0" * (-len(text) % 8)
    return [int(text[i : i + 8], 2) for i in range(0, len(text), 8)]


def write_label_studio(folder: Path) -> Path:
    """An export as JSON: brush, polygon, rectangle, words and choices of a region."""
    tasks = []
    for number in (1, 2):
        part_forms.write_picture(folder / "photos" / f"{number}.jpg", number)
        results = [
            _region(f"r{i}", name, box, i) for i, (name, box) in enumerate(OBJECTS)
        ]
        results += [
            _region(f"p{i}", part, box, 1) | {"parentID": f"r{of}"}
            for i, (part, box, of) in enumerate(PARTS)
        ]
        size = {"original_width": WIDTH, "original_height": HEIGHT}
        results.append(
            {"id": "r0", "type": "textarea", "value": {"text": [CAPTION]}, **size}
        )
        results.append(
            {"id": "r1", "type": "choices", "value": {"choices": ["a dog asleep"]}}
        )
        results.append({"id": "all", "type": "choices", "value": {"choices": ["day"]}})
        done = {"id": 5, "was_cancelled": False, "result": results}
        cancelled = {"id": 4, "was_cancelled": True, "result": [{"id": "z"}]}
        tasks.append(
            {
                "id": 10 + number,
                "data": {"image": f"/data/upload/3/0a1b2c3d-{number}.jpg"},
                "annotations": [cancelled, done],
                "predictions": [],
            }
        )
    path = folder / "export.json"
    path.write_text(json.dumps(tasks))
    return path


WRITERS = {
    "coco": write_coco,
    "labelme": write_labelme,
    "label_studio": write_label_studio,
    "lisa": write_lisa,
}


def _region(name: str, label: str, box: Box, kind: int) -> dict[str, Any]:
    """A region as a brush (0), a polygon (1) or a rectangle (2)."""
    x, y, w, h = box
    across, down = 100 / WIDTH, 100 / HEIGHT
    value: dict[str, Any]
    if kind == 0:
        value = {"format": "rle", "rle": pack(part_forms.pixels(box))}
    elif kind == 1:
        value = {"points": [[a * across, b * down] for a, b in _points(box)]}
    else:
        value = {"x": x * across, "y": y * down, "rotation": 0}
        value |= {"width": w * across, "height": h * down}
    kinds = ("brushlabels", "polygonlabels", "rectanglelabels")
    return {
        "id": name,
        "type": kinds[kind],
        "original_width": WIDTH,
        "original_height": HEIGHT,
        "image_rotation": 0,
        "value": value | {kinds[kind]: [label]},
    }
