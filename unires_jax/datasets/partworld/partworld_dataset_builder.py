"""PartWorld: drawn scenes of objects and parts with checked referring expressions."""

from collections.abc import Iterator
from typing import Any

import tensorflow_datasets as tfds
from tqdm import tqdm

from unires_jax import partworld
from unires_jax.data.stored import dataset_info, to_example
from unires_jax.errors import DataError


class Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """`scenes` of train, `eval_scenes` of every other split; nothing is downloaded."""

    VERSION = tfds.core.Version("1.0.0")
    tokenizer_vocab = 1024

    def __init__(
        self,
        *,
        scenes: int = 8000,  # of train
        eval_scenes: int = 250,  # of every other split
        seed: int = 0,  # another draws other scenes
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not (scenes and eval_scenes):
            raise DataError("scenes and eval_scenes: expected at least 1 of each")
        self._scenes = dict.fromkeys(partworld.SPLITS, eval_scenes) | {"train": scenes}
        self._seed = seed

    def _info(self) -> tfds.core.DatasetInfo:
        return dataset_info(self, __doc__)

    def _split_generators(
        self, dl_manager: tfds.download.DownloadManager
    ) -> dict[str, Iterator[tuple[int, dict[str, Any]]]]:
        return {split: self._generate_examples(split) for split in self._scenes}

    def _generate_examples(self, split: str) -> Iterator[tuple[int, dict[str, Any]]]:
        count = self._scenes[split]
        records = partworld.draw_records(self._seed, split, count)
        for index, record in enumerate(tqdm(records, split, count, unit=" scenes")):
            yield index, to_example(record)
