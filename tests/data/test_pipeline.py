"""Batches over processes, workers and restarts; bad records; evaluation pictures."""

import dataclasses
import itertools
import json
import multiprocessing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers import small_data
from helpers.tiny import data_config

from unires_jax.config import Config, mask_grid
from unires_jax.data import pipeline, prepared
from unires_jax.data.augment import mirrored
from unires_jax.data.batch import Batch
from unires_jax.data.pipeline import run_tokenizer, train_batches
from unires_jax.data.readers import check_shared_memory
from unires_jax.errors import ConfigError, DataError, TrainingError

RECORDS = 11  # no multiple of the batch: epochs end within batches


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    good = [small_data.scene(i) for i in range(RECORDS)]
    half = good[0].image[:300]
    bad = [replace(good[i], image=half) if i == 4 else good[i] for i in range(8)]
    out = tmp_path_factory.mktemp("data")
    return small_data.write(out, train=good, bad=bad, other=good[:2])


@pytest.fixture
def config(folder: Path) -> Config:
    return data_config(folder)


def take(config: Config, count: int, **options: object) -> list[Batch]:
    stream = train_batches(config, run_tokenizer(config), **options)
    batches = list(itertools.islice(stream, count))
    stream.close()
    return batches


def equal(first: Batch, second: Batch) -> bool:
    return all(
        a.dtype == b.dtype and np.array_equal(a, b)
        for a, b in zip(first, second, strict=True)
    )


def test_shapes_and_types(config: Config) -> None:
    batch = take(config, 1)[0]
    shapes = {name: (a.shape, a.dtype.name) for name, a in batch._asdict().items()}
    assert shapes == {
        "images": ((4, 32, 32, 3), "uint8"),
        "extent": ((4, 2), "int32"),
        "tokens": ((4, 4, 16), "int32"),
        "lengths": ((4, 4), "int32"),
        "masks": ((4, 4, 8, 8), "uint8"),
        "valid": ((4, 4), "bool"),
        "no_target": ((4, 4), "bool"),
        "level": ((4, 4), "int32"),
    }


@pytest.mark.parametrize("processes", [2, 4])
def test_processes_share_the_global_batches(config: Config, processes: int) -> None:
    """Process p holds rows p, p + n, ... of what one process would hold."""
    whole = take(config, 6)
    for p in range(processes):
        share = take(config, 6, shard=(p, processes))
        for batch, part in zip(whole, share, strict=True):
            assert equal(Batch(*(a[p::processes] for a in batch)), part)


def test_resumes_exactly_at_a_batch(config: Config) -> None:
    whole = take(config, 9)
    for start in (1, 4, 8):
        batches = take(config, 9 - start, start_batch=start)
        assert all(equal(a, b) for a, b in zip(whole[start:], batches, strict=True))
    resumed = take(config, 1, start_batch=5, shard=(1, 2))[0]
    assert equal(Batch(*(a[1::2] for a in whole[5])), resumed)


def test_workers_change_nothing(config: Config) -> None:
    whole = take(config, 7)[2:]
    for workers in (1, 2):
        data = dataclasses.replace(config.data, workers=workers)
        batches = take(dataclasses.replace(config, data=data), 5, start_batch=2)
        assert all(equal(a, b) for a, b in zip(whole, batches, strict=True))


def test_every_epoch_holds_every_record_in_another_order(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    config.train.batch, config.data.flip, config.data.crop = 1, 0.0, 0.0
    batches = take(config, 3 * RECORDS)
    images = [b.images.tobytes() for b in batches]
    epochs = [images[i * RECORDS : (i + 1) * RECORDS] for i in range(3)]
    assert all(len(set(e)) == RECORDS for e in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


def test_epochs_and_seeds_draw_differently(config: Config) -> None:
    config.train.batch = RECORDS
    first, second = take(config, 2)
    config.seed = 4
    other_seed = take(config, 1)[0]

    def of_image(batch: Batch, image: bytes) -> bytes:
        row = [i.tobytes() for i in batch.images].index(image)
        return batch.tokens[row].tobytes()

    config.data.flip = config.data.crop = 0.0
    plain = [take(config, 1, start_batch=i)[0] for i in range(2)]
    image = plain[0].images[0].tobytes()
    assert of_image(plain[0], image) != of_image(plain[1], image)
    assert not equal(first, second) and not equal(first, other_seed)


def test_several_sources_are_mixed(folder: Path, config: Config) -> None:
    config.data.train = (f"{folder}:train", f"{folder}:other")
    config.train.batch, config.data.flip, config.data.crop = RECORDS + 2, 0.0, 0.0
    images = [i.tobytes() for i in take(config, 1)[0].images]
    assert sorted(images.count(i) for i in set(images)) == [1] * 9 + [2] * 2


def test_length_is_the_longest_sentences_bucket(folder: Path, config: Config) -> None:
    tokenizer = run_tokenizer(config)
    split = prepared.open_split(f"{folder}:train")
    texts = [
        x.sent for r in map(split.__getitem__, range(RECORDS)) for x in r.expressions
    ]
    longest = max(len(i) for s in texts for i in tokenizer.ids([s, mirrored(s)])) + 2
    assert longest > max(map(len, tokenizer.ids(texts))) + 2  # "right" was never learnt
    for lengths, expected in [
        ((16, 32), 16),
        ((4, longest, 32), longest),
        ((4, longest - 1, 32), 32),
        ((4, 8), 8),
    ]:
        config.data.lengths = lengths
        assert take(config, 1)[0].tokens.shape == (4, 4, expected)
    assert max(b.lengths.max() for b in take(config, 12)) == 8


def test_long_sentences_have_batches_of_their_own(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the batch's number, whoever reads it and wherever a run starts."""
    monkeypatch.setattr(pipeline, "RARE", 0.5)
    config.data.lengths, config.data.whole_every = tuple(range(4, 33)), 3
    whole = take(config, 7)
    lengths = [batch.tokens.shape[-1] for batch in whole]
    usual, longest = lengths[0], lengths[2]
    assert usual < longest
    assert lengths == [usual, usual, longest] * 2 + [usual]
    for start, shard in ((2, (0, 1)), (4, (1, 2))):
        rest = take(config, 3, start_batch=start, shard=shard)
        for batch, part in zip(whole[start:], rest, strict=False):
            assert equal(Batch(*(a[shard[0] :: shard[1]] for a in batch)), part)
    data = dataclasses.replace(config.data, workers=2)
    read = take(dataclasses.replace(config, data=data), 7, workers=2)
    assert all(equal(a, b) for a, b in zip(whole, read, strict=True))
    # The rows of what is too long are left out, not cut.
    assert (whole[0].lengths[~whole[0].valid] == 2).all()
    everything = dataclasses.replace(config.data, whole_every=1)
    plain = take(dataclasses.replace(config, data=everything), 1)[0]
    assert np.array_equal(whole[0].valid, plain.valid & (plain.lengths <= usual))
    assert whole[0].valid.sum() < plain.valid.sum()


def test_batch_must_divide(config: Config) -> None:
    with pytest.raises(ConfigError, match=r"train\.batch=4 must be a multiple of .* 3"):
        train_batches(config, run_tokenizer(config), shard=(0, 3))


def test_shared_memory_must_hold_what_readers_read_ahead(config: Config) -> None:
    side, grid = config.model.image_size, mask_grid(config.model)
    image = 3 * side**2 + config.data.expressions * grid**2
    check_shared_memory(config, 5, 2, 5 * 13 * image)
    with pytest.raises(ConfigError, match=r"--shm-size=.*data\.workers=0"):
        check_shared_memory(config, 5, 2, 5 * 13 * image - 1)
    check_shared_memory(config, 5, 0, 0)


def test_a_dead_reader_is_told(config: Config) -> None:
    config.data.workers = 1
    batches = train_batches(config, run_tokenizer(config))
    next(batches)
    for reader in multiprocessing.active_children():
        reader.kill()
    with pytest.raises(TrainingError, match="ended with exit code -9: killed"):
        for _ in range(99):
            next(batches)


def test_no_data_is_told(config: Config) -> None:
    tokenizer = run_tokenizer(config)
    config.data.train = ()
    with pytest.raises(DataError, match="names no records"):
        train_batches(config, tokenizer)


def test_missing_tokenizer_and_small_vocabulary_are_told(
    config: Config, folder: Path, tmp_path: Path
) -> None:
    config.model.text.vocab = 520
    with pytest.raises(ConfigError, match=r"model\.text\.vocab=520 is smaller"):
        run_tokenizer(config)
    bare = small_data.write(tmp_path, train=[small_data.scene(0)])
    (bare / prepared.TOKENIZER_FILE).unlink()
    config.data.train = (f"{bare}:train",)
    nothing = data_config(tmp_path)
    nothing.data.train = ()
    with pytest.raises(ConfigError, match=r"data\.train names no split"):
        run_tokenizer(nothing)
    with pytest.raises(DataError, match=r"stores no tokenizer; set data\.tokenizer"):
        run_tokenizer(config)
    config.model.text.vocab, config.data.tokenizer = 600, str(folder)
    assert run_tokenizer(config).vocab_size <= 600


@pytest.mark.parametrize("workers", [0, 1])
def test_bad_records_are_written_down_and_skipped(
    folder: Path, config: Config, tmp_path: Path, workers: int
) -> None:
    config.data.train, config.data.workers = (f"{folder}:bad",), workers
    config.data.max_bad_share = 0.2
    batches = take(config, 6, workdir=tmp_path)  # three epochs
    rows = np.concatenate([b.valid.any(1) for b in batches])
    assert rows.tolist().count(False) == 3
    lines = (tmp_path / "rejected.jsonl").read_text().splitlines()
    assert len(lines) == 1  # told once, whatever the epochs
    entry = json.loads(lines[0])
    assert entry["record"] == "tiny image 4 (4.jpg)"
    assert "truncated" in entry["reason"]
    again = take(config, 6, workdir=tmp_path, start_batch=6)
    assert len(again) == 6
    assert (tmp_path / "rejected.jsonl").read_text().splitlines() == lines
    # A run that was killed while it wrote a line.
    (tmp_path / "rejected.jsonl").write_text(lines[0][:20])
    take(config, 6, workdir=tmp_path)
    assert (tmp_path / "rejected.jsonl").read_text().splitlines() == lines


def test_too_many_bad_records_stop_the_job(
    folder: Path, config: Config, tmp_path: Path
) -> None:
    config.data.train = (f"{folder}:bad",)
    config.data.max_bad_share = 0.12  # 1 of 8 is .125
    with pytest.raises(DataError, match=r"1 of 8 records.*tiny image 4.*truncated"):
        take(config, 6, workdir=tmp_path)
    assert (tmp_path / "rejected.jsonl").exists()


def test_processes_keep_lists_of_their_own(
    folder: Path, config: Config, tmp_path: Path
) -> None:
    config.data.train, config.data.max_bad_share = (f"{folder}:bad",), 0.2
    for p in range(2):
        take(config, 8, workdir=tmp_path, shard=(p, 2))
    names = {p.name for p in tmp_path.iterdir()}
    assert names <= {"rejected.jsonl", "rejected-1.jsonl"} and names
