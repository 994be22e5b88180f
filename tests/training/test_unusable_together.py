"""Two real processes stop together over records that neither met enough of alone."""

import dataclasses
from pathlib import Path

import pytest
from helpers import small_data
from helpers.programs import check_in_two_processes
from helpers.tiny_run import config_file, run_config

TRAIN = """
from pathlib import Path
from unires_jax.app import load_config
from unires_jax.data.pipeline import run_tokenizer
from unires_jax.errors import DataError
from unires_jax.mesh import make_mesh
from unires_jax.training.recipe import make_recipe
from unires_jax.training.trainer import fit

config = load_config("{file}")
workdir = Path("{workdir}")
try:
    fit(make_recipe(config, make_mesh(config.mesh)), workdir, run_tokenizer(config))
except DataError as error:
    (workdir / f"said-{{me}}").write_text(str(error))
"""


@pytest.mark.slow
def test_both_stop_at_one_step(tmp_path: Path) -> None:
    scenes = [small_data.scene(i, pairs=2) for i in range(16)]
    for i in (1, 4, 9, 14):
        scenes[i] = dataclasses.replace(scenes[i], image=scenes[i].image[:200])
    data = small_data.write(tmp_path / "data", train=scenes, val=scenes[:2])
    config = run_config(data, data__max_bad_share=0.2, train__log_every=1)  # 3 of 16
    file, workdir = config_file(tmp_path, config), tmp_path / "run"
    check_in_two_processes(TRAIN.format(file=file, workdir=workdir), 600)
    first, second = ((workdir / f"said-{i}").read_text() for i in range(2))
    assert first == second
    assert first.startswith("4 of 16 records are unusable")
    own = [len(f.read_text().splitlines()) for f in workdir.glob("rejected*.jsonl")]
    assert sum(own) == 4 and max(own) < 4
    assert all(f"{n} by process" in first for n in own)
