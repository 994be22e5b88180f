"""Language models' answers, read strictly, however hostile."""

import json

import pytest

from unires_jax.engine.backends.answers import names, paraphrases

DEEP = "[" * 2000 + "]" * 2000


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (
            '["wheel", "front door", "head-light"]',
            ["wheel", "front door", "head-light"],
        ),
        (' ["Wheel", "wheel ", "door"]\n', ["wheel", "door"]),
        ('```json\n["wheel"]\n```', ["wheel"]),
        ("```\n[\n]\n```", []),
        ('Sure! ["wheel"]', []),
        ('["wheel"]["door"]', []),
        ('["wheel", "door"', []),
        ('{"parts": ["wheel"]}', []),
        ('["wheel", 3]', []),
        ('[["wheel"]]', []),
        ('"wheel"', []),
        ("null", []),
        ("", []),
        ("NaN", []),
        (json.dumps(["wheel"] * 21), []),
        ('["wheel", "a\\u001b[31m", "dr\\u0000", "w\\u202eh", "<loc_3>"]', ["wheel"]),
        ('["the long name of a part", "x", "wheel?", "räder", "wheel1"]', []),
        ('["' + "wheel " * 2_000_000 + '"]', []),
        (DEEP, []),
        ("[" * 10_000_000, []),
        ("[" + "9" * 4000 + "]", []),
        ("[1e999]", []),
    ],
    ids=lambda x: repr(x)[:30],
)
def test_names(answer: str, expected: list[str]) -> None:
    assert names(answer) == expected


@pytest.mark.parametrize(
    ("source", "answer", "kept"),
    [
        ("the wheel of the car", "the car's wheel", True),
        ("dog's head", "the head of the dog", True),
        ("red car on the left", "the red car on the left", True),
        ("the wheel of a red car", "Red car's wheel", True),
        ("the wheel of the red car", "the red wheel of the car", False),
        ("the red car near the blue bus", "the blue car near the red bus", False),
        ("the wheel of the car on the left", "the car's wheel on the left", False),
        ("the cup on the table", "the table on the cup", False),
        ("the big red car", "the red big car", False),
        ("the car that is red", "the red car", False),  # strict
        ("the wheel of the car", "the wheel of the car", False),  # nothing new
        ("the wheel of the car", "the car of the wheel", False),  # another thing
        ("the wheel of the car", "the tire of the car", False),  # a new noun
        ("the wheel of the car", "the wheel", False),  # a word is lost
        ("the cup on the table", "the table with the cup", False),
        ("the car on the left", "the left car", False),  # its own left, or ours
        ("two dogs", "dogs dogs", False),
        ("the wheel of the car", "the car's wheel\u202e", False),
        ("the wheel of the car", "<loc_1> the car's wheel", False),
        ("the wheel", "the " * 30 + "wheel", False),
    ],
)
def test_paraphrases(source: str, answer: str, kept: bool) -> None:
    expected = [answer] if kept else []
    assert paraphrases(json.dumps([answer, answer]), source) == expected
    assert paraphrases(answer, source) == []
