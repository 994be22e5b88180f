"""Batches for training and pictures for evaluation, read with grain."""

import os
import re
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import grain
import numpy as np

from unires_jax import process
from unires_jax.config import Config, mask_grid, preprocessing
from unires_jax.data import augment, prepared
from unires_jax.data.batch import Batch
from unires_jax.data.leakage import LeakFreeSplit, without_evaluation
from unires_jax.data.prepared import PreparedSplit
from unires_jax.data.records import Record
from unires_jax.data.sampling import Sampler
from unires_jax.data.tokenizer import Tokenizer, load_tokenizer
from unires_jax.data.unusable import UnusableRecords
from unires_jax.errors import ConfigError, DataError, TrainingError

SHARED_MEMORY = "/dev/shm"  # where readers leave their batches
SHARED_MEMORY_REMEDY = (
    "give the container more (docker run --shm-size=8g; Kubernetes: a volume of medium "
    "Memory at /dev/shm), or set --config.data.workers=0"
)
BATCHES_A_READER = 6  # read ahead with grain's options below; measured
LENGTH_SAMPLE = 2000  # records looked at to choose the training length; ours


class Concatenated:
    """Several splits as one random-access source."""

    def __init__(self, splits: Sequence[PreparedSplit | LeakFreeSplit]) -> None:
        self._splits = list(splits)
        self._starts = np.cumsum([0, *(len(s) for s in splits)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, index: int) -> Record:
        split = int(np.searchsorted(self._starts, index, side="right")) - 1
        return self._splits[split][int(index - self._starts[split])]


def open_splits(config: Config) -> list[PreparedSplit | LeakFreeSplit]:
    """The training splits of `config.data.train`, less the images of `data.exclude`."""
    splits = [prepared.open_split(s, config.data.dir) for s in config.data.train]
    return without_evaluation(config, splits)


def run_tokenizer(config: Config) -> Tokenizer:
    """The run's tokenizer: `config.data.tokenizer`, else the first data set's own.

    Raises DataError if there is none, ConfigError if the model's vocabulary is smaller.
    """
    path: str | Path | None = config.data.tokenizer
    if not path:
        path = open_splits(config)[0].tokenizer
    if path is None:
        raise DataError(
            f"{config.data.train[0]} stores no tokenizer; set data.tokenizer "
            "(unires show: --tokenizer) to a tokenizer.json, its folder or a hub id"
        )
    tokenizer = load_tokenizer(path, preprocessing(config.model).text)
    if tokenizer.vocab_size > config.model.text.vocab:
        raise ConfigError(
            f"model.text.vocab={config.model.text.vocab} is smaller than the "
            f"tokenizer's {tokenizer.vocab_size} tokens ({path})"
        )
    return tokenizer


def training_length(config: Config, tokenizer: Tokenizer) -> int:
    """The one token length l of a training run: the smallest bucket that fits.

    One length keeps shapes equal on all processes and the step compiled once. It is
    chosen from up to `LENGTH_SAMPLE` records spread evenly over the data, sentences as
    written and mirrored; a longer sentence elsewhere is cut and counted.
    """
    source = Concatenated(open_splits(config))
    step = max(1, -(-len(source) // LENGTH_SAMPLE))
    texts = {x.sent for i in range(0, len(source), step) for x in source[i].expressions}
    sentences = [s for s in texts if s.strip()]
    sentences += [augment.mirrored(s) for s in sentences]
    longest = max((len(ids) for ids in tokenizer.ids(sentences)), default=0)
    longest += tokenizer.around
    lengths = config.data.lengths
    return next((n for n in lengths if n >= longest), lengths[-1])


def train_batches(
    config: Config,
    tokenizer: Tokenizer,
    *,
    start_batch: int = 0,
    shard: tuple[int, int] = (0, 1),
    workdir: str | Path | None = None,
) -> Iterator[Batch]:
    """Endless training batches from global batch number `start_batch` on.

    Global batch N holds the draws N * batch to (N + 1) * batch - 1 of one shuffled,
    repeated order that depends on the seed and the data alone; process p of n, whose
    `shard` is (p, n), gets every n-th of them, starting at the p-th. So content does
    not depend on the number of processes or workers, and a resumed run continues with
    what the unbroken run would have seen. With `workdir`, rejected records are written
    there.

    Raises DataError when more than `data.max_bad_share` of the data is unusable, or
    there is none; ConfigError if the processes do not divide the batch, or the readers'
    batches do not fit into the shared memory; TrainingError if a reader ended.
    """
    index, count = shard
    if config.train.batch % count:
        raise ConfigError(
            f"train.batch={config.train.batch} must be a multiple of the "
            f"{count} processes"
        )
    check_shared_memory(config, config.train.batch // count, _free_shared_memory())
    splits = open_splits(config)
    source = Concatenated(splits)
    for split in splits:
        if isinstance(split, LeakFreeSplit) and not index:
            print(split.summary())
    if not len(source):
        raise DataError(
            f"data.train={config.data.train} names no records; expected at least one "
            "<data set>:<split>, e.g. partworld:train"
        )
    sampler = Sampler(config, tokenizer, training_length(config, tokenizer))
    first = start_batch * config.train.batch + index
    # Sliced last: earlier, the draws would depend on the number of processes.
    dataset = (
        grain.MapDataset.source(source)
        .seed(config.seed)
        .shuffle()
        .repeat()
        .random_map(_with_seed)[first::count]
        .batch(config.train.batch // count, drop_remainder=True, batch_fn=sampler)
    )
    unusable = UnusableRecords(config, len(source), workdir, index)
    return _run(_iterate(dataset, config.data.workers), unusable)


def _iterate(dataset: grain.MapDataset, workers: int) -> Any:
    # Elements are whole batches: a deep buffer is memory, not speed.
    options = grain.ReadOptions(num_threads=1, prefetch_buffer_size=2)
    batches = dataset.to_iter_dataset(options)
    if workers:
        batches = batches.mp_prefetch(
            grain.MultiprocessingOptions(num_workers=workers, per_worker_buffer_size=2),
            worker_init_fn=_start_reader,
        )
    return iter(batches)


def _start_reader(index: int, count: int) -> None:
    """A reader ends with the trainer, but on no signal before the trainer has saved."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    process.end_with_parent(0)


def _run(iterator: Any, unusable: UnusableRecords) -> Iterator[Batch]:
    try:
        for batch, rejected in iterator:
            for name, reason in rejected:
                unusable.add(name, reason)
            yield batch
    except RuntimeError as error:  # grain's for a reader that is gone
        if death := re.search(
            r"terminated unexpectedly.*exit code (-?\d+)", str(error)
        ):
            raise TrainingError(_reader_ended(int(death[1]))) from error
        raise
    finally:
        iterator.close()


def _reader_ended(code: int) -> str:
    """Why, as far as the exit code of a reader tells it, and the remedy."""
    causes = {
        -signal.SIGBUS: f"{SHARED_MEMORY} is full; {SHARED_MEMORY_REMEDY}",
        -signal.SIGKILL: "killed, most likely out of memory; lower "
        "--config.data.workers, or give the job more memory",
    }
    cause = causes.get(code, "what it said stands above")
    return f"a reader process of the data ended with exit code {code}: {cause}"


def check_shared_memory(config: Config, images: int, free: int) -> None:
    """Raise ConfigError unless the readers' batches of `images` fit.

    `free`: bytes of shared memory. Too little kills a reader when it first runs ahead.
    """
    side, grid = config.model.image_size, mask_grid(config.model)
    batch = images * (3 * side**2 + config.data.expressions * grid**2)
    need = batch * (BATCHES_A_READER * config.data.workers + 1)
    if config.data.workers and need > free:
        raise ConfigError(
            f"data.workers={config.data.workers}: reader processes keep up to "
            f"{need / 2**20:.0f} MiB of batches in {SHARED_MEMORY}, which has "
            f"{free / 2**20:.0f} MiB free; {SHARED_MEMORY_REMEDY}"
        )


def _free_shared_memory() -> int:
    """In bytes; endless where a system has it elsewhere."""
    if not Path(SHARED_MEMORY).is_dir():
        return sys.maxsize
    state = os.statvfs(SHARED_MEMORY)
    return state.f_bavail * state.f_frsize


def _with_seed(record: Record, rng: np.random.Generator) -> tuple[Record, int]:
    return record, int(rng.integers(2**63))
