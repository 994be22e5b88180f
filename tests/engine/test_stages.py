"""What a stage reads of the settings is what makes its shards stale."""

import ast
import importlib.util
from pathlib import Path

import pytest

from unires_jax.config import fields
from unires_jax.engine.settings import EngineConfig
from unires_jax.engine.stages import PLAN, STAGES, Stage


def test_each_reads_the_one_before() -> None:
    names = [stage.name for stage in STAGES]
    assert [stage.reads for stage in STAGES] == [PLAN, *names[:-1]]
    known = {name for name, _ in fields(EngineConfig)}
    known |= {name.partition(".")[0] for name in known}
    assert all(set(stage.settings) <= known for stage in STAGES)


@pytest.mark.parametrize("stage", STAGES, ids=lambda s: s.name)
def test_a_stage_declares_the_settings_that_it_reads(stage: Stage) -> None:
    spec = importlib.util.find_spec(f"unires_jax.engine.{stage.name}")
    if spec is None or spec.origin is None:
        pytest.skip("the stage is not there yet")
    groups = set()
    for node in ast.walk(ast.parse(Path(spec.origin).read_text())):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value).endswith(
            "config"
        ):
            groups.add(node.attr)
    declared = {name.partition(".")[0] for name in stage.settings}
    assert groups - {"models"} <= declared
