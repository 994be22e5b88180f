"""Answers about many pictures as one file: JSON lines, or COCO's JSON."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from unires_jax.files import naming, whole, write_whole


class Answered(NamedTuple):
    """A picture's answers, without arrays."""

    picture: str  # its name in the listing
    height: int
    width: int
    answers: list[dict[str, Any]]  # of `Segment.to_json`


def write_jsonl(path: Path, pictures: Iterable[Answered]) -> None:
    """A line for each expression: the picture, its size, and the answer."""
    with whole(path) as temporary, naming(path), temporary.open("w") as file:
        for answered in pictures:
            head = {
                "picture": answered.picture,
                "height": answered.height,
                "width": answered.width,
            }
            for answer in answered.answers:
                print(json.dumps(head | answer), file=file)


def write_coco(path: Path, pictures: Iterable[Answered]) -> None:
    """COCO's JSON, every expression a category; empty masks have no annotation.

    `annotations` hold `score` too: the list alone is what COCO calls results.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    categories: dict[str, int] = {}
    for answered in pictures:
        image = len(images) + 1
        images.append(
            {
                "id": image,
                "file_name": answered.picture,
                "height": answered.height,
                "width": answered.width,
            }
        )
        for answer in answered.answers:
            number = categories.setdefault(answer["expression"], len(categories) + 1)
            if answer["area"]:
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": image,
                        "category_id": number,
                        "segmentation": answer["rle"],
                        "bbox": answer["box"],
                        "area": answer["area"],
                        "iscrowd": 0,
                        "score": answer["score"],
                    }
                )
    content = {
        "images": images,
        "categories": [{"id": n, "name": text} for text, n in categories.items()],
        "annotations": annotations,
    }
    write_whole(path, json.dumps(content))
