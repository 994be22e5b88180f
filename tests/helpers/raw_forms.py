"""One small benchmark, drawn here, written in every raw form."""

import json
import pickle
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from helpers.small_data import rectangle
from unires_jax.data.prepared import open_split
from unires_jax.data.records import Record

SIZES = {101: (40, 60), 202: (50, 30), 303: (32, 32)}  # image id -> height, width
CATEGORIES = [{"id": 1, "name": "person"}, {"id": 18, "name": "dog"}]
SPLITS = ("train", "val", "testA", "testB")


def name(image_id: int) -> str:
    """COCO's file name of an image."""
    return f"COCO_train2014_{image_id:012d}.jpg"


def box(x: float, y: float, w: float, h: float) -> list[float]:
    """A rectangle as a polygon."""
    return [x, y, x + w, y, x + w, y + h, x, y + h]


def pixels(image_id: int, x: int, y: int, w: int, h: int) -> np.ndarray:
    """A rectangle as a mask of the image."""
    return np.asfortranarray(rectangle(SIZES[image_id], x, y, w, h), np.uint8)


def runs(mask: np.ndarray) -> dict[str, Any]:
    """COCO's uncompressed RLE."""
    flat = mask.flatten(order="F")
    edges = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff([0, *edges, flat.size]).tolist()
    return {"size": list(mask.shape), "counts": [0, *counts] if flat[0] else counts}


def compressed(mask: np.ndarray) -> dict[str, Any]:
    """COCO's compressed RLE."""
    rle = coco_mask.encode(mask)
    return {"size": rle["size"], "counts": rle["counts"].decode()}


def annotations() -> list[dict[str, Any]]:
    """One of each kind of segmentation, and two overlapping pieces."""
    shapes: list[tuple[int, int, int, Any]] = [
        (11, 101, 1, [box(5, 5, 20, 10)]),
        (12, 101, 18, [box(30, 10, 12, 12), box(36, 16, 12, 12)]),
        (21, 202, 1, runs(pixels(202, 3, 4, 10, 20))),
        (22, 202, 18, compressed(pixels(202, 0, 0, 6, 5))),
        (31, 303, 18, [box(2.5, 3.5, 20, 20)]),
    ]
    entries = []
    for ann_id, image_id, category_id, segmentation in shapes:
        rle = rle_of(segmentation, image_id)
        entries.append(
            {
                "id": ann_id,
                "image_id": image_id,
                "category_id": category_id,
                "segmentation": segmentation,
                "bbox": [float(v) for v in coco_mask.toBbox(rle)],
                "area": float(coco_mask.area(rle)),
                "iscrowd": 0,
            }
        )
    return entries


def rle_of(segmentation: Any, image_id: int) -> dict[str, Any]:
    """pycocotools' own reading of a segmentation."""
    height, width = SIZES[image_id]
    if isinstance(segmentation, list):
        return coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width))
    if isinstance(segmentation["counts"], list):
        return coco_mask.frPyObjects(segmentation, height, width)
    return segmentation


def instances() -> dict[str, Any]:
    """instances.json."""
    images = [
        {"id": i, "file_name": name(i), "height": h, "width": w}
        for i, (h, w) in SIZES.items()
    ]
    return {"images": images, "annotations": annotations(), "categories": CATEGORIES}


def refs() -> list[dict[str, Any]]:
    """The refs file: a referent for each annotation, two sentences each."""
    where = {11: "train", 12: "train", 21: "val", 22: "testA", 31: "testB"}
    entries = []
    for number, entry in enumerate(annotations()):
        texts = [("2nd Dog", "second dog"), ("the caf\xe9 dog!", "the caf\xe9 dog")]
        sentences = [
            {
                "sent_id": 10 * number + i,
                "raw": raw,
                "sent": sent,
                "tokens": sent.split(),
            }
            for i, (raw, sent) in enumerate(texts)
        ]
        entries.append(
            {
                "ref_id": 700 - number,  # not the order of the file
                "ann_id": entry["id"],
                "category_id": entry["category_id"],
                "image_id": entry["image_id"],
                "file_name": name(entry["image_id"]).replace(".jpg", f"_{number}.jpg"),
                "split": where[entry["id"]],
                "sent_ids": [s["sent_id"] for s in sentences],
                "sentences": sentences,
            }
        )
    return entries


def of_split(split: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """The referents of a split, each with its annotation."""
    by_id = {a["id"]: a for a in annotations()}
    return [(r, by_id[r["ann_id"]]) for r in refs() if r["split"] == split]


def jpeg(image_id: int) -> bytes:
    """The picture of an image."""
    noise = np.random.default_rng(image_id).integers(0, 256, (*SIZES[image_id], 3))
    return cv2.imencode(".jpg", noise.astype(np.uint8))[1].tobytes()


def write_json(path: Path, content: Any) -> Path:
    """A JSON file; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def write_images(root: Path, folder: str = "images/train2014") -> None:
    """The pictures."""
    (root / folder).mkdir(parents=True, exist_ok=True)
    for image_id in SIZES:
        (root / folder / name(image_id)).write_bytes(jpeg(image_id))


def write_refer(root: Path, protocol: int = 2, dataset: str = "refcoco") -> None:
    """The refer layout."""
    write_images(root, "images/mscoco/images/train2014")
    write_json(root / dataset / "instances.json", instances())
    (root / dataset / "refs(unc).p").write_bytes(pickle.dumps(refs(), protocol))


def write_cris(root: Path) -> None:
    """CRIS's layout; where pieces overlap its masks hold 254."""
    write_images(root)
    (root / "masks/refcoco").mkdir(parents=True)
    for split in SPLITS:
        entries = []
        for ref, ann in of_split(split):
            mask = coco_mask.decode(rle_of(ann["segmentation"], ann["image_id"])) * 255
            mask[mask > 0][:3] = 254
            path = root / f"masks/refcoco/{ref['ref_id']}.png"
            cv2.imwrite(str(path), np.where(mask, 254, 0).astype(np.uint8))
            x, y, w, h = (int(v) for v in ann["bbox"])
            entries.append(
                {
                    "bbox": [x, y, x + w, y + h],
                    "cat": 0 if ann["category_id"] == 1 else 16,
                    "segment_id": ref["ref_id"],
                    "img_name": name(ann["image_id"]),
                    "sentences": [
                        {"idx": i, "sent_id": s["sent_id"], "sent": s["sent"]}
                        for i, s in enumerate(ref["sentences"])
                    ],
                    "sentences_num": len(ref["sentences"]),
                }
            )
        write_json(root / f"anns/refcoco/{split}.json", entries)


def write_mdetr(root: Path) -> None:
    """MDETR's files beside COCO's annotations."""
    write_images(root)
    write_json(root / "annotations/instances_train2014.json", instances())
    number = 0
    for split in SPLITS:
        images, boxes = [], []
        for ref, ann in of_split(split):
            for sentence in ref["sentences"]:
                height, width = SIZES[ann["image_id"]]
                images.append(
                    {
                        "file_name": name(ann["image_id"]),
                        "height": height,
                        "width": width,
                        "id": number,
                        "original_id": ann["image_id"],
                        "caption": sentence["sent"],
                        "dataset_name": "refcoco",
                    }
                )
                box = {k: ann[k] for k in ("bbox", "area", "iscrowd", "category_id")}
                box |= {"id": number, "image_id": number, "original_id": ann["id"]}
                boxes.append(box)
                number += 1
        content = {"images": images, "annotations": boxes, "categories": CATEGORIES}
        write_json(root / f"finetune_refcoco_{split}.json", content)


def write_tfds(root: Path) -> None:
    """The refcoco.json of TFDS's own builder, with another benchmark in it."""
    write_images(root, "coco_train2014")
    by_id = {a["id"]: a for a in annotations()}
    refs_of_all = [
        r | {"ann": by_id[r["ann_id"]], "dataset": d, "dataset_partition": p}
        for d, p in (("refcoco", "unc"), ("refcoco+", "unc"))
        for r in refs()
    ]
    coco = {
        str(i["id"]): {
            "info": i,
            "anns": [a for a in by_id.values() if a["image_id"] == i["id"]],
        }
        for i in instances()["images"]
    }
    write_json(root / "refcoco.json", {"ref": refs_of_all, "coco_anns": coco})


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    """A parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)


def write_jxu124(root: Path) -> None:
    """jxu124/refcoco: split testA is called test in the files' names."""
    write_images(root, "train2014")
    images = {i["id"]: i for i in instances()["images"]}
    for split, file in zip(
        SPLITS, ("train", "validation", "test", "testB"), strict=True
    ):
        rows = [
            r
            | {
                "raw_anns": json.dumps(ann),
                "raw_image_info": json.dumps(images[r["image_id"]]),
                "raw_sentences": json.dumps(r["sentences"]),
                "image_path": f"coco/train2014/{name(r['image_id'])}",
                "bbox": ann["bbox"],
                "split": file if split == "testA" else split,
            }
            for r, ann in of_split(split)
        ]
        write_rows(root / f"data/{file}-00000-of-00001.parquet", rows)


def write_lmms(root: Path) -> None:
    """lmms-lab/RefCOCO: testA and testB; its val holds two benchmarks' rows."""
    for split in ("val", "testA", "testB"):
        rows = [
            {
                "question_id": str(r["ref_id"]),
                "image": {"bytes": jpeg(r["image_id"]), "path": None},
                "question": "Please describe it",
                "answer": [s["sent"] for s in r["sentences"]],
                "segmentation": box(2.5, 3.5, 20, 20),
                "bbox": ann["bbox"],
                "iscrowd": 0,
                "file_name": r["file_name"],
            }
            for r, ann in of_split(split)
        ]
        write_rows(root / f"data/{split}-00000-of-00001.parquet", rows)


def write_moondream(root: Path) -> None:
    """moondream/refcoco-m: an image a row."""
    row = {
        "image": {"bytes": jpeg(101), "path": name(101)},
        "image_id": 101,
        "file_name": name(101),
        "samples": [
            {
                "id": 11 + i,
                "image_id": 101,
                "category": "dog",
                "supercategory": "animal",
                "label": "dog",
                "sentences": ["left dog", "brown dog"],
                "bbox": [1.0, 2.0, 3.0, 4.0],
                "mask": compressed(pixels(101, 4 * i, 2, 3, 4)),
            }
            for i in range(2)
        ],
    }
    write_rows(root / "data/validation-00000-of-00001.parquet", [row])


def write_grefs(root: Path) -> None:
    """gRefCOCO: one target, two, and none."""
    write_images(root, "images/train2014")
    write_json(root / "grefcoco/instances.json", instances())
    entries = []
    for number, ids in enumerate(([11], [12, 11], [-1])):
        entries.append(
            {
                "ref_id": 900 + number,
                "ann_id": ids,
                "category_id": [1] * len(ids),
                "image_id": 101,
                "file_name": name(101),
                "split": "val",
                "no_target": ids == [-1],
                "sentences": [
                    {"sent_id": number, "raw": f"R{number}", "sent": f"r {number}"}
                ],
            }
        )
    write_json(root / "grefcoco/grefs(unc).json", entries)


def write_refcocom(root: Path, object_part: bool = True) -> None:
    """RefCOCOm: a part within the first object, one half outside, one alone."""
    write_images(root, "images/train2014")
    (root / "RefCOCOm/Masks").mkdir(parents=True)
    parts = {
        1: (101, pixels(101, 6, 6, 4, 4), "head of the left person"),
        2: (101, pixels(101, 0, 5, 9, 4), "left person's wrist"),
        3: (101, pixels(101, 50, 30, 5, 5), "the thing there"),
    }
    whole = {11: (101, pixels(101, 5, 5, 20, 10), "left person")}
    entries = []
    for number, (image_id, mask, sent) in {**parts, **whole}.items():
        path = root / f"RefCOCOm/Masks/{number}.png"
        cv2.imwrite(str(path), mask * 255)
        sentences = [{"idx": 0, "sent_id": number, "sent": sent}]
        entries.append(
            {"img_name": name(image_id), "segment_id": number, "sentences": sentences}
        )
    folder = root / "RefCOCOm/annotations"
    write_json(folder / "testA_part_only.json", entries[:3])
    if object_part:
        write_json(folder / "testA_object_part.json", entries)


def stored(spec: str, data_dir: Path) -> list[Record]:
    """All records of a prepared split."""
    split = open_split(spec, data_dir)
    return [split[i] for i in range(len(split))]
