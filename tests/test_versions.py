"""Every Python of the metadata has constraints, within what the package asks for."""

import tomllib

import pytest
from helpers.paths import ROOT
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PYTHONS = sorted(path.stem for path in (ROOT / "constraints").glob("*.txt"))


def test_pythons_are_those_of_the_metadata() -> None:
    stated = [f"Programming Language :: Python :: {python}" for python in PYTHONS]
    assert PROJECT["classifiers"] == stated
    every = [f"3.{minor}" for minor in range(30)]
    assert list(SpecifierSet(PROJECT["requires-python"]).filter(every)) == PYTHONS


@pytest.mark.parametrize("python", PYTHONS)
def test_constraints_meet_every_requirement(python: str) -> None:
    pins = {}
    for line in (ROOT / "constraints" / f"{python}.txt").read_text().splitlines():
        name, version = line.split("==")
        pins[canonicalize_name(name)] = version
    extras = PROJECT["optional-dependencies"].values()
    for text in sum(extras, PROJECT["dependencies"]):
        requirement = Requirement(text)
        marker = requirement.marker
        asked = marker is None or marker.evaluate({"python_version": python})
        if asked and requirement.name != PROJECT["name"]:
            pin = pins.get(canonicalize_name(requirement.name))
            assert pin and pin in requirement.specifier, f"{text}: {pin}"
