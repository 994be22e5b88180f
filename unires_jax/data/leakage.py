"""No image of an evaluation split in a mixture or in pre-training: dropped by COCO id.

COCO's train images hold those of RefCOCO's val and test, and every benchmark cuts its
own splits from them. A fine-tune on one benchmark uses its official train split as it
is (`data.exclude` empty). Records without a COCO id cannot be compared and are kept.
"""

from collections.abc import Sequence

import numpy as np

from unires_jax.config import Config
from unires_jax.data import prepared
from unires_jax.data.catalogue import BENCHMARKS
from unires_jax.data.prepared import PreparedSplit
from unires_jax.data.records import Record
from unires_jax.data.summary import coco_ids
from unires_jax.errors import DataError
from unires_jax.files import Location


def _evaluation_specs(google: bool) -> tuple[str, ...]:
    rows = (row for row in BENCHMARKS.values() if (row.split_by == "google") == google)
    return tuple(spec for row in rows for spec in row.evaluation_specs())


# What no mixture and no pre-training may have seen.
EVALUATION = _evaluation_specs(google=False)
# Their train and evaluation splits share images: dropped too with data.exclude_google.
GOOGLE = _evaluation_specs(google=True)


class LeakFreeSplit:
    """A split without the images that `excluded` splits hold; reads as the split does.

    `dropped` records were left out, `unknown` ones have no COCO id and stayed.
    """

    def __init__(self, split: PreparedSplit, excluded: Sequence[PreparedSplit]) -> None:
        self.split, self.excluded = split, tuple(excluded)
        ids = coco_ids(split)
        forbidden = np.concatenate([coco_ids(s) for s in excluded])
        stays = (ids < 0) | ~np.isin(ids, forbidden)
        self._indices = np.flatnonzero(stays)
        self.dropped, self.unknown = int((~stays).sum()), int((ids < 0).sum())

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int) -> Record:
        return self.split[int(self._indices[index])]

    @property
    def tokenizer(self) -> Location | None:
        """The tokenizer stored beside the data, if there is one."""
        return self.split.tokenizer

    def fingerprint(self) -> str:
        """A hash of the split and of what was excluded from it."""
        return "-".join(s.fingerprint() for s in (self.split, *self.excluded))

    def summary(self) -> str:
        """One line for the user."""
        name = f"{self.split.dataset}:{self.split.split}"
        return (
            f"{name}: dropped {self.dropped} of {len(self.split)} images that "
            f"{len(self.excluded)} evaluation splits hold (by COCO id; {self.unknown} "
            "images have none)"
        )


def excluded_splits(config: Config) -> list[PreparedSplit]:
    """The splits whose images a run may not see.

    Raises DataError naming one that is not prepared, and what to do.
    """
    specs = config.data.exclude
    if config.data.exclude_google:
        specs = (*specs, *GOOGLE)
    splits = []
    for spec in dict.fromkeys(specs):
        try:
            splits.append(prepared.open_split(spec, config.data.dir, config.data.cache))
        except DataError as error:
            raise DataError(
                f"data.exclude: {error}. Without it its images cannot be kept out of "
                "training; prepare it, or take it out of data.exclude knowingly"
            ) from None
    return splits


def without_evaluation(
    config: Config, splits: Sequence[PreparedSplit]
) -> list[PreparedSplit | LeakFreeSplit]:
    """The training splits without the images of `config.data.exclude`."""
    excluded = excluded_splits(config)
    return [LeakFreeSplit(s, excluded) for s in splits] if excluded else list(splits)
