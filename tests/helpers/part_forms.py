"""Part annotations in every form that `unires engine parts` and `import` read.

One scene in all of them: a car with two wheels and a door, and two dogs, one left and
one right, each with a head and two legs. Boxes for masks.
"""

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from helpers import small_data
from unires_jax.pixels.masks import RunMask

HEIGHT, WIDTH = 60, 100
Box = tuple[int, int, int, int]  # x, y, width, height

# Name, box, and for parts the place of their object; the two legs are two pieces.
OBJECTS: list[tuple[str, Box]] = [
    ("car", (40, 30, 24, 16)),
    ("dog", (4, 8, 20, 24)),
    ("dog", (74, 8, 22, 24)),
]
PARTS: list[tuple[str, Box, int]] = [
    ("wheel", (42, 40, 5, 6), 0),
    ("wheel", (56, 40, 5, 6), 0),
    ("door", (49, 32, 6, 8), 0),
    ("head", (5, 9, 8, 8), 1),
    ("leg", (6, 24, 3, 8), 1),
    ("leg", (15, 24, 3, 8), 1),
    ("head", (75, 9, 8, 8), 2),
]
# What is said, whatever the form, where objects are marked.
TEXTS = {"car", "left dog", "right dog"}


def pixels(box: Box) -> np.ndarray:
    return small_data.rectangle((HEIGHT, WIDTH), *box)


def rle(box: Box) -> dict[str, Any]:
    return RunMask.from_pixels(pixels(box)).rle


def polygon(box: Box) -> list[float]:
    x, y, w, h = box
    return [float(v) for v in (x, y, x + w, y, x + w, y + h, x, y + h)]


def write_picture(path: Path, seed: int = 0, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    image = Image.fromarray(rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8))
    image.save(path, **options)
    return path


def coco_json(
    names: Callable[[str, str], str] = lambda thing, part: f"{thing}:{part}",
    parent: str = "",
    count: int = 2,
    objects: bool = True,
) -> dict[str, Any]:
    """A COCO JSON; `names` is a part's category, `parent` the field of its object."""
    things = list(dict.fromkeys(name for name, _ in OBJECTS)) if objects else []
    words = things + list(
        dict.fromkeys(names(OBJECTS[of][0], part) for part, _, of in PARTS)
    )
    ids = {word: number for number, word in enumerate(words, 1)}
    annotations: list[dict[str, Any]] = []

    def add(image: int, word: str, box: Box, **fields: Any) -> int:
        number = len(annotations) + 1
        shape = [polygon(box)] if number % 2 else rle(box)
        fields |= {"id": number, "image_id": image, "category_id": ids[word]}
        annotations.append(
            {"bbox": list(box), "iscrowd": 0, "segmentation": shape, **fields}
        )
        return number

    for image in range(1, count + 1):
        own = [add(image, n, box) for n, box in OBJECTS] if objects else []
        for part, box, of in PARTS:
            above = {parent: own[of]} if parent else {}
            add(image, names(OBJECTS[of][0], part), box, **above)
    return {
        "images": [
            {"id": i, "file_name": f"{i}.jpg", "height": HEIGHT, "width": WIDTH}
            for i in range(1, count + 1)
        ],
        "categories": [{"id": i, "name": w} for w, i in ids.items()],
        "annotations": annotations,
    }


def write_json(
    folder: Path, content: Any, count: int = 2, name: str = "train.json"
) -> Path:
    for i in range(1, count + 1):
        write_picture(folder / "photos" / f"{i}.jpg", i)
    path = folder / name
    path.write_text(json.dumps(content))
    return path


def write_coco(folder: Path) -> Path:
    return write_json(folder, coco_json())


def paco_json() -> dict[str, Any]:
    long = {"car": "car_(automobile)", "dog": "dog"}
    content = coco_json(lambda thing, part: f"{long[thing]}:{part}", "obj_ann_id")
    for category in content["categories"]:
        category["name"] = long.get(category["name"], category["name"])
    for annotation in content["annotations"]:
        annotation.setdefault("obj_ann_id", annotation["id"])
    for image in content["images"]:
        image |= {"neg_category_ids": [], "not_exhaustive_category_ids": []}
    return content | {"part_categories": [], "attributes": []}


def write_paco(folder: Path) -> Path:
    return write_json(folder, paco_json())


def write_pascal_json(folder: Path) -> Path:
    return write_json(folder, coco_json(lambda t, p: f"{t}'s {p}", objects=False))


def structs(values: list[dict[str, Any]]) -> np.ndarray:
    """As scipy writes MATLAB's array of structs; of none, its empty array."""
    if not values:
        return np.zeros((0, 0))
    array = np.zeros((1, len(values)), [(name, object) for name in values[0]])
    for i, value in enumerate(values):
        array[0, i] = tuple(value.values())
    return array


def write_pascal_mat(folder: Path) -> Path:
    from scipy.io import savemat

    short = {"wheel": "wheel_{}", "door": "door_1", "head": "head", "leg": "l{}leg"}
    for number in (1, 2):
        objects = []
        for i, (name, box) in enumerate(OBJECTS):
            parts = [
                {
                    "part_name": short[p].format("fb"[j % 2] if p == "leg" else j),
                    "mask": pixels(b),
                }
                for j, (p, b, of) in enumerate(PARTS)
                if of == i
            ]
            thing = {"class": name, "class_ind": i, "mask": pixels(box)}
            objects.append(thing | {"parts": structs(parts)})
        stem = f"2008_{number:06}"
        write_picture(folder / "photos" / f"{stem}.jpg", number)
        (folder / "Annotations_Part").mkdir(exist_ok=True)
        anno = {"anno": {"imname": stem, "objects": structs(objects)}}
        savemat(folder / "Annotations_Part" / f"{stem}.mat", anno, do_compression=True)
    return folder / "Annotations_Part"


def write_partimagenet(folder: Path) -> Path:
    content = coco_json(lambda t, p: f"{t.title()} {p.title()}", objects=False)
    name = {c["id"]: c["name"] for c in content["categories"]}
    for category in content["categories"]:
        category["name"] = category["name"].replace("Dog", "Quadruped")
    content["annotations"] = [  # a picture has one thing
        a for a in content["annotations"] if name[a["category_id"]].startswith("Car")
    ]
    return write_json(folder, content)


CODES = {"car": 401, "dog": 999, "wheel": 3035, "door": 774, "head": 1206, "leg": 1431}


def write_ade20k(folder: Path) -> Path:
    root = folder / "ADE" / "training"
    entries = [(n, b, 0, None) for n, b in OBJECTS] + [
        (n, b, 1, o) for n, b, o in PARTS
    ]
    levels = [np.zeros((HEIGHT, WIDTH, 3), np.uint8) for _ in range(2)]
    things = []
    for i, (name, box, level, above) in enumerate(entries):
        x, y, w, h = box
        code = CODES[name]
        levels[level][pixels(box)] = (code // 256 * 10, code % 256, 20 * i + 1)
        things.append(
            {
                "id": i,
                "name": {"car": "car, auto, automobile"}.get(name, name),
                "name_ndx": code,
                "parts": {
                    "part_level": level,
                    "ispartof": [] if above is None else above,
                    "hasparts": [],
                },
                "polygon": {"x": [x, x + w, x + w, x], "y": [y, y, y + h, y + h]},
            }
        )
    for number in (1, 2):
        stem = f"ADE_train_{number:08}"
        write_picture(root / f"{stem}.jpg", number)
        for suffix, image in zip(("seg", "parts_1"), levels, strict=True):
            Image.fromarray(image).save(root / f"{stem}_{suffix}.png")
        text = json.dumps({"annotation": {"object": things}})
        (root / f"{stem}.json").write_text(text)
    return folder / "ADE"


def write_ade20k_part_234(folder: Path) -> Path:
    from unires_jax.engine import vocabulary

    numbers = {p: n for n, p in enumerate(vocabulary.pairs(vocabulary.ADE20K))}
    content = coco_json()
    content["categories"] = [{"id": 1, "name": "car"}]
    content["annotations"] = [
        a | {"part_category_id": [0]}
        for a in content["annotations"]
        if a["category_id"] == 1
    ]
    values = np.full((HEIGHT, WIDTH), 65535, np.uint16)
    for part, box, of in PARTS:
        if of == 0:
            values[pixels(box)] = numbers["car", part]
    for i in (1, 2):
        path = folder / "annotations_detectron2_part" / "training" / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), values)
    return write_json(folder, content, name="ade20k_instance_train.json")


def base64_of(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def png_base64(mask: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8) * 255).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


FORMS: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "coco": ("coco", write_coco),
    "paco": ("paco", write_paco),
    "pascal_part (json)": ("pascal_part", write_pascal_json),
    "pascal_part (mat)": ("pascal_part", write_pascal_mat),
    "partimagenet": ("partimagenet", write_partimagenet),
    "ade20k": ("ade20k", write_ade20k),
    "ade20k (234)": ("ade20k", write_ade20k_part_234),
}
