"""RefCOCOm's two numbers, Part and Obj & Part, and the self-check of their counts.

"Obj & Part" is one mean over RefCOCO-UNC's object expressions and the part expressions
together. The share of parts w that four methods' published numbers agree on is solved
from ObjPart = w Part + (1 - w) Obj with the paper's Tables 3 and 4; an evaluator whose
own counts do not land there holds other data. Source: paper, derived.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from unires_jax.data.records import OBJECT, PART
from unires_jax.evaluation.breakdown import summary
from unires_jax.evaluation.results import Result

SHARES = {"val": (0.7517, 0.7543), "testA": (0.8236, 0.8257), "testB": (0.6770, 0.6801)}
TOLERANCE = 0.002


def block(rows: Mapping[str, Sequence[Result]]) -> dict[str, dict[str, Any]]:
    """Part, Obj & Part, counts and w of each RefCOCOm split among those evaluated.

    `rows` go by the splits' names. A prepared RefCOCOm split holds both halves; one of
    parts alone takes its objects from RefCOCO-UNC's split of the same name, if that was
    evaluated with it. Expressions are pooled by key.
    """
    by_split: dict[tuple[str, str], dict[str, Result]] = {}
    for r in (r for split_rows in rows.values() for r in split_rows if r.targeted):
        by_split.setdefault(_split_of(r), {})[r.key] = r
    blocks = {}
    for name, split_rows in rows.items():
        for dataset, split in {_split_of(r) for r in split_rows} & by_split.keys():
            if dataset == "refcocom" and split in SHARES:
                blocks[name] = _of_split(by_split, split)
    return blocks


def _split_of(result: Result) -> tuple[str, str]:
    dataset, split = result.key.split("/")[:2]
    return dataset, split


def _of_split(
    by_split: Mapping[tuple[str, str], Mapping[str, Result]], split: str
) -> dict[str, Any]:
    rows = list(by_split["refcocom", split].values())
    parts = [r for r in rows if r.level == PART]
    objects = [r for r in rows if r.level == OBJECT]
    for (dataset, name), split_rows in by_split.items():
        if not objects and name == split and dataset.endswith("refcoco_unc"):
            objects = list(split_rows.values())
    share = len(parts) / max(len(parts) + len(objects), 1)
    low, high = SHARES[split]
    return {
        "Part": summary(parts).as_dict()["mIoU"],
        "Obj & Part": summary([*objects, *parts]).as_dict()["mIoU"],
        "parts": len(parts),
        "objects": len(objects),
        "w": share,
        "published_w": [low, high],
        "agrees": low - TOLERANCE <= share <= high + TOLERANCE,
    }
