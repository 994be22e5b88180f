"""RefCOCOm's pooled numbers and the self-check of its counts."""

import dataclasses

import pytest
from helpers.answers import row

from unires_jax.data.records import PART
from unires_jax.evaluation import refcocom
from unires_jax.evaluation.report.tables import refcocom_lines
from unires_jax.evaluation.results import Result


def rows(dataset: str, count: int, inside: int, part: bool) -> list[Result]:
    template = row(0, inside, 10)
    first = 0 if part else 10**6
    return [
        dataclasses.replace(
            template,
            key=f"{dataset}/val/{i}/0/{first + i}",
            image=i,
            level=PART if part else 0,
            part="leg" if part else "",
        )
        for i in range(count)
    ]


def test_parts_and_objects_are_pooled_by_expression() -> None:
    results = [*rows("refcocom", 753, 2, True), *rows("refcocom", 247, 8, False)]
    block = refcocom.block({"refcocom:val": results})["refcocom:val"]
    assert block["Part"] == pytest.approx(0.2)
    assert block["Obj & Part"] == pytest.approx((753 * 0.2 + 247 * 0.8) / 1000)
    assert (block["parts"], block["objects"], block["w"]) == (753, 247, 0.753)
    assert block["agrees"] and len(refcocom_lines(block)) == 2


@pytest.mark.parametrize(
    ("parts", "agrees"), [(7496, False), (7497, True), (7563, True), (7564, False)]
)
def test_the_interval_has_its_tolerance(parts: int, agrees: bool) -> None:
    """Published .7517 to .7543, two thousandths on each side."""
    results = [*rows("refcocom", parts, 2, True)]
    results += rows("refcocom", 10_000 - parts, 8, False)
    block = refcocom.block({"m": results})["m"]
    assert block["agrees"] == agrees
    warned = any("outside" in x for x in refcocom_lines(block))
    assert warned != agrees


def test_objects_may_come_from_refcoco() -> None:
    parts = rows("refcocom", 3, 2, True)
    beside = rows("refcoco_refcoco_unc", 1, 8, False)
    block = refcocom.block({"m": parts, "r": beside})
    assert list(block) == ["m"]
    assert block["m"]["objects"] == 1
    assert block["m"]["Obj & Part"] == pytest.approx((3 * 0.2 + 0.8) / 4)
    alone = refcocom.block({"m": parts})["m"]
    assert (alone["objects"], alone["w"], alone["agrees"]) == (0, 1.0, False)


def test_other_data_has_no_such_block() -> None:
    assert refcocom.block({"r": rows("refcoco_m", 2, 2, False)}) == {}
    assert refcocom.block({"r": []}) == {}
