"""What a start needs of all records is stored at build and read instead of them."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers import small_data
from helpers.tiny import data_config

from unires_jax.data import leakage, pipeline, prepared, summary
from unires_jax.prepare import build as builds

IDS = [31, -1, 7, 2**40, -1, 12]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Built as TFDS does, whose order of records is not that of yielding."""
    records = [small_data.scene(i) for i in range(len(IDS))]
    records = [replace(r, coco_id=i) for r, i in zip(records, IDS, strict=True)]
    builder = small_data.Tiny(tmp_path, "tiny", {"train": records})
    builder._download_and_prepare = builds._summarized(builder)
    builder.download_and_prepare()
    return Path(builder.data_path)


def test_a_build_stores_it_beside_the_shards(folder: Path) -> None:
    split = prepared.open_split(f"{folder}:train")
    (ids,) = folder.glob(f"coco_ids-train-{split.fingerprint()}.npy")
    (texts,) = folder.glob(f"sentences-train-{split.fingerprint()}.json")
    records = [split[i] for i in range(len(split))]
    assert np.load(ids).tolist() == [r.coco_id for r in records]
    assert sorted(r.coco_id for r in records) == sorted(IDS)
    sentences = {x.sent for r in records for x in r.expressions}
    assert json.loads(texts.read_text()) == sorted(sentences)


def test_a_start_reads_no_record(folder: Path, monkeypatch) -> None:
    spec = f"{folder}:train"
    config = data_config(folder, data__exclude=(spec,))
    words = small_data.tokenizer.train_bpe(["dog"], folder / "tokenizer.json", 600)
    read: list[int] = []
    plain = prepared.PreparedSplit.__getitem__

    def note(split: prepared.PreparedSplit, index: int) -> object:
        read.append(index)
        return plain(split, index)

    summary._coco_ids.cache_clear()
    summary._sentences.cache_clear()
    monkeypatch.setattr(prepared.PreparedSplit, "__getitem__", note)
    monkeypatch.setattr(prepared.PreparedSplit, "stored", lambda _: pytest.fail("read"))
    (split,) = pipeline.open_splits(config)
    assert isinstance(split, leakage.LeakFreeSplit)
    assert (split.dropped, split.unknown) == (4, 2)
    with_files = pipeline.training_lengths(config, words)
    assert not read
    monkeypatch.undo()
    for file in (*folder.glob("coco_ids-*"), *folder.glob("sentences-*")):
        file.unlink()
    summary._coco_ids.cache_clear()
    summary._sentences.cache_clear()
    (again,) = pipeline.open_splits(config)
    assert (again.dropped, again.unknown) == (4, 2)
    assert pipeline.training_lengths(config, words) == with_files
    assert len(list(folder.glob("*-train-*.*"))) == 2  # kept for the next start
