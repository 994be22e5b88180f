"""The record: RLE, unions, keys, and what `validate` refuses."""

import dataclasses
from typing import Any

import pytest
from helpers.small_data import mask_of, rectangle

from unires_jax.data import records
from unires_jax.data.records import Expression, Record
from unires_jax.errors import DataError


def a_record(**changes: Any) -> Record:
    car = mask_of(rectangle((6, 8), 2, 1, 5, 4), 1, category="car")
    wheel = dataclasses.replace(car, ann_id=2, part="wheel", level=1, parent=0)
    expressions = (
        Expression(7, 1, "The car!", "the car", 0, (0,)),
        Expression(7, 2, "wheel", "wheel", 1, (1,)),
        Expression(8, 3, "no dog", "no dog", 0, (), no_target=True),
    )
    record = Record(b"bytes", 5, 6, 8, (car, wheel), expressions, filename="a.jpg")
    return dataclasses.replace(record, **changes)


def with_mask(**changes: Any) -> Record:
    record = a_record()
    wheel = dataclasses.replace(record.masks[1], **changes)
    return a_record(masks=(record.masks[0], wheel))


def with_expression(**changes: Any) -> Record:
    record = a_record()
    first = dataclasses.replace(record.expressions[0], **changes)
    return a_record(expressions=(first, *record.expressions[1:]))


def test_a_good_record_passes() -> None:
    records.validate(a_record())


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (a_record(image=b""), "image holds no bytes"),
        (a_record(width=0), "no image's size"),
        (a_record(width=9), r"masks\[0\].*covers 48 pixels"),
        (with_mask(level=0), r"masks\[1\].*level 0 with part 'wheel'"),
        (with_mask(parent=1), "parent 1"),
        (with_mask(parent=2), "parent 2"),
        (with_mask(rle="\n"), r"ann_id 2.*invalid character"),
        (with_expression(sent=" "), r"expressions\[0\].*sent is empty"),
        (with_expression(level=2), "level 2"),
        (with_expression(targets=(2,)), r"targets \(2,\) of 2 masks"),
        (with_expression(targets=()), "its masks were lost"),
        (with_expression(no_target=True), "no_target with targets"),
        (with_expression(sent_id=2), "occur twice"),
    ],
)
def test_a_bad_record_is_named(record: Record, message: str) -> None:
    with pytest.raises(DataError, match=message) as error:
        records.validate(record, "here")
    assert "here image 5 (a.jpg)" in str(error.value)


def test_keys_name_an_expression() -> None:
    record = a_record()
    key = records.expression_key("partworld", "val", record, record.expressions[1])
    assert key == "partworld/val/5/7/2"
    target = records.target_mask(record, record.expressions[0])
    assert target.counts == record.masks[0].rle
