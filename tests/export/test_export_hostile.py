"""Forged exports: a model, or a CheckpointError that names a file of it."""

import json
import random
import shutil
from pathlib import Path

import pytest
from helpers.exporting import reseal
from helpers.pictures import mutated
from helpers.places import places

from unires_jax.errors import CheckpointError
from unires_jax.inference import exported

VALUES = [None, True, 0, 1, -1, 3, 10**9, 10**30, 0.5, float("nan"), "", "x", [], {}]


def forge(r: random.Random, file: Path) -> None:
    """Change a value of a JSON file, or bytes of any file."""
    if file.suffix == ".json" and r.random() < 0.8:
        tree = json.loads(file.read_text())
        container, key = r.choice(places(tree))
        container[key] = r.choice(VALUES)
        file.write_text(json.dumps(tree))
    else:
        data = file.read_bytes()
        file.write_bytes(mutated(r, data, data or b"x"))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["safetensors", "orbax"])
def test_mutated_exports(kind: str, exports: Path, tmp_path: Path) -> None:
    """300 of each kind. Nothing outside the folder is touched.

    What is not refused is a model: of other weights where bytes of an array changed,
    since the forger's checksums agree.
    """
    r, refused = random.Random(0), 0
    names = ["unires.json", "config.json", "tokenizer.json", "model.safetensors"]
    for i in range(300):
        folder = tmp_path / "export"
        shutil.copytree(exports / kind, folder)
        files = [folder / n for n in names if (folder / n).exists()]
        files += [p for p in sorted(folder.glob("model/**/*")) if p.is_file()]
        file = r.choice(files)
        forge(r, file)
        if file.name != "unires.json":
            reseal(folder)
        try:
            exported.read(folder)
        except CheckpointError as error:
            refused += 1
            assert str(folder) in str(error), (i, file)
        shutil.rmtree(folder)
    assert 100 < refused < 300  # some files of orbax tell nothing that is needed
    assert list(tmp_path.iterdir()) == []
