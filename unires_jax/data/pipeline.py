"""Batches for training and pictures for evaluation, read with grain."""

import json
import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import grain
import numpy as np

from unires_jax.config import Config, preprocessing
from unires_jax.data import augment, prepared
from unires_jax.data.leakage import Kept, without_evaluation
from unires_jax.data.prepared import PreparedSplit
from unires_jax.data.records import Record
from unires_jax.data.sampling import Batch, Sampler
from unires_jax.data.tokenizer import Tokenizer, load_tokenizer
from unires_jax.errors import ConfigError, DataError

REJECTED = "rejected.jsonl"
LENGTH_SAMPLE = 2000  # records looked at to choose the training length; ours

log = logging.getLogger(__name__)


class Concatenated:
    """Several splits as one random-access source."""

    def __init__(self, splits: Sequence[PreparedSplit | Kept]) -> None:
        self._splits = list(splits)
        self._starts = np.cumsum([0, *(len(s) for s in splits)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, index: int) -> Record:
        split = int(np.searchsorted(self._starts, index, side="right")) - 1
        return self._splits[split][int(index - self._starts[split])]


def open_splits(config: Config) -> list[PreparedSplit | Kept]:
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
    written and mirrored; a longer sentence elsewhere is cut, counted and told.
    """
    source = Concatenated(open_splits(config))
    step = max(1, -(-len(source) // LENGTH_SAMPLE))
    written = {
        x.sent for i in range(0, len(source), step) for x in source[i].expressions
    }
    sentences = [s for s in written if s.strip()]
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
    process_index: int = 0,
    process_count: int = 1,
    workdir: str | Path | None = None,
) -> Iterator[Batch]:
    """Endless training batches from global batch number `start_batch` on.

    Global batch N holds the draws N * batch to (N + 1) * batch - 1 of one shuffled,
    repeated order that depends on the seed and the data alone; process p of n gets
    every n-th of them, starting at the p-th. So content does not depend on the number
    of processes or workers, and a resumed run continues with what the unbroken run
    would have seen. With `workdir`, rejected records are written there.

    Raises DataError when more than `data.max_bad_share` of the data is unusable, or
    there is none; ConfigError if the processes do not divide the batch.
    """
    share, rest = divmod(config.train.batch, process_count)
    if rest:
        raise ConfigError(
            f"train.batch={config.train.batch} must be a multiple of the "
            f"{process_count} processes"
        )
    splits = open_splits(config)
    source = Concatenated(splits)
    for split in splits:
        if isinstance(split, Kept) and not process_index:
            print(split.told())
    if not len(source):
        raise DataError(
            f"data.train={config.data.train} names no records; expected at least one "
            "<data set>:<split>, e.g. partworld:train"
        )
    sampler = Sampler(config, tokenizer, training_length(config, tokenizer))
    first = start_batch * config.train.batch + process_index
    # Sliced last: earlier, the draws would depend on the number of processes.
    dataset = (
        grain.MapDataset.source(source)
        .seed(config.seed)
        .shuffle()
        .repeat()
        .random_map(_with_seed)[first::process_count]
        .batch(share, drop_remainder=True, batch_fn=sampler)
    )
    ledger = Rejects(config, len(source), workdir, process_index)
    return _run(_iterate(dataset, config.data.workers), ledger)


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
    """A reader ends with its parent, however that ends, and on no signal before.

    Else it outlives a killed trainer, or dies of a SIGTERM to the group before the
    trainer has saved.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def follow() -> None:
        if parent:
            parent.join()
            os._exit(0)

    threading.Thread(target=follow, daemon=True).start()


def _run(iterator: Any, ledger: "Rejects") -> Iterator[Batch]:
    try:
        for batch, rejected in iterator:
            for name, reason in rejected:
                ledger.add(name, reason)
            yield batch
    finally:
        iterator.close()


def _with_seed(record: Record, rng: np.random.Generator) -> tuple[Record, int]:
    return record, int(rng.integers(2**63))


class Rejects:
    """Counts distinct unusable records, writes them down, and stops at the limit."""

    def __init__(
        self, config: Config, total: int, workdir: str | Path | None, process: int = 0
    ) -> None:
        """Go on from the file of an earlier run in `workdir`, if there is one."""
        name = REJECTED if process == 0 else f"rejected-{process}.jsonl"
        self._path = Path(workdir) / name if workdir else None
        self._share, self._total = config.data.max_bad_share, total
        self._seen: set[str] = set()
        if self._path and self._path.exists():
            lines = self._path.read_text().splitlines()
            self._seen = {json.loads(line)["record"] for line in lines}

    def add(self, name: str, reason: str) -> None:
        """Note an unusable record.

        Raises DataError beyond `data.max_bad_share` of all records.
        """
        if name not in self._seen:
            self._seen.add(name)
            log.warning("skipped %s: %s", name, reason)
            self._write({"record": name, "reason": reason})
        if len(self._seen) > self._share * self._total:
            raise DataError(
                f"{len(self._seen)} of {self._total} records are unusable, more than "
                f"data.max_bad_share={self._share} allows (list: "
                f"{self._path or 'in the log'}). The last: {name}: {reason}. Mend the "
                "data or raise data.max_bad_share"
            )

    def _write(self, entry: dict[str, str]) -> None:
        if self._path:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a") as file:
                file.write(json.dumps(entry) + "\n")
