"""What tracing gave is kept: the next start asks no model, and answers the same."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from helpers.pictures import noise
from helpers.tiny import WORDS, tiny_config

from unires_jax.inference import traces
from unires_jax.inference.loaded import Loaded
from unires_jax.models.unires import Apply
from unires_jax.parameters import flatten
from unires_jax.serving.predictor import Predictor


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Path]:
    """Where traces are kept meanwhile."""
    settings = {"jax_compilation_cache_dir": str(tmp_path)}
    settings["jax_enable_compilation_cache"] = True
    before = {name: jax.config.values[name] for name in settings}
    for name, value in settings.items():
        jax.config.update(name, value)
    yield tmp_path / traces.FOLDER
    for name, value in before.items():
        jax.config.update(name, value)


def logits(predictor: Predictor) -> np.ndarray:
    return np.stack([s.logits for s in predictor.segment(noise(0), WORDS)])


def test_the_next_start_traces_nothing_and_answers_the_same(
    loaded: Loaded, predictor: Predictor, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = logits(predictor)
    np.testing.assert_array_equal(logits(Predictor(loaded)), expected)
    assert len(list(kept.iterdir())) == 3
    with monkeypatch.context() as patch:
        patch.setattr(traces, "_apply", lambda _: pytest.fail("traced"))
        again = Predictor(loaded)
        np.testing.assert_array_equal(logits(again), expected)
        with pytest.raises(pytest.fail.Exception, match="traced"):  # of another size
            again.segment(noise(0), WORDS[:1] * 33)
        patch.setattr(traces, "_code", lambda: "another version")
        with pytest.raises(pytest.fail.Exception, match="traced"):
            Predictor(loaded).encode_image(noise(0))


def test_shapes_are_kept_and_made_anew_where_their_file_is_damaged(
    kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_config().model
    expected = jax.tree.leaves_with_path(Apply(model).abstract)
    assert jax.tree.leaves_with_path(traces.abstract(model)) == expected
    (file,) = kept.iterdir()
    with monkeypatch.context() as patch:
        patch.setattr(traces, "_apply", lambda _: pytest.fail("traced"))
        assert jax.tree.leaves_with_path(traces.abstract(model)) == expected
        file.write_bytes(file.read_bytes()[:-1])
        with pytest.raises(pytest.fail.Exception, match="traced"):
            traces.abstract(model)
    assert jax.tree.leaves_with_path(traces.abstract(model)) == expected
    assert len(file.read_bytes()) > 1000


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("jax_compilation_cache_dir", None),
        ("jax_compilation_cache_dir", "gs://bucket/programs"),
        ("jax_enable_compilation_cache", False),
    ],
)
def test_nothing_is_kept_where_jax_keeps_nothing(
    setting: str, value: Any, kept: Path, loaded: Loaded
) -> None:
    before = getattr(jax.config, setting)
    jax.config.update(setting, value)
    try:
        shapes = traces.abstract(loaded.config.model)
    finally:
        jax.config.update(setting, before)
    assert set(flatten(shapes)) == set(flatten(loaded.params))
    assert not kept.exists()


def test_a_folder_that_cannot_be_written_keeps_nothing(kept: Path) -> None:
    kept.write_text("a file")
    assert traces.abstract(tiny_config().model)
