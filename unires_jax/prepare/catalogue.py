"""The benchmarks by name, and what each raw form calls them."""

from typing import NamedTuple

from unires_jax.errors import DataError


class Benchmark(NamedTuple):
    """One set of expressions under one split."""

    name: str
    folder: str  # in the refer layout
    split_by: str
    splits: tuple[str, ...]
    cris: tuple[str, ...]  # folders below anns/ and masks/ in CRIS's layout
    refs: str = "refs"  # stem of the refer layout's file
    mdetr: str = ""  # the middle of finetune_<name>_<split>.json


_UNC = ("train", "val", "testA", "testB")
BENCHMARKS = {
    b.name: b
    for b in (
        Benchmark("refcoco_unc", "refcoco", "unc", _UNC, ("refcoco",), mdetr="refcoco"),
        Benchmark("refcoco_google", "refcoco", "google", ("train", "val", "test"), ()),
        Benchmark(
            "refcocoplus_unc", "refcoco+", "unc", _UNC, ("refcoco+",), mdetr="refcoco+"
        ),
        Benchmark(
            "refcocog_umd",
            "refcocog",
            "umd",
            ("train", "val", "test"),
            ("refcocog_u", "refcocog_umd", "refcocog"),
            mdetr="refcocog",
        ),
        Benchmark(
            "refcocog_google",
            "refcocog",
            "google",
            ("train", "val"),
            ("refcocog_g", "refcocog_google"),
        ),
        Benchmark(
            "grefcoco", "grefcoco", "unc", _UNC, (), refs="grefs", mdetr="grefcoco"
        ),
    )
}


def split_name(word: str, benchmark: Benchmark) -> str:
    """The benchmark's own name of a split. Raises DataError for one it has not."""
    known = {s.lower(): s for s in benchmark.splits} | {"validation": "val"}
    found = known.get(word.lower())
    if found is None:
        raise DataError(
            f"split {word!r}: {benchmark.name} has {', '.join(benchmark.splits)}"
        )
    return found
