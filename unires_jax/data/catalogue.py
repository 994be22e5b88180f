"""The data sets that are published: a row for each, which says all that is known of it.

Names and splits, how much each split holds, which splits are for evaluation, and what
the raw forms call it. The readers of these forms stand in `prepare/sources`, and ask
the row. PartWorld and one's own data have no row: nothing about them is published.
"""

import functools
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from unires_jax.errors import DataError


class Counts(NamedTuple):
    """What a split should hold; None where nothing is published."""

    images: int | None = None
    referents: int | None = None
    expressions: int | None = None
    part_expressions: int | None = None
    tolerance: float = 0.0  # share by which a count may differ

    def differences(self, counted: Mapping[str, int]) -> list[str]:
        """What differs from these counts, in words."""
        about = "about " if self.tolerance else ""
        return [
            f"{counted[name]:,} {_words(name)}, expected {about}{count:,}"
            for name, count in self._published()
            if abs(counted[name] - count) > self.tolerance * count
        ]

    def describe(self) -> str:
        """These counts in words; "" if there are none."""
        about = "about " if self.tolerance else ""
        words = [
            f"{about}{count:,} {_words(name)}" for name, count in self._published()
        ]
        return ", ".join(words)

    def _published(self) -> Iterator[tuple[str, int]]:
        counts = zip(COUNTED, self[: len(COUNTED)], strict=True)
        return ((name, int(count)) for name, count in counts if count is not None)


COUNTED = Counts._fields[:-1]


def _words(name: str) -> str:
    return name.replace("_", " ")


class Benchmark(NamedTuple):
    """One set of expressions under one split of its images."""

    name: str
    splits: tuple[str, ...]
    counts: Mapping[str, Counts] = {}  # by split
    evaluation: tuple[str, ...] = ()  # splits that no mixture may train on
    builder: str = ""  # of which it is a config; "": its name is the builder's
    # What raw forms call it; "" and () where it has no such form.
    folder: str = ""  # in the refer layout
    refs: str = ""  # stem of the refer layout's file
    split_by: str = ""
    cris: tuple[str, ...] = ()  # folders below anns/ and masks/ in CRIS's layout
    mdetr: str = ""  # the middle of finetune_<name>_<split>.json
    # Some of its referents have no sentence, and its authors say to skip them.
    has_silent: bool = False

    def split(self, word: str) -> str:
        """Its own name of a split. Raises DataError for one it has not."""
        names = {s.lower(): s for s in self.splits} | {"validation": "val"}
        if word.lower() not in names:
            raise DataError(f"split {word!r}: {self.name} has {', '.join(self.splits)}")
        return names[word.lower()]

    def evaluation_specs(self) -> tuple[str, ...]:
        """Its evaluation splits as `data.exclude` names them once they are prepared."""
        prepared = f"{self.builder}/{self.name}" if self.builder else self.name
        return tuple(f"{prepared}:{split}" for split in self.evaluation)


def _refs(**splits: tuple[int, int | None]) -> dict[str, Counts]:
    """Referents and expressions. Source: the data sets' own refs files."""
    return {
        split: Counts(referents=referents, expressions=expressions)
        for split, (referents, expressions) in splits.items()
    }


_UNC = ("train", "val", "testA", "testB")
_G = ("train", "val", "test")
_refcoco = functools.partial(Benchmark, builder="refcoco", refs="refs")
_ROWS = (
    _refcoco(
        "refcoco_unc",
        _UNC,
        _refs(
            train=(42_404, 120_624),
            val=(3_811, 10_834),
            testA=(1_975, 5_657),
            testB=(1_810, 5_095),
        ),
        evaluation=_UNC[1:],
        folder="refcoco",
        split_by="unc",
        cris=("refcoco",),
        mdetr="refcoco",
    ),
    _refcoco(
        "refcoco_google",
        _G,
        _refs(train=(40_000, None), val=(5_000, None), test=(5_000, None)),
        evaluation=_G[1:],
        folder="refcoco",
        split_by="google",
    ),
    _refcoco(
        "refcocoplus_unc",
        _UNC,
        _refs(
            train=(42_278, None),
            val=(3_805, None),
            testA=(1_975, None),
            testB=(1_798, None),
        ),
        evaluation=_UNC[1:],
        folder="refcoco+",
        split_by="unc",
        cris=("refcoco+",),
        mdetr="refcoco+",
    ),
    _refcoco(
        "refcocog_umd",
        _G,
        _refs(train=(42_226, 80_512), val=(2_573, 4_896), test=(5_023, 9_602)),
        evaluation=_G[1:],
        folder="refcocog",
        split_by="umd",
        cris=("refcocog_u", "refcocog_umd", "refcocog"),
        mdetr="refcocog",
    ),
    _refcoco(
        "refcocog_google",
        _G[:2],
        _refs(train=(44_822, None), val=(5_000, None)),
        evaluation=("val",),
        folder="refcocog",
        split_by="google",
        cris=("refcocog_g", "refcocog_google"),
    ),
    Benchmark(
        "grefcoco",
        _UNC,
        evaluation=_UNC[1:],
        folder="grefcoco",
        refs="grefs",
        split_by="unc",
        mdetr="grefcoco",
        has_silent=True,
    ),
    Benchmark(
        "refcocom",
        _UNC[1:],
        # Derived from the paper's tables, to about one percent.
        {
            "val": Counts(part_expressions=33_000, tolerance=0.01),
            "testA": Counts(part_expressions=26_600, tolerance=0.01),
            "testB": Counts(part_expressions=10_800, tolerance=0.01),
        },
        evaluation=_UNC[1:],
    ),
    # Source: its card. Its images, of RefCOCO val, are kept out of training already.
    Benchmark("refcoco_m", ("val",), {"val": Counts(images=1_190, expressions=5_598)}),
)
BENCHMARKS = {row.name: row for row in _ROWS}
