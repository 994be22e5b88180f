"""PartWorld as a TFDS data set: drawn here, nothing is downloaded."""

import functools
import multiprocessing
import os
from collections.abc import Iterator
from typing import Any

import tensorflow_datasets as tfds
from tqdm import tqdm

from unires_jax.data import partworld, records


class Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Options: `scenes` of train, `eval_scenes` of every other split, `seed`."""

    VERSION = tfds.core.Version("1.0.0")
    tokenizer_vocab = 1024

    def __init__(
        self,
        *,
        scenes: int = 8000,
        eval_scenes: int = 250,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._scenes = {s: eval_scenes for s in partworld.SPLITS} | {"train": scenes}
        self._seed = seed

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=__doc__,
            features=records.features(),
            disable_shuffling=True,  # the order of indices; the pipeline shuffles
        )

    def _split_generators(
        self, dl_manager: tfds.download.DownloadManager
    ) -> dict[str, Iterator[tuple[int, dict[str, Any]]]]:
        return {split: self._generate_examples(split) for split in partworld.SPLITS}

    def _generate_examples(self, split: str) -> Iterator[tuple[int, dict[str, Any]]]:
        count = self._scenes[split]
        draw = functools.partial(partworld.draw_record, self._seed, split)
        for index, record in enumerate(tqdm(_in_order(draw, count), split, count)):
            yield index, records.to_example(record)


def _in_order(draw: Any, count: int) -> Iterator[records.Record]:
    """Draw on every core; results come in order, whatever the number of processes."""
    workers = os.cpu_count() or 1
    if workers == 1 or count < 100:
        yield from map(draw, range(count))
        return
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        yield from pool.imap(draw, range(count), chunksize=16)
