"""The floor: the mean mask of a text, whatever the picture."""

from dataclasses import replace

import numpy as np
import pytest
from helpers import small_data
from helpers.small_data import mask_of, rectangle

from unires_jax.data.records import OBJECT, Expression, Record
from unires_jax.evaluation import mean_mask
from unires_jax.evaluation.mean_mask import MeanMask
from unires_jax.evaluation.protocols import NATIVE, ask


def record(size: tuple[int, int], *boxes: tuple[str, tuple[int, int, int, int]]):
    """A picture of which each sentence marks a box x, y, w, h; () marks nothing."""
    masks = tuple(mask_of(rectangle(size, *box)) for _, box in boxes if box)
    expressions, at = [], 0
    for i, (sentence, box) in enumerate(boxes):
        targets = (at,) if box else ()
        at += bool(box)
        expressions.append(
            Expression(
                ref_id=i,
                sent_id=i,
                sent=sentence,
                raw=sentence,
                level=OBJECT,
                targets=targets,
                no_target=not box,
            )
        )
    image = small_data.jpeg(np.zeros((*size, 3), np.uint8))
    scene = replace(small_data.scene(0), image=image, masks=masks)
    return replace(scene, expressions=tuple(expressions), height=size[0], width=size[1])


def answers(floor: MeanMask, asked: Record) -> list:
    (found,) = floor([ask(NATIVE, asked)])
    return found


def test_it_answers_with_what_most_masks_of_the_text_cover() -> None:
    seen = [("hat", (8, 0, 16, 8)), ("shoe", (8, 24, 16, 8))]
    floor = MeanMask(
        [
            record((32, 32), *seen, ("scarf", ())),
            record((32, 32), *seen, ("scarf", ())),
            record((32, 32), ("Hat", (0, 24, 8, 8)), ("scarf", (0, 0, 32, 32))),
        ]
    )
    asked = record(
        (64, 128), ("hat", (0, 0, 1, 1)), ("scarf", ()), ("glove", (0, 0, 1, 1))
    )
    hat, scarf, glove = answers(floor, asked)
    # Its place in the picture, whatever the picture's size.
    expected = rectangle((64, 128), 32, 0, 64, 16)
    wrong = (hat.mask.pixels() ^ expected).mean()
    assert wrong < 0.02 and hat.no_target == 0
    assert scarf.no_target > 0.5
    assert glove.mask.area and not np.array_equal(glove.mask.pixels(), expected)


def test_without_any_mask_it_marks_nothing() -> None:
    floor = MeanMask([record((8, 8), ("hat", ()))])
    (hat,) = answers(floor, record((8, 8), ("hat", (0, 0, 4, 4))))
    assert hat.mask.area == 0 and hat.no_target == 1


def test_a_text_of_very_many_masks_is_known_by_the_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(mean_mask, "MASKS", 2)
    first, later = ("hat", (0, 0, 16, 16)), ("hat", (16, 16, 16, 16))
    floor = MeanMask([record((32, 32), x) for x in (first, first, later, later, later)])
    for sentence in ("hat", "of no other text"):
        (answer,) = answers(floor, record((32, 32), (sentence, (0, 0, 1, 1))))
        np.testing.assert_array_equal(
            answer.mask.pixels(), rectangle((32, 32), 0, 0, 16, 16)
        )
