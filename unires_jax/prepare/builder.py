"""What the builders of raw data share: read a folder, write records, count."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds
from tqdm import tqdm

from unires_jax.data import sentence_length
from unires_jax.data.catalogue import BENCHMARKS, Benchmark
from unires_jax.data.records import Record, decode_record_image
from unires_jax.data.stored import dataset_info, to_example
from unires_jax.errors import DataError
from unires_jax.pixels import orientation as exif
from unires_jax.prepare.rejects import MAX_BAD_SHARE, REJECTED, Rejects
from unires_jax.prepare.sources import recognise
from unires_jax.prepare.sources.form import Raw, Source
from unires_jax.prepare.sources.grouping import by_split, to_records
from unires_jax.prepare.sources.pictures import SPOOL, Spool
from unires_jax.prepare.sources.referent import Referent


class RawBuilder(
    tfds.core.GeneratorBasedBuilder,
    skip_registration=True,  # type: ignore[call-arg]
):
    """Converts the folder `raw` to the data set that the catalogue has by its name.

    What cannot be used is written to rejected.jsonl beside the versioned folder and
    skipped up to `max_bad_share`; beyond it nothing is written and DataError raised.
    """

    VERSION = tfds.core.Version("1.0.0")

    def __init__(
        self,
        *,
        raw: str = "",  # folder of the raw files, in any form (docs/data.md)
        images: str = "",  # folder of the pictures; "": found in raw or beside it
        orientation: str = "stored",  # masks of pictures as stored or upright (EXIF)
        max_bad_share: float = MAX_BAD_SHARE,  # share of entries it may skip
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.raw, self.images, self.share = raw, images, max_bad_share
        self.masks = exif.checked(orientation)

    @property
    def benchmark(self) -> Benchmark:
        """Its row of the catalogue."""
        return BENCHMARKS[
            self.builder_config.name if self.builder_config else self.name
        ]

    def read(self, raw: Raw, rejects: Rejects) -> Source:
        """The referents of all splits and where their pictures are."""
        return recognise.read(raw, self.benchmark, rejects)

    def _info(self) -> tfds.core.DatasetInfo:
        return dataset_info(self, type(self).__doc__)

    def _split_generators(
        self, dl_manager: tfds.download.DownloadManager
    ) -> dict[str, Iterator[tuple[int, dict[str, Any]]]]:
        if not self.raw:
            raise DataError("name the folder of raw files with --raw", place=self.name)
        beside = Path(self.data_path).parent
        beside.mkdir(parents=True, exist_ok=True)
        self._rejects = Rejects(beside / REJECTED, self.share)
        self._spool = tempfile.TemporaryDirectory(dir=beside, prefix=SPOOL)
        raw = Raw(Path(self.raw), Spool(self._spool.name), self.images)
        source = self.read(raw, self._rejects)
        splits = by_split(source.referents)
        if not splits:
            raise DataError("holds no referent that can be used", place=self.raw)
        print(f"{self.raw}: the {source.form} form")
        return {
            split: self._generate_examples(split, splits[split], source.picture)
            for split in sorted(splits)
        }

    def _generate_examples(
        self, split: str, referents: list[Referent], picture: Callable[[str], bytes]
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        name = self.benchmark.name
        images = expressions = turned = long = 0
        records = to_records(referents, picture, name, self._rejects, self.masks)
        total = len({r.image.image_id for r in referents})
        for record in tqdm(records, split, total, unit=" images"):
            if not self._is_whole(record, split):
                continue
            images, expressions = images + 1, expressions + len(record.expressions)
            turned += exif.stated(record.image) != exif.UPRIGHT
            long += sentence_length.count_cut(record)
            yield record.image_id, to_example(record)
        if not images:
            raise DataError(
                f"none of its {total} images can be used; {self._rejects.summary()}",
                place=f"{name} {split}",
            )
        counts = f"{images} images, {len(referents)} referents, {expressions}"
        summary = f"{counts} expressions. {self._rejects.summary()}".rstrip()
        print(f"{name} {split}: {summary}")
        if turned:
            print(f"{name} {split}: {exif.told(turned)}")
        if long:
            print(f"{name} {split}: {sentence_length.told(long)}")

    def _is_whole(self, record: Record, split: str) -> bool:
        """Whether the picture can be decoded; if not, its referents are rejected."""
        try:
            decode_record_image(record)
        except DataError as error:
            for ref_id in dict.fromkeys(x.ref_id for x in record.expressions):
                place = f"{split} image {record.image_id} ref {ref_id}"
                self._rejects.add(f"{place} ({record.filename})", error)
            return False
        return True
