"""A model goes to the hub and comes back; the hub is a stand-in on loopback."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml
from helpers import hub_server
from helpers.hub_server import Hub
from helpers.paths import ROOT
from helpers.pictures import noise
from helpers.programs import run as program
from helpers.tiny import WORDS

import unires_jax
from unires_jax.errors import CheckpointError, UsageError
from unires_jax.export.hub import push
from unires_jax.inference import places


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    with hub_server.serve() as server:
        yield server


def unires(hub: Hub, home: Path, *argv: str, token: str = hub_server.TOKEN) -> str:
    """What a command prints, where the hub is the stand-in."""
    environment = {"HF_ENDPOINT": hub.url, "HF_HOME": str(home), "HF_TOKEN": token}
    environment |= {"HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0"}
    done = program(*argv, **environment)
    return done.stdout + done.stderr


CLI = ("-m", "unires_jax.cli")
ASK = """
import sys, numpy as np, unires_jax
model = unires_jax.load(sys.argv[1])
answers = model.segment(np.load(sys.argv[2]), sys.argv[3:])
np.save(sys.argv[2], np.stack([a.mask for a in answers]))
"""


def test_a_run_is_pushed_and_answers_from_the_hub(
    hub: Hub, run: Path, exports: Path, tmp_path: Path
) -> None:
    told = unires(hub, tmp_path, *CLI, "push", "me/one", "--checkpoint", str(run))
    assert "/me/one/commit/" in told
    files = hub.repositories["me/one"]
    names = {"unires.json", "config.json", "tokenizer.json", "model.safetensors"}
    assert names | {"README.md", "run.py", "steps.py"} <= files.keys()
    _, front, card = files["README.md"].decode().split("---\n", 2)
    fields = yaml.safe_load(front)
    assert fields["library_name"] == "unires_jax" and "## Limits" in card
    assert fields["pipeline_tag"] == "image-segmentation"

    image = noise(3, 40, 50)
    np.save(tmp_path / "x.npy", image)
    unires(hub, tmp_path, "-c", ASK, "me/one", str(tmp_path / "x.npy"), *WORDS[:2])
    expected = unires_jax.load(exports / "safetensors").segment(image, WORDS[:2])
    answers = np.load(tmp_path / "x.npy")
    np.testing.assert_array_equal(answers, [a.mask for a in expected])


def test_an_export_is_pushed_as_it_is(hub: Hub, exports: Path, tmp_path: Path) -> None:
    folder = exports / "orbax"
    argv = ("push", "org/two", "--checkpoint", str(folder), "--private")
    unires(hub, tmp_path, *CLI, *argv)
    files = hub.repositories["org/two"]
    own = [p for p in folder.rglob("*") if p.is_file() and "__pycache__" not in str(p)]
    for path in own:
        assert files[path.relative_to(folder).as_posix()] == path.read_bytes()
    assert "org/two" in hub.private


def test_a_refusal_and_an_absent_model_are_told(
    hub: Hub, exports: Path, tmp_path: Path
) -> None:
    argv = (*CLI, "push", "me/three", "--checkpoint", str(exports / "safetensors"))
    told = unires(hub, tmp_path, *argv, token="hf_wrong")
    assert "HTTP 401" in told and "hf auth login" in told and "Traceback" not in told
    assert "me/three" not in hub.repositories
    argv = (*CLI, "predict", str(ROOT / "docs" / "predict.png"), "a dog")
    told = unires(hub, tmp_path, *argv, "--checkpoint", "me/nothing")
    assert "me/nothing: no such folder here" in told and "Traceback" not in told


@pytest.mark.parametrize("name", ["me", "me/../x", "a/b/c", "", "me/x@main"])
def test_what_is_no_hub_id(name: str) -> None:
    with pytest.raises(UsageError, match="is no hub id"):
        push("anything", name)


def test_what_exists_is_not_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    assert places.find("runs/mine") == "runs/mine"
    assert places.find("../elsewhere") == "../elsewhere"
    assert places.find("bundled") == places.BUNDLED
    (tmp_path / "bundled").mkdir()
    assert places.find("bundled") == "bundled"
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(CheckpointError, match="runs/other: no such folder here"):
        places.find("runs/other")


def test_finding_a_model_imports_no_hub() -> None:
    names = "import sys, unires_jax.inference.places"
    done = program("-c", f"{names}; print('huggingface_hub' in sys.modules)")
    assert done.stdout.strip() == "False"
