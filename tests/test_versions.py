"""Every Python of the metadata has constraints, within what the package asks for."""

import re
import tomllib
from collections.abc import Iterable, Iterator

import pytest
from helpers.paths import ROOT
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
PYTHONS = sorted(path.stem for path in (ROOT / "constraints").glob("*.txt"))


def test_pythons_are_those_of_the_metadata() -> None:
    stated = [f"Programming Language :: Python :: {python}" for python in PYTHONS]
    assert PROJECT["classifiers"] == stated
    every = [f"3.{minor}" for minor in range(30)]
    assert list(SpecifierSet(PROJECT["requires-python"]).filter(every)) == PYTHONS


def test_scripts_name_constraints_that_are_there() -> None:
    for script in (ROOT / "benchmarks").glob("*.sh"):
        for name in re.findall(r"\$root/(constraints\S*?\.txt)", script.read_text()):
            assert (ROOT / name).is_file(), f"{script.name} names {name}"


def asked(lines: Iterable[str], python: str) -> Iterator[Requirement]:
    """The requirements that hold on this Python, those of our own extras unfolded."""
    for requirement in map(Requirement, lines):
        marker = requirement.marker
        if marker and not marker.evaluate({"python_version": python}):
            continue
        if requirement.name == PROJECT["name"]:
            for extra in requirement.extras:
                yield from asked(EXTRAS[extra], python)
        else:
            yield requirement


@pytest.mark.parametrize("python", PYTHONS)
def test_constraints_meet_every_requirement(python: str) -> None:
    pins = {}
    for line in (ROOT / "constraints" / f"{python}.txt").read_text().splitlines():
        name, version = line.split("==")
        pins[canonicalize_name(name)] = version
    devices = EXTRAS["cuda"] + EXTRAS["cuda13"] + EXTRAS["tpu"]
    for requirement in asked(PROJECT["dependencies"] + EXTRAS["dev"] + devices, python):
        pin = pins.get(canonicalize_name(requirement.name))
        assert pin and pin in requirement.specifier, f"{requirement}: {pin}"
