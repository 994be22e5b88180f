"""Batches for training and pictures for evaluation, read with grain."""

import dataclasses
import math
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any

import grain
import numpy as np

from unires_jax.config import Config, preprocessing
from unires_jax.data import augment, prepared, readers, summary
from unires_jax.data.batch import Batch
from unires_jax.data.leakage import LeakFreeSplit, without_evaluation
from unires_jax.data.prepared import PreparedSplit
from unires_jax.data.records import Record
from unires_jax.data.sampling import Rejected, Sampler
from unires_jax.data.tokenizer import Tokenizer, load_tokenizer
from unires_jax.data.unusable import UnusableRecords
from unires_jax.errors import ConfigError, DataError


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
    return without_evaluation(config, _whole_splits(config))


def _whole_splits(config: Config) -> list[PreparedSplit]:
    data = config.data
    return [prepared.open_split(s, data.dir, data.cache) for s in data.train]


def run_tokenizer(config: Config) -> Tokenizer:
    """The run's tokenizer: `config.data.tokenizer`, else the first data set's own.

    Raises DataError if there is none, ConfigError if the model's vocabulary is smaller.
    """
    path: str | os.PathLike[str] | None = config.data.tokenizer
    if not path:
        if not config.data.train:
            raise ConfigError('data.train names no split, as ("partworld:train",) does')
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


RARE = (
    0.01  # share of the different sentences for which few batches are made long; ours
)


def training_lengths(config: Config, tokenizer: Tokenizer) -> tuple[int, ...]:
    """The token length l of each of `data.whole_every` batches, again and again.

    The last is the smallest bucket that fits all sentences, the others are the smallest
    that fits all but the `RARE` longest. So the step is compiled for two lengths at
    most, and as a batch's number decides, shapes are equal on all processes. They are
    chosen from the sentences of up to `summary.SAMPLE` records of every split, as
    written and mirrored; a longer sentence elsewhere is cut and counted.
    """
    splits, lengths = _whole_splits(config), config.data.lengths
    texts = {text for split in splits for text in summary.sentences(split)}
    sentences = [s for s in texts if s.strip()]
    sentences += [augment.mirrored(s) for s in sentences]
    counts = sorted(len(ids) + tokenizer.around for ids in tokenizer.ids(sentences))

    def bucket(rank: int) -> int:
        longest = counts[rank] if counts else 0
        return next((n for n in lengths if n >= longest), lengths[-1])

    usual = bucket(math.ceil((1 - RARE) * len(counts)) - 1)
    return (*(usual,) * (config.data.whole_every - 1), bucket(-1))


@dataclasses.dataclass(frozen=True)
class _Batcher:
    """Makes batches of records and seeds, each of the length that its number has."""

    config: Config
    tokenizer: Tokenizer
    lengths: tuple[int, ...]  # of `training_lengths`
    start: int  # number of the first global batch

    def __call__(
        self, index: int, rows: Sequence[tuple[Record, int]]
    ) -> tuple[Batch, list[Rejected]]:
        length = self.lengths[(self.start + index) % len(self.lengths)]
        # What is longer has its turn in another batch.
        cuts = length == self.lengths[-1]
        return Sampler(self.config, self.tokenizer, length, cuts)(rows)


def train_batches(
    config: Config,
    tokenizer: Tokenizer,
    *,
    start_batch: int = 0,
    shard: tuple[int, int] = (0, 1),
    workdir: str | os.PathLike[str] | None = None,
    workers: int | None = None,
) -> "TrainBatches":
    """Endless training batches from global batch number `start_batch` on.

    Global batch N holds the draws N * batch to (N + 1) * batch - 1 of one shuffled,
    repeated order that depends on the seed and the data alone; process p of n, whose
    `shard` is (p, n), gets every n-th of them, starting at the p-th. So content does
    not depend on the number of processes or workers, and a resumed run continues with
    what the unbroken run would have seen. With `workdir`, rejected records are written
    there. `workers` reads in so many processes instead of `data.workers`, of which -1
    is one here: what the devices ask is not known.

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
    batcher = _Batcher(
        config, tokenizer, training_lengths(config, tokenizer), start_batch
    )
    first = start_batch * config.train.batch + index
    # Sliced last: earlier, the draws would depend on the number of processes.
    dataset = (
        grain.MapDataset.source(source)
        .seed(config.seed)
        .shuffle()
        .repeat()
        .random_map(_with_seed)[first::count]
        .batch(config.train.batch // count, drop_remainder=True, batch_fn=list)
        .map_with_index(batcher)
    )
    unusable = UnusableRecords(config, len(source), workdir, shard)
    if workers is None:
        workers = readers.reader_count(config.data.workers, 1, 0.0)
    readers.check_shared_memory(config, config.train.batch // count, workers)
    batches = _run(_iterate(dataset, workers), workers, unusable)
    return TrainBatches(batches, unusable, batcher.lengths)


class TrainBatches(Iterator[Batch]):
    """Endless training batches; `close` ends their readers."""

    def __init__(
        self,
        batches: Generator[Batch, None, None],
        unusable: UnusableRecords,
        lengths: tuple[int, ...],
    ) -> None:
        self._batches, self._unusable = batches, unusable
        self.lengths = lengths  # of the sentences of batches in turn, tokens

    def __next__(self) -> Batch:
        return next(self._batches)

    def close(self) -> None:
        """End the readers. No batch comes after it."""
        self._batches.close()

    def agree(self, gather: Callable[[bytes], list[bytes]]) -> None:
        """Hold `data.max_bad_share` against what all processes of the run have met.

        `gather` brings everyone's message to everyone. All processes must call it after
        the same batch, and all raise the same DataError.
        """
        self._unusable.agree(gather)


def _iterate(dataset: grain.MapDataset, workers: int) -> Any:
    # Elements are whole batches: a deep buffer is memory, not speed.
    options = grain.ReadOptions(num_threads=1, prefetch_buffer_size=2)
    batches = dataset.to_iter_dataset(options)
    if workers:
        batches = batches.mp_prefetch(
            grain.MultiprocessingOptions(num_workers=workers, per_worker_buffer_size=2),
            worker_init_fn=readers.begin,
        )
    return iter(batches)


def _run(
    iterator: Any, workers: int, unusable: UnusableRecords
) -> Generator[Batch, None, None]:
    try:
        for batch, rejected in readers.started(iterator, workers):
            for name, reason in rejected:
                unusable.add(name, reason)
            yield batch
    finally:
        iterator.close()


def _with_seed(record: Record, rng: np.random.Generator) -> tuple[Record, int]:
    return record, int(rng.integers(2**63))
