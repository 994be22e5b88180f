"""Real referents and real annotations: counted, compared, nothing lost.

`refer_sample` holds 30 real referents as JSON and no photographs: the test re-pickles
them as Python 2 would have and draws JPEGs of the stated sizes. `coco` holds 76
photographs with 565 real annotations, to each of which the test gives a sentence; the
two photographs without annotations get one that denotes nothing.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from helpers.conversion import SAMPLE, convert, lay_out, python2
from helpers.paths import REAL
from pycocotools import mask as coco_mask

from unires_jax.data import records
from unires_jax.data.catalogue import BENCHMARKS
from unires_jax.prepare.rejects import Rejects

PHOTOS = REAL / "coco"
COUNTS = {  # referents, sentences
    "refcoco_unc": (7, 20),
    "refcoco_google": (6, 17),
    "refcocoplus_unc": (7, 22),
    "refcocog_umd": (6, 12),
    "refcocog_google": (4, 8),
}
needs_sample = pytest.mark.skipif(not SAMPLE.exists(), reason="no refer_sample here")
needs_photos = pytest.mark.skipif(not PHOTOS.exists(), reason="no photographs here")


def areas(instances: dict[str, Any]) -> dict[int, int]:
    """Pixels of every annotation, decoded by pycocotools alone."""
    sizes = {i["id"]: (i["height"], i["width"]) for i in instances["images"]}
    pixels = {}
    for entry in instances["annotations"]:
        rle: Any = entry["segmentation"]
        if isinstance(rle, list):
            rle = coco_mask.merge(coco_mask.frPyObjects(rle, *sizes[entry["image_id"]]))
        elif isinstance(rle["counts"], list):
            rle = coco_mask.frPyObjects(rle, *sizes[entry["image_id"]])
        pixels[entry["id"]] = int(coco_mask.decode(rle).sum())
    return pixels


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lay_out(tmp_path_factory.mktemp("sample"))


@needs_sample
@pytest.mark.parametrize("name", COUNTS)
def test_real_referents_convert_with_nothing_lost(sample: Path, name: str) -> None:
    benchmark, rejects = BENCHMARKS[name], Rejects(share=0.0)
    converted = convert(sample, benchmark, rejects)
    folder = SAMPLE / benchmark.folder
    refs = json.loads((folder / f"refs({benchmark.split_by}).json").read_text())
    want = {
        (r["split"], r["image_id"], r["ref_id"], s["sent_id"], s["raw"], s["sent"])
        for r in refs
        for s in r["sentences"]
    }
    have = {
        (r.source, r.image_id, x.ref_id, x.sent_id, x.raw, x.sent)
        for r in converted
        for x in r.expressions
    }
    assert have == want and rejects.count == 0
    assert (len(refs), len(want)) == COUNTS[name]
    decoded = areas(json.loads((folder / "instances.json").read_text()))
    by_ref = {r["ref_id"]: r["ann_id"] for r in refs}
    for record in converted:
        records.validate(record)
        for x in record.expressions:
            (mask,) = (record.masks[t] for t in x.targets)
            pixels = records.runs_of(record, mask).pixels()
            assert mask.ann_id == by_ref[x.ref_id]
            assert mask.area == pixels.sum() == decoded[mask.ann_id]


@needs_photos
def test_real_photographs_and_annotations_convert(tmp_path: Path) -> None:
    instances = json.loads((PHOTOS / "instances.json").read_text())
    names = {c["id"]: c["name"] for c in instances["categories"]}
    refs = [
        {
            "ref_id": i,
            "ann_id": a["id"],
            "category_id": a["category_id"],
            "image_id": a["image_id"],
            "file_name": f"wrong_{i}.jpg",
            "split": "train",
            "sentences": [{"sent_id": i, "raw": "A!", "sent": names[a["category_id"]]}],
        }
        for i, a in enumerate(instances["annotations"])
    ]
    annotated = {r["image_id"] for r in refs}
    bare = [i["id"] for i in instances["images"] if i["id"] not in annotated]
    refs += [refs[0] | {"ref_id": 900 + i, "ann_id": -1, "image_id": i} for i in bare]
    (tmp_path / "grefcoco").mkdir()
    (tmp_path / "grefcoco/grefs(unc).p").write_bytes(python2(refs))
    shutil.copy(PHOTOS / "instances.json", tmp_path / "grefcoco")
    (tmp_path / "images").symlink_to(PHOTOS / "images")
    rejects = Rejects(share=0.0)
    converted = convert(tmp_path, BENCHMARKS["grefcoco"], rejects)
    assert rejects.count == 0 and len(bare) == 2
    masks = {m.ann_id: (r, m) for r in converted for m in r.masks}
    decoded = areas(instances)
    assert len(converted) == 76 and len(masks) == len(decoded) == 565
    assert sum(len(r.expressions) for r in converted) == 567
    assert sum(m.iscrowd for _, m in masks.values()) == 5
    for entry in instances["annotations"]:
        record, mask = masks[entry["id"]]
        pixels = records.runs_of(record, mask).pixels()
        assert mask.area == pixels.sum() == decoded[entry["id"]]
        assert mask.category == names[entry["category_id"]]
        assert mask.bbox == pytest.approx(entry["bbox"])
    for record in converted:
        assert record.image == (PHOTOS / "images" / record.filename).read_bytes()
