"""MRES-style data of one's own: MRES JSONL to records, sharded and resumable."""

import os
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from unires_jax.data import beam as beam_jobs
from unires_jax.data import parallel, records, sharded
from unires_jax.data.sources import mres_jsonl, mres_plan


class Builder(tfds.core.ShardBasedBuilder, skip_registration=True):
    """Splits are named by the files: train-00000.jsonl.gz, val.jsonl. Nothing is
    downloaded: MRES-32M was never released; `raw` is a folder or pattern of files.
    """

    VERSION = tfds.core.Version("1.0.0")
    how = ("workers", "beam")  # options that change the work, not its result

    def __init__(
        self,
        *,
        raw: str = "",
        split: str = "",
        shards: int = 0,
        max_bad_share: float = 0.001,
        workers: int = os.cpu_count() or 1,
        beam: str = "",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._raw, self._split, self._shards = raw, split, shards
        self._share, self._workers, self._beam = max_bad_share, workers, beam

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=__doc__,
            features=records.features(),
            disable_shuffling=True,  # in the order of the lines; the pipeline shuffles
        )

    def download_and_prepare(self, **_: Any) -> None:
        """Write what is not written yet. TFDS's own way starts anew after a death."""
        files = mres_jsonl.find_files(self._raw, self._split)
        plan = mres_plan.plan(files, self._shards)
        allowed = int(self._share * sum(lines.count for lines in plan))
        folder = Path(f"{self.data_path}.partial")
        shards = [sharded.Shard(lines, str(folder), i) for i, lines in enumerate(plan)]
        with sharded.locked(folder):
            if self._beam:
                beam_jobs.convert(shards, folder, allowed, self._beam.split())
            else:
                parallel.convert(shards, folder, allowed, self._workers)
            sharded.finish(shards, self, folder)

    def _shard_iterators_per_split(self, dl_manager: Any) -> Any:
        raise NotImplementedError("download_and_prepare writes the shards itself")
