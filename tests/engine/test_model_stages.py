"""The stages with models that answer as models may: oddly, in pieces, or not at all."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from helpers.small_data import rectangle

from unires_jax.engine import boxes, captions, objects, parts, scores
from unires_jax.engine.backends import load
from unires_jax.engine.halving import halving
from unires_jax.engine.lexemes import is_bare, names, repetition
from unires_jax.engine.record import Picture, Region, Text, from_line, to_line
from unires_jax.engine.roles import (
    Caption,
    FoundPart,
    ModelError,
    OutOfMemory,
    Segmented,
)
from unires_jax.engine.settings import EngineConfig, ExpressionSettings, ModelSettings
from unires_jax.engine.stages import Context
from unires_jax.pixels.components import clean
from unires_jax.pixels.masks import RunMask

SIZE = 60, 80
IMAGE = np.arange(60 * 80 * 3, dtype=np.uint32).astype(np.uint8).reshape(60, 80, 3)
CAR = rectangle(SIZE, 10, 10, 40, 30)
WHEELS = rectangle(SIZE, 12, 30, 8, 8), rectangle(SIZE, 36, 30, 8, 8)


class Model:
    """Any role: what is asked is kept, what is answered is given."""

    name, fingerprint, licence = "model", "0" * 12, "none"

    def __init__(self, answer: Callable[..., Any]) -> None:
        self._answer, self.asked = answer, list[tuple[Any, ...]]()

    def _call(self, *asked: Any) -> Any:
        self.asked.append(asked)
        return self._answer(*asked)

    segment = find = caption = score = ground = parts = _call


def context(batch: int = 32, **models: Any) -> Context:
    config = EngineConfig(
        ModelSettings(batch=batch), expressions=ExpressionSettings(object_side=20)
    )
    return Context(config, models)


def region(mask: np.ndarray, name: str = "o0", **values: Any) -> Region:
    runs = RunMask.from_pixels(mask)
    fields: dict[str, Any] = {"level": "object", "category": "car"} | values
    return Region(
        id=name, box=boxes.of(runs), rle=runs.counts, area=runs.area, **fields
    )


def picture(*regions: Region, **values: Any) -> Picture:
    return Picture(1, "a.jpg", "aa", *SIZE, regions, **values)


def text(said: str, name: str = "o0", form: str = "caption") -> Text:
    return Text(said, form, () if form == "negative" else (name,))


def prompt(*box: float, **values: Any) -> Region:
    return Region("o0", "object", "car", box, **values)


def segmented(mask: np.ndarray, iou: float = 0.9) -> Model:
    return Model(lambda image, some: [Segmented(mask, iou, 0.95)] * len(some))


def test_a_mask_is_cleaned_and_measured() -> None:
    mask = CAR | rectangle(SIZE, 70, 50, 2, 2)
    mask[20, 20] = False
    (o0,) = objects.advance(
        picture(prompt(10.0, 10.0, 50.0, 50.0)),
        IMAGE,
        context(segmenter=segmented(mask)),
    ).regions
    assert o0.rle == RunMask.from_pixels(CAR).counts and o0.area == 1200
    assert o0.scores == {
        "pred_iou": 0.9,
        "stability": 0.95,
        "box_iou": pytest.approx(0.75),
        "in_box": 1.0,
        "largest": 1.0,
    }
    assert o0.src == {"mask": "model@000000000000"}


def test_specks_are_relative_to_the_mask() -> None:
    holes = CAR & ~rectangle(SIZE, 20, 20, 3, 3) & ~rectangle(SIZE, 30, 20, 5, 5)
    cleaned, largest = clean(holes | rectangle(SIZE, 60, 0, 20, 15), 0.01)
    expected = CAR & ~rectangle(SIZE, 30, 20, 5, 5) | rectangle(SIZE, 60, 0, 20, 15)
    assert (cleaned == expected).all()
    assert largest == pytest.approx((1200 - 25) / (1200 - 25 + 300))
    assert clean(np.zeros(SIZE, bool), 0.01)[1] == 0
    assert clean(np.ones(SIZE, bool), 0.01)[1] == 1
    diagonal = np.eye(4, dtype=bool)  # pieces touch at corners, holes do not
    assert (clean(diagonal, 0.5)[0] == diagonal).all()


@pytest.mark.parametrize(
    "answer",
    [
        Segmented(np.zeros(SIZE, bool), float("nan"), float("inf")),
        Segmented(np.ones((3, 4), bool), 0.9, 0.9),
        Segmented(np.ones((1, *SIZE), bool), 0.9, 0.9),
    ],
)
def test_a_mask_that_is_none_is_recorded_as_none(answer: Segmented) -> None:
    model = Model(lambda image, some: [answer] * len(some))
    done = objects.advance(
        picture(prompt(0.0, 0.0, 50.0, 50.0)), IMAGE, context(segmenter=model)
    )
    (o0,) = from_line(to_line(done)).regions
    assert (o0.rle, o0.area, o0.scores["box_iou"], o0.scores["largest"]) == (
        "",
        0,
        0,
        0,
    )
    assert all(abs(value or 0) <= 1 for value in o0.scores.values())


def test_only_boxes_that_can_hold_something_are_asked_for() -> None:
    model = segmented(CAR)
    asked = prompt(-5.0, 10.0, 500.0, 50.0)
    others = (
        prompt(5.0, 5.0, 5.0, 9.0),
        prompt(90.0, 5.0, 99.0, 9.0),
        prompt(1.0, 1.0, 9.0, 9.0, crowd=True),
        prompt(1.0, 1.0, 9.0, 9.0, codes=("B1",)),
        region(CAR),
    )
    regions = (dataclasses.replace(r, id=f"x{i}") for i, r in enumerate(others))
    done = objects.advance(picture(asked, *regions), IMAGE, context(segmenter=model))
    assert [image_boxes.tolist() for _, image_boxes in model.asked] == [
        [[0, 10, 80, 50]]
    ]
    assert [bool(r.rle) for r in done.regions] == [
        True,
        False,
        False,
        False,
        False,
        True,
    ]


def test_halving_asks_for_fewer_and_stays_with_it() -> None:
    sizes = []

    def call(some: Sequence[int]) -> list[int]:
        sizes.append(len(some))
        if len(some) > 2:
            raise OutOfMemory("full")
        return [2 * n for n in some]

    assert halving(call, range(7), 7) == [0, 2, 4, 6, 8, 10, 12]
    assert sizes == [7, 3, 1, 1, 1, 1, 1, 1, 1]
    assert halving(call, range(3), 0) == [0, 2, 4]
    with pytest.raises(OutOfMemory):
        halving(lambda some: call([0, 0, 0]), [1], 4)
    with pytest.raises(ModelError, match="2 answers to 3"):
        halving(lambda some: [1, 2], [1, 2, 3], 4)


def found(mask: np.ndarray, name: str = "wheel", score: float = 0.8) -> FoundPart:
    """A candidate in the crop of CAR: grown by a tenth, it begins at 6, 7."""
    crop = mask[7:43, 6:54]
    box = boxes.of(RunMask.from_pixels(crop))
    return FoundPart(name, box, score, crop)


def advanced_parts(*candidates: FoundPart, **changes: Any) -> tuple[Region, ...]:
    models = {
        "part_finder": Model(lambda image, mask, category, some: list(candidates)),
        "vocabulary": Model(lambda category: ["wheel", "rim", "wheel"]),
        "segmenter": segmented(np.ones((36, 48), bool)),
    }
    done = parts.advance(picture(region(CAR)), IMAGE, context(**models | changes))
    return done.regions[1:]


def test_pieces_of_a_name_are_one_part_in_the_picture() -> None:
    rim = found(WHEELS[0], "rim", 0.7)
    faint = found(rectangle(SIZE, 20, 12, 5, 5), score=0.3)  # no piece
    again = found(WHEELS[0], score=0.6)
    wheel, other = advanced_parts(
        found(WHEELS[0]), again, rim, found(WHEELS[1], score=0.5), faint
    )
    assert wheel.rle == RunMask.from_pixels(WHEELS[0] | WHEELS[1]).counts
    assert (wheel.id, wheel.parent, wheel.part) == ("o0/p0", "o0", "wheel")
    assert wheel.box == (12.0, 30.0, 44.0, 38.0)
    assert wheel.scores == {
        **{"detector": 0.8, "contain": 1.0, "area_ratio": pytest.approx(128 / 1200)},
        **{"same_name": 0.0, "same_place": 0.0, "rank": 0.0},
    }
    assert (other.part, other.scores["rank"]) == ("rim", 1)
    assert other.scores["same_place"] == pytest.approx(0.5)
    assert wheel.src["mask"] == "model@000000000000"


def test_a_part_is_cut_to_its_object_and_says_how_much_was_outside() -> None:
    (wheel,) = advanced_parts(found(rectangle(SIZE, 10, 36, 8, 6)))
    assert wheel.area == 32 and wheel.scores["contain"] == pytest.approx(4 / 6)
    (outside,) = advanced_parts(found(rectangle(SIZE, 10, 41, 8, 2)))
    assert (outside.rle, outside.scores["contain"]) == ("", 0)


@pytest.mark.parametrize(
    ("candidate", "detector"),
    [
        (FoundPart("wheel", (0.0, 0.0, 9.0, 9.0), float("nan"), None), -1.0),
        (FoundPart("wheel", (-9.0, -9.0, 99.0, 99.0), 0.9, np.ones((2, 2), bool)), 0.9),
        (FoundPart("wheel", (5.0, 5.0, 5.0, 9.0), 0.9, None), None),
        (FoundPart("wheel", (float("nan"),) * 4, 0.9, None), None),
        (FoundPart("wheel", (0.0, 0.0, 9.0, 9.0), 0.04, None), None),
        (FoundPart("roof", (0.0, 0.0, 9.0, 9.0), 0.9, None), None),
    ],
)
def test_odd_candidates(candidate: FoundPart, detector: float | None) -> None:
    regions = advanced_parts(candidate)
    assert [r.scores["detector"] for r in regions] == [detector][: detector is not None]
    assert all(r.scores["pred_iou"] == 0.9 for r in regions)  # the segmenter's


def test_small_objects_and_unknown_categories_are_not_searched() -> None:
    finder = Model(lambda *asked: [])
    vocabulary = Model(lambda category: [])
    assert advanced_parts(part_finder=finder, vocabulary=vocabulary) == ()
    small = context(part_finder=finder, vocabulary=Model(lambda category: ["wheel"]))
    tiny = picture(region(WHEELS[0]))
    assert parts.advance(tiny, IMAGE, small) == tiny and not finder.asked


def test_of_a_part_in_two_objects_the_smaller_object_has_the_better() -> None:
    whole = region(np.ones(SIZE, bool), "o1")
    models = {
        "part_finder": Model(
            lambda image, mask, category, some: [
                FoundPart("wheel", (0.0, 0.0, 1.0, 1.0), 0.5, WHEELS[0])
                if mask.shape == SIZE
                else found(WHEELS[0], score=0.5)
            ]
        ),
        "vocabulary": Model(lambda category: ["wheel"]),
    }
    done = parts.advance(picture(whole, region(CAR)), IMAGE, context(**models))
    assert {r.parent: r.scores["same_name"] for r in done.regions[2:]} == {
        "o1": 1.0,
        "o0": 0.0,
    }


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        ("  a red\n car. ", "a red car"),
        ('"A red car"', "A red car"),
        ("the car <loc_5>", "the car <loc_5>"),
        ("a \ud800 car", "a ? car"),
        ("", ""),
        ("x" * 5000, "x" * 1000),
    ],
)
def test_a_caption_is_cleaned_and_kept_as_it_was(raw: str, cleaned: str) -> None:
    model = Model(lambda image, some: [Caption(raw, -0.5)] * len(some))
    bare = prompt(1.0, 1.0, 5.0, 5.0)
    given = dataclasses.replace(region(CAR, "o1"), texts=(text("one", "o1", "given"),))
    done = captions.advance(picture(bare, given), IMAGE, context(captioner=model))
    none, (first, caption) = (r.texts for r in from_line(to_line(done)).regions)
    assert none == () and first.form == "given"
    assert (caption.text, caption.scores) == (cleaned, {"logprob": -0.5})
    assert caption.targets == ("o1",) and len(caption.raw) <= 1000


def advanced_scores(shown: Picture, **models: Any) -> list[dict[str, float | None]]:
    done = scores.advance(shown, IMAGE, context(batch=1, **models))
    return [t.scores for r in done.regions for t in r.texts]


def spoken(mask: np.ndarray, name: str, *texts: Text, **values: Any) -> Region:
    return dataclasses.replace(region(mask, name, **values), texts=texts)


def test_a_text_is_compared_with_those_of_other_regions_of_its_level() -> None:
    cosines = {"red car": 0.5, "left car": 0.1, "blue car": 0.6, "wheel": 0.9}
    model = Model(
        lambda crops, texts: np.array([[cosines[t] for t in texts]] * len(crops), "f4")
    )
    shown = picture(
        spoken(CAR, "o0", text("red car"), text("left car", form="place")),
        spoken(WHEELS[1], "o1", text("blue car", "o1")),
        spoken(WHEELS[0], "p", text("wheel", "p"), level="part", part="wheel"),
    )
    red, left, blue, wheel = advanced_scores(shown, scorer=model)
    assert red == pytest.approx({"clip": 0.5, "clip_rank": 1, "clip_margin": -0.1})
    assert left["clip_margin"] == pytest.approx(-0.5)
    assert blue == pytest.approx({"clip": 0.6, "clip_rank": 0, "clip_margin": 0.1})
    assert wheel == pytest.approx({"clip": 0.9, "clip_rank": 0})
    sizes = [crop.shape for crops, _ in model.asked for crop in crops]
    assert sizes == [(40, 40, 3), (8, 8, 3), (8, 8, 3)]
    dropped = dataclasses.replace(text("blue car", "o1"), keep=False, codes=("T4",))
    shown = picture(
        spoken(CAR, "o0", text("red car")), spoken(WHEELS[1], "o1", dropped)
    )
    red, blue = advanced_scores(shown, scorer=model)
    assert "clip_margin" not in red and blue["clip_margin"] == pytest.approx(0.1)


def test_the_answer_of_the_grounder_is_held_against_all_of_the_level() -> None:
    masks = {
        "car": CAR,
        "wheel": CAR,
        "both": WHEELS[0] | WHEELS[1],
        "odd": np.ones((2, 2), bool),
    }
    model = Model(lambda image, texts: [masks[t] for t in texts])
    part = {"level": "part", "part": "wheel", "parent": "o0"}
    twin = region(CAR, "o1")
    shown = picture(
        spoken(CAR, "o0", text("car"), text("odd")),
        twin,  # the same thing once more: no rival
        spoken(WHEELS[0], "a", text("wheel", "a"), **part),
        spoken(WHEELS[1], "b", Text("both", "plural", ("a", "b")), **part),
    )
    car, odd, wheel, both = advanced_scores(shown, grounder=model)
    assert car == {"own_iou": 1.0, "best_other_iou": 0.0}
    assert odd == {"own_iou": 0.0, "best_other_iou": 0.0}
    assert wheel["answer_parent_iou"] == 1 and wheel["own_iou"] == pytest.approx(
        64 / 1200
    )
    assert both["own_iou"] == 1 and both["best_other_iou"] == 0
    assert len(model.asked) == 1


def test_the_detector_looks_for_what_is_absent_and_for_what_has_no_box() -> None:
    box = boxes.of(RunMask.from_pixels(CAR))
    answers = [
        FoundPart("car", box, 0.9, None),
        FoundPart("car", (60.0, 0.0, 70.0, 9.0), 0.4, None),
        FoundPart("a blue car", box, float("nan"), None),
    ]
    model = Model(lambda image, mask, category, some: answers)
    texts = (
        text("the car"),
        text("the red car"),
        text("the second car from the left", form="ordinal"),
        text("a blue car", form="negative"),
        text("a green car", form="negative"),
    )
    shown = picture(spoken(CAR, "o0", *texts), exhaustive=False)
    expected = [{"detector": 0.4}, {}, {"detector": 0.4}, {"detector": 1.0}]
    assert advanced_scores(shown, part_finder=model) == [*expected, {"detector": 0.0}]
    assert [asked[1:] for asked in model.asked] == [
        (None, "", ["a blue car", "a green car", "car"])
    ]
    every = dataclasses.replace(shown, exhaustive=True)
    assert advanced_scores(every, part_finder=model)[:3] == [{}, {}, {}]
    assert advanced_scores(shown) == [{}] * 5


def test_what_geometry_said_of_some_is_doubtful_beside_one_without_a_box() -> None:
    stranger = FoundPart("car", (60.0, 0.0, 70.0, 9.0), 0.4, None)
    model = Model(lambda image, mask, category, some: [stranger])
    part = {"level": "part", "parent": "o0", "category": "car", "part": "wheel"}
    shown = picture(
        spoken(CAR, "o0", text("red car", form="colour"), text("a car that shines")),
        spoken(WHEELS[0], "a", text("wheel of the red car", "a", "compose"), **part),
        exhaustive=False,
    )
    scores = [{"detector": 0.4}, {}, {"detector": 0.4}]
    assert advanced_scores(shown, part_finder=model) == scores


@pytest.mark.parametrize(
    ("phrase", "left", "score"),
    [
        ("the car on the left", 0.0, 0.4),
        ("the car on the right", 0.0, 0.0),
        ("the car on the right", 60.0, 0.4),
        ("the blue car", 0.0, 0.4),
    ],
)
def test_an_absent_thing_is_looked_for_on_its_side(
    phrase: str, left: float, score: float
) -> None:
    there = FoundPart(phrase, (left, 0.0, left + 10, 9.0), 0.4, None)
    model = Model(lambda image, mask, category, some: [there])
    shown = picture(spoken(CAR, "o0", text(phrase, form="negative")))
    assert advanced_scores(shown, part_finder=model) == [{"detector": score}]


@pytest.mark.parametrize(
    ("said", "nouns", "bare"),
    [
        ("the car", ("car", ""), True),
        ("the wheels of the car", ("car", "wheel"), True),
        ("the car's wheel", ("car", "wheel"), True),
        ("two people", ("person", ""), False),
        ("people", ("person", ""), True),
        ("the traffic lights", ("traffic_light", ""), True),
        ("the left car", ("car", ""), False),
        ("a truck", ("car", ""), True),
        ("truck with a rack", ("car", ""), False),
    ],
)
def test_bare_texts(said: str, nouns: tuple[str, ...], bare: bool) -> None:
    assert is_bare(said, nouns) == bare


def test_nouns_of_parts() -> None:
    assert names("knives' blades", "blade") and names("its teeth", "tooth")
    assert names("the shoes", "shoe") and names("a glass", "glasses")
    assert names("a rim", "rim of the wheel") and names("the arm", "left_arm")
    assert not names("a round thing", "wheel") and not names("the seat", "seat_back")
    assert repetition("so on and so on") == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("spec", "word"),
    [
        ("exact:/nowhere.jsonl", "no such file"),
        ("exact:{}?faults=erodet", "eroded"),
        ("exact:{}?box=1", "neither an option"),
        ("exact:{}", "no .jsonl"),
    ],
)
def test_a_truth_that_cannot_be_used(spec: str, word: str, tmp_path: Any) -> None:
    with pytest.raises(ModelError, match=word):
        load(spec.format(tmp_path), "segmenter")
