"""No image of an evaluation split is trained on where data.exclude names it."""

import itertools
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers import small_data
from helpers.conversion import SAMPLE, lay_out
from helpers.tiny import data_config

from unires_jax.config import Config
from unires_jax.data import leakage, pipeline, summary
from unires_jax.data.prepared import PreparedSplit
from unires_jax.errors import DataError
from unires_jax.prepare import build


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """Training images of COCO ids 0..5 and two without; evaluation ones of 1, 3, 9."""
    train = [small_data.scene(i) for i in range(8)]
    ids = [0, 1, 2, 3, 4, 5, -1, -1]
    train = [
        replace(r, coco_id=i, image_id=100 + i) for r, i in zip(train, ids, strict=True)
    ]
    evaluated = [replace(train[0], coco_id=i) for i in (1, 3, 9, -1)]
    small_data.write(tmp_path / "train", train=train)
    small_data.write(tmp_path / "eval", val=evaluated[:2], test=evaluated[2:])
    return tmp_path


def config_of(folders: Path, **data: object) -> Config:
    changes = {f"data__{name}": value for name, value in data.items()}
    return data_config(folders / "train/tiny/1.0.0", **changes)


def test_images_of_excluded_splits_are_dropped_by_coco_id(folders: Path) -> None:
    unseen = folders / "eval/tiny/1.0.0"
    config = config_of(folders, exclude=(f"{unseen}:val", f"{unseen}:test"))
    (split,) = pipeline.open_splits(config)
    stayed = sorted(split[i].coco_id for i in range(len(split)))
    assert stayed == [-1, -1, 0, 2, 4, 5]
    assert (split.dropped, split.unknown) == (2, 2)
    (all_of_them,) = pipeline.open_splits(config_of(folders))
    assert len(all_of_them) == 8
    assert split.fingerprint() != all_of_them.fingerprint()


def test_training_draws_no_excluded_image_and_says_so(folders: Path, capsys) -> None:
    unseen = folders / "eval/tiny/1.0.0"
    config = config_of(folders, exclude=(f"{unseen}:val",), workers=0)
    tokenizer = pipeline.run_tokenizer(config)
    stream = pipeline.train_batches(config, tokenizer)
    next(stream)
    stream.close()
    line = "train: dropped 2 of 8 images that 1 evaluation splits hold (by COCO id; 2 "
    assert line in capsys.readouterr().out
    # 24 draws of 6 images: four whole epochs, in which no other image can come.
    plain = config_of(folders, flip=0.0, crop=0.0, exclude=(f"{unseen}:val",))
    stream = pipeline.train_batches(plain, tokenizer)
    images = [i.tobytes() for b in itertools.islice(stream, 6) for i in b.images]
    stream.close()
    assert sorted(images.count(d) for d in set(images)) == [4] * 6


def test_ids_are_read_once_and_again_after_a_rebuild(folders: Path) -> None:
    split = small_data.prepared.open_split(f"{folders}/eval/tiny/1.0.0:val")
    assert sorted(leakage.coco_ids(split)) == [1, 3]
    (cache,) = Path(split.folder).glob("coco_ids-val-*.npy")
    summary._coco_ids.cache_clear()
    np.save(cache, np.array([7, 8]))
    assert leakage.coco_ids(split).tolist() == [7, 8]  # from the file
    os.rename(cache, cache.with_name("coco_ids-val-0000.npy"))  # of other data
    summary._coco_ids.cache_clear()
    assert sorted(leakage.coco_ids(split)) == [1, 3]


def test_a_split_that_is_not_prepared_stops_the_run(folders: Path) -> None:
    config = config_of(folders, exclude=leakage.EVALUATION, dir=str(folders))
    with pytest.raises(DataError, match=r"data\.exclude: no prepared .*unires build"):
        pipeline.open_splits(config)


def test_google_splits_by_flag(folders: Path, monkeypatch) -> None:
    specs: list[str] = []

    def open_split(spec: str, data_dir: str, cache: str) -> PreparedSplit:
        specs.append(spec)
        return PreparedSplit(data_dir, spec)

    monkeypatch.setattr(leakage.prepared, "open_split", open_split)
    leakage.excluded_splits(config_of(folders, exclude=leakage.EVALUATION))
    assert specs == list(leakage.EVALUATION) and len(specs) == 14
    leakage.excluded_splits(config_of(folders, exclude=("a:b",), exclude_google=True))
    assert specs[14:] == ["a:b", *leakage.GOOGLE]


@pytest.mark.skipif(not SAMPLE.exists(), reason="no refer_sample here")
def test_real_ids(tmp_path: Path) -> None:
    """RefCOCOg's google val holds an image that RefCOCO-UNC trains on."""
    raw, data = tmp_path / "raw", tmp_path / "data"
    lay_out(raw)
    for name in ("refcoco_unc", "refcoco_google", "refcocog_umd", "refcocog_google"):
        build.build("refcoco", data, config=name, raw=str(raw))
    refs = json.loads((SAMPLE / "refcocog/refs(google).json").read_text())
    evaluated = {r["image_id"] for r in refs if r["split"] == "val"}
    train = json.loads((SAMPLE / "refcoco/refs(unc).json").read_text())
    trained = {r["image_id"] for r in train if r["split"] == "train"}
    assert trained & evaluated == {460986}
    config = data_config(tmp_path)
    config.data.dir, config.data.train = str(data), ("refcoco/refcoco_unc:train",)
    config.data.exclude = ("refcoco/refcoco_unc:val", "refcoco/refcocog_umd:val")
    (split,) = pipeline.open_splits(config)
    assert (len(split), split.dropped) == (1, 0)  # unc and umd cut by image
    config.data.exclude_google = True
    (split,) = pipeline.open_splits(config)
    assert (len(split), split.dropped) == (0, 1)
