"""The comment beside a setting, wherever the formatter put it."""

import dataclasses

from unires_jax.settings_help import comments, meanings


@dataclasses.dataclass
class Wheel:
    """A wheel."""

    spokes: int = 32  # of steel
    rim: str = "narrow"  # "narrow" or "wide"
    size: int = 28


@dataclasses.dataclass
class Bicycle:
    gears: int = 3  # at the hub
    wheel: Wheel = dataclasses.field(default_factory=Wheel)


def build(
    place,
    *,
    raw: str = "raw",  # folder of what was downloaded
    workers: int = 0,
    share: float = (0.001),  # of entries
    **more: object,
) -> None:
    """A builder's way to take options."""


def one_line(*, first=1, second=2): ...  # of nobody


WHEEL = {"spokes": "of steel", "rim": '"narrow" or "wide"', "size": ""}


def test_fields_of_a_class() -> None:
    assert comments(Wheel) == WHEEL


def test_keyword_arguments_of_a_function() -> None:
    assert comments(build) == {
        "raw": "folder of what was downloaded",
        "workers": "",
        "share": "of entries",
    }
    assert comments(one_line) == {}


def test_nested_settings_go_by_dotted_names() -> None:
    of_wheel = {f"wheel.{name}": meaning for name, meaning in WHEEL.items()}
    assert meanings(Bicycle) == {"gears": "at the hub"} | of_wheel
