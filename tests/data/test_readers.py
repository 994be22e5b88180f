"""Reader processes: their number, and their start from any program."""

from pathlib import Path

import nbclient
import nbformat
import pytest
from helpers import small_data
from helpers.paths import ROOT
from helpers.programs import run
from helpers.tiny import data_config

from unires_jax.data.readers import reader_count


@pytest.mark.parametrize(
    ("workers", "cores", "pictures", "expected"),
    [
        (0, 64, 5000.0, 0),  # as set
        (5, 2, 0.0, 5),
        (-1, 2, 0.0, 1),  # a laptop trains on its CPU
        (-1, 1, 1e6, 1),
        (-1, 16, 600.0, 4),  # two cores' worth, twice
        (-1, 16, 601.0, 5),
        (-1, 208, 4900.0, 33),
        (-1, 16, 4900.0, 14),  # all but two
    ],
)
def test_how_many(workers: int, cores: int, pictures: float, expected: int) -> None:
    assert reader_count(workers, cores, pictures) == expected


PROGRAM = """
from unires_jax.config import *
from unires_jax.data.pipeline import run_tokenizer, train_batches

class Halves(tuple):
    '''Something of this program that a reader cannot import.'''

config = {config!r}
config.data.lengths = Halves(config.data.lengths)
batches = train_batches(config, run_tokenizer(config))
tokens = [next(batches).tokens.shape for _ in range(3)]
batches.close()
print("tokens", *tokens)
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("data")
    data = small_data.write(folder, train=[small_data.scene(i) for i in range(6)])
    return PROGRAM.format(config=data_config(data, data__workers=2))


def test_a_plain_script_without_a_guard_of_main(program: str, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(program)
    done = run(script, PYTHONPATH=str(ROOT))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("tokens") == 1  # the readers did not run it again
    assert done.stdout.endswith("tokens (4, 4, 16) (4, 4, 16) (4, 4, 16)\n")
    assert not done.stderr


def test_a_notebook(
    program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(program), nbformat.v4.new_code_cell("1 + 1")]
    )
    places = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=200, resources=places).execute()
    outputs = notebook.cells[0].outputs
    assert outputs[-1]["text"].endswith("(4, 4, 16)\n")
