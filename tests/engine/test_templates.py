"""What regions are called: one thing each, by a clear margin, or nothing."""

import json
from pathlib import Path

import numpy as np
import pytest
from helpers import small_data
from hypothesis import given, settings
from hypothesis import strategies as st

from unires_jax.engine.part_sources import places, sides, texts
from unires_jax.engine.part_sources.json_lists import JsonLists
from unires_jax.engine.part_sources.mat_names import full_name
from unires_jax.engine.part_sources.regions import Region
from unires_jax.errors import DataError
from unires_jax.pixels.masks import RunMask

HEIGHT, WIDTH = 60, 100


def region(box: tuple[int, int, int, int], category: str, **fields: object) -> Region:
    mask = RunMask.from_pixels(small_data.rectangle((HEIGHT, WIDTH), *box))
    return Region(0, mask, category, **fields)  # type: ignore[arg-type]


def said(*regions: Region, every: bool = True) -> dict[str, tuple[int, ...]]:
    return {s.text: s.targets for s in texts.describe(regions, lambda _: every)}


PERSON = region((30, 5, 40, 50), "person")


def arm(x: int, side: str) -> Region:
    return region((x, 15, 6, 20), "person", part=f"{side} arm", parent=0)


@pytest.mark.parametrize(
    ("regions", "names"),
    [
        ([region((5, 5, 9, 9), "cat")], {"cat"}),
        # Two near each other: neither is clearly left.
        ([region((40, 20, 9, 9), "cat"), region((46, 20, 9, 9), "cat")], set()),
        ([region((40, 20, 9, 9), "cat"), region((40, 30, 9, 9), "cat")], {0, 1}),
        # The middle one of three has no name.
        ([region((x, 20, 9, 9), "cat") for x in (2, 45, 85)], {0, 2}),
        # A swivel chair is a chair: the other one alone is not "chair".
        (
            [region((40, 20, 9, 9), "swivel chair"), region((44, 20, 9, 9), "chair")],
            {"swivel chair"},
        ),
        ([region((40, 20, 9, 9), "duck"), region((44, 20, 9, 9), "bird")], {"duck"}),
        (
            [region((5, 5, 9, 9), "cat"), region((60, 5, 9, 9), "cat", crowd=True)],
            set(),
        ),
    ],
)
def test_objects(regions: list[Region], names: set[int | str]) -> None:
    answer = said(*regions)
    targets = {t for (t,) in answer.values()}
    if all(isinstance(n, int) for n in names):
        assert targets == names
    else:
        assert set(answer) == names


def test_a_side_in_a_name_is_not_said_before_another() -> None:
    doors = [region((x, 20, 9, 9), "left door") for x in (2, 80)]
    names = {"left door on the left", "left door on the right"}
    assert set(said(*doors)) == names


def test_a_lone_thing_of_a_partial_source_needs_its_half() -> None:
    assert not said(region((45, 25, 9, 9), "cat"), every=False)
    assert set(said(region((5, 25, 9, 9), "cat"), every=False)) == {"cat on the left"}


def test_own_left_is_said_where_the_viewer_sees_it_left() -> None:
    answer = said(PERSON, arm(32, "left"), arm(62, "right"))
    assert answer["left arm of the person"] == (1,)
    assert answer["right arm of the person"] == (2,)
    assert answer["arms of the person"] == (1, 2)


def test_else_the_viewers_side_is() -> None:
    answer = said(PERSON, arm(62, "left"), arm(32, "right"))
    assert not any(text.startswith(("left", "right")) for text in answer)
    assert answer["arm of the person, on the right side of the picture"] == (1,)
    assert answer["arm of the person, on the left side of the picture"] == (2,)


def test_arms_at_one_place_are_only_named_together() -> None:
    answer = said(PERSON, arm(48, "left"), arm(50, "right"))
    assert set(answer) == {"person", "arms of the person"}


def test_one_arm_needs_no_side() -> None:
    assert len(said(PERSON, arm(32, "left"))) == 2
    assert not any("left" in text for text in said(PERSON, arm(32, "left")))


def test_nobody_names_the_parts_of_what_has_no_name() -> None:
    other = region((34, 5, 40, 50), "person")
    assert not said(PERSON, other, arm(32, "left"))


def test_a_part_without_its_object_is_named_where_nothing_else_could_be_meant() -> None:
    head = region((5, 5, 9, 9), "dog", part="head")
    dogs = [region((x, 30, 20, 20), "dog") for x in (2, 70)]
    assert set(said(head)) == {"head of the dog"}
    assert not any("head" in text for text in said(*dogs, head))
    assert not said(head, every=False)
    assert not said(region((30, 5, 9, 9), "dog", crowd=True), head)


def test_a_leg_is_not_named_beside_a_left_leg() -> None:
    legs = [
        region((x, 15, 6, 20), "person", part=p, parent=0)
        for x, p in ((32, "leg"), (62, "left leg"))
    ]
    assert set(said(PERSON, *legs)) == {"person"}


def test_a_persons_words_stay_and_no_template_repeats_them() -> None:
    cat = region((5, 5, 9, 9), "cat", captions=("cat", "my cat"))
    answer = texts.describe([cat], lambda _: True)
    assert [(s.text, s.kind) for s in answer] == [("cat", "given"), ("my cat", "given")]


def test_what_a_person_wrote_of_several_denotes_them_all() -> None:
    dogs = [
        region((x, 20, 9, 9), "dog", captions=(text,))
        for x, text in ((2, "Asleep"), (80, "asleep"))
    ]
    assert said(*dogs)["Asleep"] == (0, 1) and "asleep" not in said(*dogs)


def test_several_pieces_are_a_plural_where_a_thing_has_several() -> None:
    car = region((10, 10, 60, 30), "car")
    two = [(12, 30, 8, 8), (50, 30, 8, 8)]
    boxes = [small_data.rectangle((HEIGHT, WIDTH), *box) for box in two]
    mask = RunMask.from_pixels(boxes[0] | boxes[1])
    for part, noun in (("wheel", "wheels"), ("body", "body"), ("scissors", "scissors")):
        own = Region(1, mask, "car", part=part, parent=0, merged=True)
        assert any(f"{noun}" in t.split() or t.endswith(noun) for t in said(car, own))
        assert not any(t.endswith(f"{noun}s") for t in said(car, own))
    speck = boxes[0].copy()
    speck[0, 0] = True
    assert texts.count_pieces(RunMask.from_pixels(speck)) == 1


def test_sides_of_names() -> None:
    assert sides.own_side("left front leg") == "left"
    assert sides.own_side("left right") == ""
    assert sides.sideless("left front leg") == "front leg"
    top = [places.at_side("car", "top", behind=True, several=s) for s in (False, True)]
    assert top == ["car at the top", "topmost car"]


@pytest.mark.parametrize(
    ("short", "full"),
    [
        ("lfuleg", "left front upper leg"),
        ("rbho", "right back hoof"),
        ("wheel_12", "wheel"),
        ("fliplate", "front license plate"),
        ("hleftside", "head left side"),
        ("lebrow", "left eyebrow"),
        ("beak", "beak"),
    ],
)
def test_pascal_parts_short_names(short: str, full: str) -> None:
    assert full_name(short) == full


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.text(max_size=3), st.lists(VALUES, max_size=4), max_size=3))
def test_a_walk_through_lists_gives_what_json_gives(content: dict[str, list]) -> None:
    text = json.dumps(content, indent=1, ensure_ascii=False).encode(errors="replace")
    plain = json.loads(text)
    lists = JsonLists(Path("x.json"), text)
    assert list(dict.fromkeys(lists.names())) == list(plain)
    walked: dict[str, list] = {name: [] for name in plain}
    for name, entry in lists.entries(*plain):
        walked[name].append(lists.load(entry))
    assert walked == plain


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "{",
        '{"a" 1}',
        '{"a": [1}',
        '{"a": [1, ]}',
        '{"a": [1 2]}',
        '{"a": "x',
        '{"a": [' + "[" * 99_999,
        '{"a": [,]}',
        '{"a": [{"b": nul}]}',
    ],
)
def test_what_is_no_json_is_told(text: str) -> None:
    lists = JsonLists(Path("x.json"), text.encode())
    with pytest.raises(DataError):
        for _, entry in lists.entries("a"):
            lists.load(entry)


def test_specks_of_noise_are_no_trouble() -> None:
    rng = np.random.default_rng(0)
    noise = RunMask.from_pixels(rng.random((HEIGHT, WIDTH)) < 0.3)
    assert texts.count_pieces(noise) >= 1
    assert texts.count_pieces(RunMask.empty(4, 4)) == 0
