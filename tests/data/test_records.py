"""The record: RLE, unions, keys, and what `validate` refuses."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from unires_jax.data import records
from unires_jax.data.records import Expression, Mask, Record
from unires_jax.errors import DataError
from unires_jax.pixels.masks import decode_mask, encode_mask, run_lengths, union_rle

MASKS = arrays.arrays(bool, arrays.array_shapes(min_dims=2, max_dims=2, max_side=40))


@settings(max_examples=50, deadline=None)
@given(MASKS)
def test_rle_there_and_back(mask: np.ndarray) -> None:
    rle = encode_mask(mask)
    np.testing.assert_array_equal(decode_mask(rle, *mask.shape), mask)
    runs = run_lengths(rle)
    assert sum(runs) == mask.size and sum(runs[1::2]) == mask.sum()


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=30), st.integers(1, 50), st.integers(1, 50))
def test_any_text_is_refused_or_decodes(text: str, height: int, width: int) -> None:
    try:
        mask = decode_mask(text, height, width)
    except DataError:
        return
    assert mask.shape == (height, width)


@pytest.mark.parametrize(
    ("rle", "told"),
    [("04~", "invalid character"), ("0P", "ends within"), ("O", "negative")],
)
def test_what_is_wrong_with_an_rle_is_told(rle: str, told: str) -> None:
    with pytest.raises(DataError, match=told):
        run_lengths(rle)


def test_a_mask_of_another_size_is_told() -> None:
    rle = encode_mask(np.ones((4, 5), bool))
    with pytest.raises(DataError, match=r"covers 20 pixels.*6 x 5"):
        decode_mask(rle, 6, 5)


def test_union_is_or() -> None:
    rng = np.random.default_rng(0)
    masks = rng.random((3, 9, 7)) > 0.7
    rle = union_rle([encode_mask(m) for m in masks], 9, 7)
    np.testing.assert_array_equal(decode_mask(rle, 9, 7), masks.any(0))
    assert not decode_mask(union_rle([], 9, 7), 9, 7).any()


def a_record(**changes: Any) -> Record:
    whole = np.zeros((6, 8), bool)
    whole[1:5, 2:7] = True
    rle = encode_mask(whole)
    car = Mask(1, "car", rle, (2.0, 1.0, 5.0, 4.0), 20.0)
    wheel = dataclasses.replace(car, ann_id=2, part="wheel", level=1, parent=0)
    said = (
        Expression(7, 1, "The car!", "the car", 0, (0,)),
        Expression(7, 2, "wheel", "wheel", 1, (1,)),
        Expression(8, 3, "no dog", "no dog", 0, (), no_target=True),
    )
    record = Record(b"bytes", 5, 6, 8, (car, wheel), said, filename="a.jpg")
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
    ("record", "told"),
    [
        (a_record(image=b""), "image holds no bytes"),
        (a_record(width=0), "must be positive"),
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
def test_a_bad_record_is_named(record: Record, told: str) -> None:
    with pytest.raises(DataError, match=told) as error:
        records.validate(record, "here")
    assert "here image 5 (a.jpg)" in str(error.value)


def test_keys_name_an_expression() -> None:
    record = a_record()
    key = records.expression_key("partworld", "val", record, record.expressions[1])
    assert key == "partworld/val/5/7/2"
    assert records.target_rle(record, record.expressions[0]) == record.masks[0].rle
