"""Answers about many pictures as one file: JSON lines, COCO's, Label Studio's JSON."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from unires_jax.files import naming, whole, write_whole
from unires_jax.pixels.label_studio import write_mask
from unires_jax.pixels.masks import RunMask


class Answered(NamedTuple):
    """A picture's answers, without arrays."""

    picture: str  # its name in the listing
    height: int
    width: int
    answers: list[dict[str, Any]]  # of `Segment.to_json`
    unlike: str = ""  # of `EncodedImage`


def write_jsonl(path: Path, pictures: Iterable[Answered]) -> None:
    """A line for each expression: the picture, its size, and the answer."""
    with whole(path) as temporary, naming(path), temporary.open("w") as file:
        for answered in pictures:
            head = {
                "picture": answered.picture,
                "height": answered.height,
                "width": answered.width,
                "unlike": answered.unlike,
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


def write_label_studio(
    path: Path, pictures: Iterable[Answered], *, root: str = "", version: str = ""
) -> None:
    """Label Studio's tasks with pre-annotations: a brush mask for each expression.

    `root` comes before the pictures' names, an address or "/data/local-files/?d=...";
    `version` names the model. Its labelling interface needs `<Image name="image"
    value="$image"/>` and `<BrushLabels name="tag" toName="image">`.
    """
    tasks = []
    for answered in pictures:
        marked = [answer for answer in answered.answers if answer["area"]]
        results = [
            {
                "id": f"unires{number}",
                "type": "brushlabels",
                "from_name": "tag",
                "to_name": "image",
                "original_width": answered.width,
                "original_height": answered.height,
                "image_rotation": 0,
                "score": answer["score"],
                "value": {
                    "format": "rle",
                    "rle": write_mask(RunMask.of(answer["rle"])),
                    "brushlabels": [answer["expression"]],
                },
            }
            for number, answer in enumerate(marked)
        ]
        mean = sum(a["score"] for a in marked) / len(marked) if marked else 0.0
        prediction = {"model_version": version, "score": mean, "result": results}
        image = f"{root}{answered.picture}"
        tasks.append({"data": {"image": image}, "predictions": [prediction]})
    write_whole(path, json.dumps(tasks))
