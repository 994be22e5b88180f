"""Lines of MRES JSONL for tests: a picture with masks in every form."""

import base64
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from helpers import small_data
from unires_jax.pixels.masks import RunMask

HEIGHT, WIDTH = 40, 60


def boxed(x: int, y: int, w: int, h: int) -> np.ndarray:
    """A mask of the test pictures' size with one box in it."""
    return small_data.rectangle((HEIGHT, WIDTH), x, y, w, h)


def picture(index: int = 0) -> bytes:
    """A JPEG of HEIGHT x WIDTH."""
    rng = np.random.default_rng(index)
    return small_data.jpeg(rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8))


def write_files(folder: Path) -> None:
    """The picture and the mask file that `good_line` names."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    (folder / "images" / "a.jpg").write_bytes(picture())
    png = boxed(30, 4, 10, 12).astype(np.uint8) * 255
    cv2.imwrite(str(folder / "images" / "a_wheel.png"), png)


def rle(pixels: np.ndarray) -> dict[str, Any]:
    """COCO's compressed form."""
    return {"size": list(pixels.shape), "counts": RunMask.from_pixels(pixels).counts}


def _mask(identity: str, category: str, **form: Any) -> dict[str, Any]:
    level = "part" if "part" in form else "object"
    return {"id": identity, "level": level, "category": category, **form}


def good_line() -> dict[str, Any]:
    """Two objects, two parts, every form of mask; several and no targets."""
    polygons = [[2, 2, 12, 2, 12, 14, 2, 14], [20, 30, 24, 30, 24, 38]]
    runs = {"size": [HEIGHT, WIDTH], "counts": [82, 6, 2312]}
    return {
        "image": "images/a.jpg",
        "image_id": 7,
        "coco_id": 12,
        "height": HEIGHT,
        "width": WIDTH,
        "masks": [
            _mask("car", "car", rle=rle(boxed(25, 2, 20, 20)), bbox=[25, 2, 20, 20]),
            _mask("dog", "dog", polygons=polygons),
            _mask("wheel", "car", part="wheel", parent="car", png="images/a_wheel.png"),
            _mask("head", "dog", part="head", parent="dog", rle=runs),
        ],
        "expressions": [
            {"text": "The Red  car", "level": "object", "targets": ["car"]},
            {"text": "dog's head", "level": "part", "targets": ["head"]},
            {"text": "car", "level": "object", "targets": ["car"]},
            {"text": "everything", "level": "object", "targets": ["car", "dog"]},
            {"text": "the zebra", "level": "object", "targets": []},
        ],
    }


def small_line(index: int) -> dict[str, Any]:
    """A line that needs no other file: the picture is in it."""
    x = index % 40
    return {
        "image": None,
        "image_bytes": base64.b64encode(picture(index)).decode(),
        "image_id": index,
        "height": HEIGHT,
        "width": WIDTH,
        "masks": [_mask("0", "box", rle=rle(boxed(x, 3, 9, 11)))],
        "expressions": [
            {"text": f"box number {index}", "level": "object", "targets": ["0"]}
        ],
    }


def write_lines(path: Path, lines: list[dict[str, Any]]) -> Path:
    """A .jsonl file of the lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path
