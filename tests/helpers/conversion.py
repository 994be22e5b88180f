"""Raw folders read to records."""

import json
import pickle
import pickletools
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from helpers.paths import REAL
from unires_jax.data.catalogue import BENCHMARKS
from unires_jax.data.records import Record
from unires_jax.prepare.rejects import Rejects
from unires_jax.prepare.sources import recognise
from unires_jax.prepare.sources.form import Raw
from unires_jax.prepare.sources.grouping import by_split, to_records
from unires_jax.prepare.sources.pictures import Spool

SAMPLE = REAL / "refer_sample"  # 30 real referents as JSON, no photographs
UNC = BENCHMARKS["refcoco_unc"]


def convert(root: Path, benchmark=UNC, rejects: Rejects | None = None) -> list[Record]:
    """All records of all splits."""
    spool = root / "spool"
    spool.mkdir(exist_ok=True)
    rejects = rejects or Rejects(share=0.0)
    source = recognise.read(Raw(root, Spool(spool)), benchmark, rejects)
    splits = by_split(source.referents)
    return [
        record
        for split in benchmark.splits
        for record in to_records(splits.get(split, []), source.picture, split, rejects)
    ]


def python2(value: Any) -> bytes:
    """The value as Python 2 pickles it: its strings are bytes under one-byte names."""
    data = pickle.dumps(value, 2)
    out, at = bytearray(), 0

    ops = [(op, pos) for op, _, pos in pickletools.genops(data)]
    for (op, start), end in zip(
        ops, [*(p for _, p in ops[1:]), len(data)], strict=True
    ):
        assert start == at
        piece, at = data[start:end], end
        if op.name == "BINUNICODE":
            raw = piece[5:].decode().encode("latin1")
            piece = b"T" + len(raw).to_bytes(4, "little") + raw
        out += piece
    return bytes(out)


def lay_out(root: Path) -> Path:
    """The sample in the refer layout, as pickles and with pictures."""
    for folder in sorted(p for p in SAMPLE.iterdir() if p.is_dir()):
        (root / folder.name).mkdir(parents=True)
        shutil.copy(folder / "instances.json", root / folder.name)
        for path in folder.glob("refs*.json"):
            pickled = python2(json.loads(path.read_text()))
            (root / folder.name / path.with_suffix(".p").name).write_bytes(pickled)
        for image in json.loads((folder / "instances.json").read_text())["images"]:
            path = root / "images/mscoco/images/train2014" / image["file_name"]
            path.parent.mkdir(parents=True, exist_ok=True)
            size = image["height"], image["width"], 3
            cv2.imwrite(str(path), np.full(size, 128, np.uint8))
    return root
