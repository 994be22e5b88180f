"""A tiny language model as vocabulary: asked once, its answers kept, read strictly."""

import json
from pathlib import Path
from typing import Any

import pytest

# ruff: noqa: E402 (without torch nothing here can be imported)
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from helpers import tiny_language_models as tiny

from unires_jax.engine import backends
from unires_jax.engine.backends.causal_lm import CausalLM
from unires_jax.engine.roles import ModelError, Vocabulary

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return tiny.make_causal_lm(tmp_path_factory.mktemp("lm"))


class Counting(CausalLM):
    """Counts what the model is asked, and answers in its place where it is told to."""

    says: str | None = None
    asked = 0

    def _answer(self, prompt: str) -> str:
        self.asked += 1
        return super()._answer(prompt) if self.says is None else self.says


def test_an_answer_is_kept(folder: Path, tmp_path: Path) -> None:
    model = Counting(str(folder), "cpu", kept=tmp_path)
    assert isinstance(model, Vocabulary)
    assert model.parts("car") == []  # a random model writes no list
    model.parts("car")
    assert model.asked == 1
    (file,) = tmp_path.glob(f"causal_lm-{model.fingerprint}/*.json")
    assert set(json.loads(file.read_text())) == {"prompt", "answer"}
    again = Counting(str(folder), "cpu", kept=tmp_path)
    again.parts("car")
    assert again.asked == 0
    for spoilt in ("{", "[]", json.dumps({"prompt": "another", "answer": "[]"})):
        file.write_text(spoilt)
        again.parts("car")
    assert again.asked == 3


def test_answers_are_greedy_and_of_the_prompt(folder: Path, tmp_path: Path) -> None:
    model = Counting(str(folder), "cpu", kept=tmp_path / "a")
    other = Counting(str(folder), "cpu", kept=tmp_path / "b")
    assert model._answer("car") == other._answer("car") != ""
    assert model._answer("car") != model._answer("dog")


def test_lists_become_names_and_paraphrases(folder: Path, tmp_path: Path) -> None:
    model = Counting(str(folder), "cpu", kept=tmp_path)
    model.says = '["wheel", "front door"]'
    assert model.parts("car") == ["wheel", "front door"]
    model.says = '["the car\'s wheel", "the tire of the car"]'
    assert model.paraphrase("the wheel of the car") == ["the car's wheel"]


def test_where_the_user_keeps_things(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    model: Any = backends.load(f"causal_lm:{folder}", "vocabulary", "cpu")
    model.parts("car<|im_end|>")
    assert list(tmp_path.glob("unires_jax/engine/causal_lm-*/*.json"))


def test_what_cannot_answer(folder: Path, tmp_path: Path) -> None:
    silent = tiny.make_causal_lm(tmp_path / "silent", chat=False)
    with pytest.raises(ModelError, match="no chat template"):
        backends.load(f"causal_lm:{silent}", "vocabulary", "cpu")
    tiny.copy_without_a_tensor(folder, tmp_path / "less")
    with pytest.raises(ModelError, match="missing"):
        backends.load(f"causal_lm:{tmp_path / 'less'}", "vocabulary", "cpu")
