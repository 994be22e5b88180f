"""Mutated inputs of every reader: typed errors, nothing executed, no hang.

Parquet is read by a C++ library, so its inputs go through a process of their own.
"""

import json

import pytest
from helpers import mutations
from helpers.paths import HELPERS
from helpers.programs import run

# 11 forms x 9,000, and 10,300 of MRES JSONL (test_mres_fuzz.py): above 100,000.
FEW, MANY = 60, 9000


def outcomes(form: str, count: int, seed: int) -> dict[str, int]:
    """How the mutated inputs of a form ended."""
    if form not in mutations.PARQUET:
        return mutations.run(form, count, seed)
    done = run("-m", "helpers.mutations", form, count, seed, cwd=HELPERS.parent)
    assert done.returncode == 0, done.stderr[-2000:]
    figures = json.loads(done.stdout.splitlines()[-1])
    return {k: v for k, v in figures.items() if k not in ("form", "seconds")}


@pytest.mark.parametrize("count", [FEW, pytest.param(MANY, marks=pytest.mark.slow)])
@pytest.mark.parametrize("form", mutations.WRITERS)
def test_mutated_inputs(form: str, count: int) -> None:
    counts = outcomes(form, count, seed=1)
    assert sum(counts.values()) == count
    assert counts.get("some") and len(counts) > 1  # not all refused, not all harmless
