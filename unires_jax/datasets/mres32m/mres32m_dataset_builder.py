"""MRES-style data of one's own: MRES JSONL to records, sharded and resumable."""

import os
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from unires_jax.data.prepared import PARTIAL
from unires_jax.data.stored import dataset_info
from unires_jax.files import local
from unires_jax.pixels import orientation as exif
from unires_jax.prepare import beam as on_beam
from unires_jax.prepare import tfds_folder
from unires_jax.prepare import workers as in_processes
from unires_jax.prepare.mres.jsonl import find_files
from unires_jax.prepare.mres.plan import plan
from unires_jax.prepare.notes import Notes
from unires_jax.prepare.shards import Ledger


class Builder(tfds.core.ShardBasedBuilder, skip_registration=True):
    """MRES JSONL (docs/mres_jsonl.md), converted from `--raw`.

    The names of the files say the splits: train-00000.jsonl.gz, pets-val.jsonl.
    """

    VERSION = tfds.core.Version("1.0.0")
    how = ("workers", "beam")  # options that change the work, not its result
    kept = "its finished shards are kept"  # of a build that stops
    written_bytes, share_done = 0, 0.0  # of a build that stops

    def __init__(
        self,
        *,
        raw: str = "",  # a folder of .jsonl files, or a pattern: 'raw/*.jsonl.gz'
        images: str = "",  # folder that picture names are below; "": their file's own
        follow_links: bool = False,  # whether links may lead out of these folders
        split: str = "",  # puts all files into this one, whatever their names
        shards: int = 0,  # about how many a split gets; 0: one for 16 MB of text
        orientation: str = "stored",  # masks of pictures as stored or upright (EXIF)
        max_bad_share: float = 0.001,  # share of lines it may skip
        vocab: int = 0,  # tokens of a tokenizer trained on its train split; 0: none
        workers: int = os.cpu_count() or 1,  # processes; 0: this one
        beam: str = "",  # options of Apache Beam, which name the runner
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._raw, self._split, self._shards = raw, split, shards
        self._masks = exif.checked(orientation)
        self._images = str(local(images)) if images else ""
        self._follow_links = follow_links
        self.tokenizer_vocab = vocab
        self._share, self._workers, self._beam = max_bad_share, workers, beam

    def _info(self) -> tfds.core.DatasetInfo:
        return dataset_info(self, __doc__)

    def download_and_prepare(self, **_: Any) -> None:
        """Write what is not written yet. TFDS's own way starts anew after a death."""
        notes = Notes()
        files = find_files(self._raw, self._split, notes)
        runs = plan(
            *(files, self._shards, self._masks),
            images=self._images,
            follow_links=self._follow_links,
        )
        work = [tfds_folder.Conversion(lines) for lines in runs]
        ledger = Ledger(Path(f"{self.data_path}{PARTIAL}"), work, self._share)
        with ledger.locked():
            try:
                if self._beam:
                    on_beam.run(ledger, self._beam.split())
                else:
                    in_processes.run(ledger, self._workers)
                tfds_folder.publish(ledger, self, notes)
            except Exception:
                self.written_bytes, self.share_done = ledger.progress()
                raise

    def _shard_iterators_per_split(self, dl_manager: Any) -> Any:
        raise NotImplementedError("download_and_prepare writes the shards itself")
