"""How much of each benchmark there is, where it is published.

Referents and expressions of RefCOCO, RefCOCO+ and RefCOCOg: the refs files. RefCOCOm's
part expressions: derived from the paper's tables, to about one percent. RefCOCO-M: its
card. What is not listed here is not known to us.
"""

from typing import NamedTuple


class Counts(NamedTuple):
    """What a split should hold; None where nothing is published."""

    referents: int | None = None
    expressions: int | None = None
    images: int | None = None
    part_expressions: int | None = None
    tolerance: float = 0.0  # share by which a count may differ


EXPECTED: dict[str, dict[str, Counts]] = {
    "refcoco_unc": {
        "train": Counts(42_404, 120_624),
        "val": Counts(3_811, 10_834),
        "testA": Counts(1_975, 5_657),
        "testB": Counts(1_810, 5_095),
    },
    "refcoco_google": {
        "train": Counts(40_000),
        "val": Counts(5_000),
        "test": Counts(5_000),
    },
    "refcocoplus_unc": {
        "train": Counts(42_278),
        "val": Counts(3_805),
        "testA": Counts(1_975),
        "testB": Counts(1_798),
    },
    "refcocog_umd": {
        "train": Counts(42_226, 80_512),
        "val": Counts(2_573, 4_896),
        "test": Counts(5_023, 9_602),
    },
    "refcocog_google": {"train": Counts(44_822), "val": Counts(5_000)},
    "refcocom": {
        "val": Counts(part_expressions=33_000, tolerance=0.01),
        "testA": Counts(part_expressions=26_600, tolerance=0.01),
        "testB": Counts(part_expressions=10_800, tolerance=0.01),
    },
    "refcoco_m": {"val": Counts(images=1_190, expressions=5_598)},
}
FIELDS = ("images", "referents", "expressions", "part_expressions")


def differences(name: str, split: str, found: dict[str, int]) -> list[str]:
    """What differs from the published counts, in words; [] if nothing is known to."""
    expected = EXPECTED.get(name, {}).get(split, Counts())
    told = []
    for field in FIELDS:
        wanted = getattr(expected, field)
        if wanted is None or abs(found[field] - wanted) <= expected.tolerance * wanted:
            continue
        about = "about " if expected.tolerance else ""
        told.append(f"{found[field]:,} {field}, expected {about}{wanted:,}")
    return [text.replace("_", " ") for text in told]


def describe(name: str, split: str) -> str:
    """The published counts of a split in words; "" if there are none."""
    expected = EXPECTED.get(name, {}).get(split, Counts())
    about = "about " if expected.tolerance else ""
    known = [(f, getattr(expected, f)) for f in FIELDS]
    words = [f"{about}{n:,} {f.replace('_', ' ')}" for f, n in known if n is not None]
    return ", ".join(words)
