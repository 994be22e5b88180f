"""Names of categories and parts."""

import pytest

from unires_jax.engine.english import plural
from unires_jax.engine.part_sources.names import clean_category, clean_part


@pytest.mark.parametrize(
    ("name", "clean"),
    [
        ("car_(automobile)", "car"),
        ("drum_(musical_instrument)", "drum"),
        ("television receiver, television, tv", "television"),
        ("Dinning Table", "dining table"),
        ("Cabinet/shelf", "cabinet"),
        ("Moniter/TV", "monitor"),
        ("Tape Measur/ Ruler", "tape measure"),
        ("Formula 1 ", "racing car"),
        ("Hotair ballon", "hot air balloon"),
        ("aeroplane", "airplane"),
        ("  Potted   Plant", "potted plant"),
        ("trash_can", "trash can"),
        ("(unnamed)", "(unnamed)"),
        ("", ""),
    ],
)
def test_a_category_is_called_as_people_call_it(name: str, clean: str) -> None:
    assert clean_category(name) == clean
    assert clean_category(clean) == clean  # once is enough


@pytest.mark.parametrize(
    ("name", "clean"),
    [("Tier", "tire"), ("steeringwheel", "steering wheel"), ("left_arm", "left arm")],
)
def test_a_part_too(name: str, clean: str) -> None:
    assert clean_part(name) == clean


@pytest.mark.parametrize(
    ("one", "many"),
    [
        ("wheel", "wheels"),
        ("license plate", "license plates"),
        ("foot", "feet"),
        ("shelf", "shelves"),
        ("battery", "batteries"),
        ("key", "keys"),
        ("switch", "switches"),
        ("bus", "buses"),
        ("piece of cake", "pieces of cake"),
        ("sheep", "sheep"),
        ("scissors", "scissors"),
    ],
)
def test_the_plural(one: str, many: str) -> None:
    assert plural(one) == many
    assert plural(many) == many
