"""What the builders of raw data share: read a folder, write records, count."""

import itertools
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds
from tqdm import tqdm

from unires_jax.data import sentence_length
from unires_jax.data.catalogue import BENCHMARKS, Benchmark, Counts
from unires_jax.data.records import Record, decode_record_image
from unires_jax.data.stored import dataset_info, to_example
from unires_jax.errors import DataError, printable
from unires_jax.files import local
from unires_jax.pixels import orientation as exif
from unires_jax.prepare import build_summary
from unires_jax.prepare.notes import Notes
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
    What was read, counted and passed over is in build_summary.json within it.
    """

    VERSION = tfds.core.Version("1.0.0")

    def __init__(
        self,
        *,
        raw: str = "",  # folder of the raw files, in any form (docs/data.md)
        images: str = "",  # folder of the pictures; "": found in raw or beside it
        follow_links: bool = False,  # whether links may lead out of that folder
        orientation: str = "stored",  # masks of pictures as stored or upright (EXIF)
        max_bad_share: float = MAX_BAD_SHARE,  # share of entries it may skip
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.raw, self.images, self.share = raw, images, max_bad_share
        self.follow_links = follow_links
        self._rejects = Rejects()
        self._done = self._total = 0  # images
        self.masks = exif.checked(orientation)

    @property
    def benchmark(self) -> Benchmark:
        """Its row of the catalogue."""
        return BENCHMARKS[
            self.builder_config.name if self.builder_config else self.name
        ]

    @property
    def share_done(self) -> float:
        """The share of its images that were read so far."""
        return self._done / max(self._total, 1)

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
        raw = Raw(
            *(local(self.raw), Spool(self._spool.name), self.images, self.follow_links)
        )
        source = self.read(raw, self._rejects)
        splits = by_split(source.referents)
        self._total = sum(len({r.image.image_id for r in s}) for s in splits.values())
        if not splits:
            raise DataError("holds no referent that can be used", place=self.raw)
        print(f"{printable(self.raw)}: the {source.form} form")
        self._summary: dict[str, Any] = {
            "form": source.form,
            "files": build_summary.files(source.files),
            "splits": {},
        }
        _note_shared(splits, self._rejects.notes)
        return {
            split: self._generate_examples(split, splits[split], source.picture)
            for split in sorted(splits)
        }

    def _generate_examples(
        self, split: str, referents: list[Referent], picture: Callable[[str], bytes]
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        name = self.benchmark.name
        images = kept = expressions = turned = long = 0
        records = to_records(referents, picture, name, self._rejects, self.masks)
        total = len({r.image.image_id for r in referents})
        for record in tqdm(records, split, total, unit=" images"):
            self._done += 1
            if not self._is_whole(record, split):
                continue
            images, expressions = images + 1, expressions + len(record.expressions)
            kept += len({x.ref_id for x in record.expressions})
            turned += exif.stated(record.image) != exif.UPRIGHT
            long += sentence_length.count_cut(record)
            yield record.image_id, to_example(record)
        if not images:
            raise DataError(
                f"none of its {total} images can be used; {self._rejects.summary()}",
                place=f"{name} {split}",
            )
        counts = {"images": images, "referents": kept, "expressions": expressions}
        self._summary["splits"][split] = counts
        words = ", ".join(f"{count} {noun}" for noun, count in counts.items())
        print(f"{name} {split}: {words}. {self._rejects.summary()}".rstrip())
        if turned:
            print(f"{name} {split}: {exif.told(turned)}")
        if long:
            print(f"{name} {split}: {sentence_length.told(long)}")
        published = self.benchmark.counts.get(split, Counts()).referents
        if published not in (None, kept):
            text = f"{kept:,} referents, published are {published:,}"
            self._rejects.notes.add(text, f"{name} {split}")

    def _download_and_prepare(self, *args: Any, **kwargs: Any) -> None:
        try:
            super()._download_and_prepare(*args, **kwargs)
        finally:
            self._rejects.notes.print()  # they may say why a build stopped
        build_summary.write(self.data_dir, self._summary, self._rejects)

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


def _note_shared(splits: Mapping[str, Sequence[Referent]], notes: Notes) -> None:
    """Note the images that two splits share, as those of google do."""
    images = {s: {r.image.image_id for r in group} for s, group in splits.items()}
    for a, b in itertools.combinations(images, 2):
        if shared := images[a] & images[b]:
            text = f"images of {a} are in {b} too, e.g. {min(shared)}"
            notes.add(text, count=len(shared))
