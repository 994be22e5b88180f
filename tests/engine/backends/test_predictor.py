"""Our own Predictor as grounder: its answers, no torch, a fingerprint of its files."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.programs import run as program

from unires_jax import partworld
from unires_jax.data.records import decode_record_image, target_mask
from unires_jax.engine import backends
from unires_jax.engine.roles import Grounder, ModelError


@pytest.fixture(scope="module")
def quickstart() -> Any:
    return backends.load("predictor:", "grounder")


@pytest.fixture(scope="module")
def tiny(run: Path) -> Any:
    return backends.load(f"predictor:{run}", "grounder")


def test_the_quickstart_answers_as_its_predictor(quickstart: Any) -> None:
    record = partworld.draw_record(0, "val", 3)
    image = decode_record_image(record)
    texts = [x.sent for x in record.expressions]
    assert isinstance(quickstart, Grounder)
    masks = quickstart.ground(image, texts)
    for mask, segment in zip(
        masks, quickstart.predictor.segment(image, texts), strict=True
    ):
        np.testing.assert_array_equal(mask, segment.mask)
    truths = [target_mask(record, x).pixels() for x in record.expressions]
    ious = [(m & t).sum() / (m | t).sum() for m, t in zip(masks, truths, strict=True)]
    assert np.mean(ious) > 0.3


def test_alone_or_among_others(tiny: Any) -> None:
    image = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    texts = ["the red car", "a house", "big dog head", "wheels of the truck"]
    for text, mask in zip(texts, tiny.ground(image, texts), strict=True):
        (alone,) = tiny.ground(image, [text])
        assert (alone != mask).sum() <= 2  # a logit of zero, to the last digit
    assert tiny.ground(image, []) == []


@pytest.mark.parametrize("size", [(5000, 4000), (1, 300)])
def test_pictures_of_any_size(tiny: Any, size: tuple[int, int]) -> None:
    (mask,) = tiny.ground(np.zeros((*size, 3), np.uint8), ["the red car"])
    assert mask.shape == size and mask.dtype == bool


def test_a_fingerprint_is_of_the_model(
    run: Path, tiny: Any, quickstart: Any, tmp_path: Path
) -> None:
    shutil.copytree(run, tmp_path / "copy")
    copy = backends.load(f"predictor:{tmp_path / 'copy'}", "grounder")
    assert copy.fingerprint == tiny.fingerprint != quickstart.fingerprint
    assert len(tiny.fingerprint) == 12


def test_what_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such folder"):
        backends.load(f"predictor:{tmp_path / 'none'}", "grounder")
    with pytest.raises(ModelError, match="expected auto, float32"):
        backends.load("predictor:", "grounder", dtype="int8")


def test_torch_is_not_needed() -> None:
    code = (
        "import sys; sys.modules['torch'] = sys.modules['transformers'] = None\n"
        "from unires_jax.engine import backends\n"
        "assert 'jax' not in sys.modules\n"
        "backends.load('predictor:', 'grounder')\n"
        "backends.load('clip:x', 'scorer')"
    )
    done = program("-c", code)
    assert "clip:x" in done.stderr and "'unires_jax[engine]'" in done.stderr
    assert "ModelError" in done.stderr.splitlines()[-1]
