"""What annotation tools export of the scene of `part_forms`."""

import base64
import json
import tempfile
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


def write_roboflow(folder: Path) -> Path:
    """Roboflow's COCO: a file a split beside its pictures, a heading above classes."""
    content = part_forms.coco_json()
    things = [c for c in content["categories"] if c["id"] <= 2]
    heading = {"id": 0, "name": "dog", "supercategory": "none"}
    below = [c | {"supercategory": "dog"} for c in things]
    annotations = [a for a in content["annotations"] if a["category_id"] <= 2]
    for number, annotation in enumerate(annotations):
        annotation["id"] = number
        annotation["area"] = annotation["bbox"][2] * annotation["bbox"][3]
        box: Box = annotation["bbox"]
        annotation["segmentation"] = [part_forms.polygon(box)]
    root = folder / "street.v1i.coco-segmentation" / "train"
    for number, image in enumerate(content["images"]):
        name = f"{image['id']}_jpg.rf.0a1b2c3d.jpg"
        part_forms.write_picture(root / name, image["id"])
        for annotation in annotations:
            if annotation["image_id"] == image["id"]:
                annotation["image_id"] = number
        extra = {"name": f"{image['id']}.jpg"}
        image |= {"id": number, "license": 1, "file_name": name, "extra": extra}
    content |= {"info": {"version": "1"}, "licenses": [{"id": 1, "name": "CC BY 4.0"}]}
    content |= {"categories": [heading, *below], "annotations": annotations}
    path = root / "_annotations.coco.json"
    path.write_text(json.dumps(content))
    return path


def write_cvat(folder: Path) -> Path:
    """CVAT's COCO 1.0: runs that are lists, all masks crowds, words in attributes."""
    content = json.loads(write_coco(folder / "other").read_text())
    for annotation in content["annotations"]:
        pixels = part_forms.pixels(annotation["bbox"])
        flat = pixels.ravel("F")
        edges = np.flatnonzero(np.diff(flat, prepend=False, append=False))
        counts = np.diff(edges, prepend=0, append=flat.size).tolist()
        annotation |= {
            "segmentation": {"counts": counts, "size": [HEIGHT, WIDTH]},
            "area": float(pixels.sum()),
            "iscrowd": 1,
            "attributes": {
                "occluded": False,
                **annotation.get("attributes", {}),
                **{k: annotation.pop(k) for k in ("caption",) if k in annotation},
            },
        }
    for image in content["images"]:
        part_forms.write_picture(
            folder / "cvat" / "images" / "default" / image["file_name"], image["id"]
        )
        image |= {"license": 0, "flickr_url": "", "coco_url": "", "date_captured": 0}
    for category in content["categories"]:
        category["supercategory"] = ""
    content |= {"licenses": [{"name": "", "id": 0, "url": ""}], "info": {"year": ""}}
    path = folder / "cvat" / "annotations" / "instances_default.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(content))
    return path


def write_label_studio_coco(folder: Path) -> Path:
    """Label Studio's COCO: ids from 0, Windows' names, a picture that did not open."""
    content = json.loads(write_coco(folder / "other").read_text())
    for annotation in content["annotations"]:
        annotation["id"] -= 1
        annotation["image_id"] -= 1
        annotation["category_id"] -= 1
        annotation["segmentation"] = [part_forms.polygon(annotation["bbox"])]
        annotation["ignore"] = 0
    for category in content["categories"]:
        category["id"] -= 1
    root = folder / "project"
    for image in content["images"]:
        name = f"0a1b2c3d-{image['id']}.jpg"
        part_forms.write_picture(root / "images" / name, image["id"])
        image |= {"id": image["id"] - 1, "file_name": f"images\\{name}"}
    lost = {"width": None, "height": None, "id": 2, "file_name": "/data/x.jpg"}
    content["images"].append(lost)
    content["info"] = {"contributor": "Label Studio"}
    path = root / "result.json"
    path.write_text(json.dumps(content))
    return path


def _mask_png(box: Box) -> bytes:
    return base64.b64decode(part_forms.png_base64(part_forms.pixels(box)))


def write_masks(folder: Path) -> Path:
    """Folders of pictures and masks; captions in files, a table, and masks' names."""
    root = folder / "set"
    for number in (1, 2):
        part_forms.write_picture(root / "images" / f"{number}.jpg", number)
        (car, left, right) = (box for _, box in OBJECTS)
        for name, box in (("0", car), ("mask_1", left), ("the_right_dog", right)):
            path = root / "masks" / f"{number}_{name}.png"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(_mask_png(box))
        words = root / "captions" / f"{number}_0.txt"
        words.parent.mkdir(exist_ok=True)
        words.write_text(f"{CAPTION}\n")
    names = {f"masks/{i}_mask_1.png": ["the left dog"] for i in (1, 2)}
    (root / "captions.json").write_text(json.dumps(names))
    return root


def write_mask_table(folder: Path) -> Path:
    """A metadata.jsonl whose rows name picture, mask, sentence and class."""
    root = folder / "table"
    (root / "m").mkdir(parents=True)
    rows = []
    for number in (1, 2):
        part_forms.write_picture(root / f"{number}.jpg", number)
        said = (CAPTION, "the left dog", "the right dog")
        for i, ((category, box), text) in enumerate(zip(OBJECTS, said, strict=True)):
            row: dict[str, Any] = {"file_name": f"{number}.jpg", "text": text}
            name = f"m/{number}-{i}.png"
            (root / name).write_bytes(_mask_png(box))
            cell = (name, part_forms.rle(box), [part_forms.polygon(box)])[i]
            rows.append(row | {"mask": cell, "category": category})
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (root / "metadata.jsonl").write_text(lines)
    return root


def parquet_rows() -> list[dict[str, Any]]:
    """A row for each sentence; the pictures take turns, and one mask has two."""
    rows = []
    with tempfile.TemporaryDirectory() as place:
        pictures = {
            i: part_forms.write_picture(Path(place) / f"{i}.jpg", i).read_bytes()
            for i in (1, 2)
        }
    said = (CAPTION, "the left dog", "the right dog", "a dog on the right")
    for text, (category, box) in zip(said, (*OBJECTS, OBJECTS[2]), strict=True):
        for data in pictures.values():
            image = {"bytes": data, "path": "picture.jpg"}
            mask = {"bytes": _mask_png(box), "path": None}
            rows.append(
                {"image": image, "sentence": [text], "mask": mask, "class": category}
            )
    return rows


def write_parquet(
    folder: Path, rows: list[dict[str, Any]] | None = None, name: str = "train"
) -> Path:
    """The rows as a shard of the hub, in groups of three."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    root = folder / "data"
    root.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist(parquet_rows() if rows is None else rows)
    pq.write_table(table, root / f"{name}-00000-of-00001.parquet", row_group_size=3)
    return root


# By form; of one that has several, a word behind it.
WRITERS = {
    "coco": write_coco,
    "labelme": write_labelme,
    "label_studio": write_label_studio,
    "lisa": write_lisa,
    "masks": write_masks,
    "masks table": write_mask_table,
    "parquet": write_parquet,
}
# COCO JSON as tools write it.
COCO = {
    "roboflow": write_roboflow,
    "cvat": write_cvat,
    "label_studio": write_label_studio_coco,
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
