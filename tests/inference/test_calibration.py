"""A calibration's file, what it changes in answers, and what it leaves."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.calibrations import calibration_of, stripes
from helpers.pictures import noise
from helpers.places import places
from helpers.tiny import WORDS, make_loaded, random_params, tiny_config

from unires_jax.errors import CheckpointError
from unires_jax.inference import calibration
from unires_jax.inference.calibration import Calibration
from unires_jax.inference.likeness import pooled_size
from unires_jax.inference.loaded import Loaded
from unires_jax.serving.predictor import Predictor


@pytest.fixture(scope="module")
def known(loaded: Loaded) -> Calibration:
    """Of noise."""
    return calibration_of(loaded, [noise(i, 40, 50) for i in range(60)])


@pytest.fixture(scope="module")
def calibrated(loaded: Loaded, known: Calibration) -> Predictor:
    return Predictor(dataclasses.replace(loaded, calibration=known))


@pytest.fixture
def file(tmp_path: Path, known: Calibration) -> Path:
    file = tmp_path / calibration.FILE
    file.write_text(known.to_json())
    return file


def test_it_comes_back_from_its_file(
    file: Path, loaded: Loaded, known: Calibration, predictor: Predictor
) -> None:
    back = calibration.read(file.parent, loaded.config.model, loaded.params)
    assert back is not None and back.to_json() == known.to_json()
    vector = predictor.encode_image(noise(1)).encoded.pooled
    expected = known.likeness.distance(vector)
    assert back.likeness.distance(vector) == pytest.approx(expected, rel=1e-3)
    rounded = jax.tree.map(
        lambda x: x.astype(jnp.bfloat16).astype(np.float32), loaded.params
    )
    assert calibration.read(file.parent, loaded.config.model, rounded)


def test_it_is_of_its_parameters_alone(
    file: Path, loaded: Loaded, caplog: pytest.LogCaptureFixture
) -> None:
    model = loaded.config.model
    assert calibration.read(file.parent, model, random_params(model, 0.5, 2)) is None
    assert "is of other parameters and not used: calibrate again" in caplog.text
    assert calibration.read(file.parent / "nothing", model, loaded.params) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x.update(format="unires_jax-calibration/9"),
        lambda x: x.pop("likeness"),
        lambda x: x["right"].update(scale=-1),
        lambda x: x["right"].update(offset=float("nan")),
        lambda x: x["nothing"].update(scale="steep"),
        lambda x: x["likeness"]["mean"].pop(),
        lambda x: x["likeness"]["axes"][0].pop(),
        lambda x: x["likeness"]["variances"].__setitem__(0, 0),
        lambda x: x["likeness"]["deviation"].__setitem__(0, float("inf")),
        lambda x: x["likeness"].update(limit=0),
        lambda x: x["likeness"].update(rest=10**400),
        lambda x: x.update(trained_on=[1]),
        *(
            lambda x, row=row: x.update(checks={"a": row})
            for row in (
                *(1, [], {}, {"pictures": 1, "unlike": "0.1"}),
                {"pictures": 10**400, "unlike": 0.1},
                {"pictures": 1, "unlike": 0.1, "auroc": None},
                {"pictures": 1, "unlike": 0.1, "error": 3},
                {"pictures": 1, "unlike": 0.1, "error": {"score": {"after": 0.1}}},
                {"pictures": 1, "unlike": 0.1, "error": {"score": [0.1, 0.2]}},
            )
        ),
    ],
)
def test_damaged_ones_are_named(
    change: Callable[[Any], Any], file: Path, loaded: Loaded
) -> None:
    values = json.loads(file.read_text())
    change(values)
    file.write_text(json.dumps(values))
    with pytest.raises(CheckpointError, match=r"calibration\.json.*unires calibrate"):
        calibration.read(file.parent, loaded.config.model, loaded.params)


def test_any_odd_value_is_a_calibration_or_named(file: Path, loaded: Loaded) -> None:
    whole = file.read_text()
    count = len(places(json.loads(whole)))
    odd: list[Any] = [None, [], -1, 10**30]
    for number in [*range(12), *range(12, count, count // 20)]:
        for value in odd:
            values = json.loads(whole)
            container, key = places(values)[number]
            container[key] = value
            file.write_text(json.dumps(values))
            try:
                calibration.read(file.parent, loaded.config.model, loaded.params)
            except CheckpointError as error:
                assert str(file) in str(error)


def test_numbers_are_calibrated_and_masks_are_not(
    calibrated: Predictor, predictor: Predictor, known: Calibration
) -> None:
    picture = noise(100, 40, 50)  # like those that it was fitted on
    before = predictor.segment(picture, WORDS)
    after = calibrated.segment(picture, WORDS)
    for old, new in zip(before, after, strict=True):
        np.testing.assert_array_equal(new.logits, old.logits)
        assert old.no_target_probability is not None and known.nothing
        nothing = known.nothing(old.no_target_probability)
        assert new.no_target_probability == pytest.approx(nothing)
        assert new.no_target == old.no_target
        assert new.quality == old.quality > 0
        assert new.raw_score == pytest.approx(old.quality * (1 - nothing))
        expected = known.right(old.quality) * (1 - nothing)
        assert new.score == pytest.approx(expected)
        assert (new.calibrated, old.calibrated) == (True, False)
        assert new.to_json()["calibrated"] and new.to_json()["score"] == new.score
        assert new.at(0.3).score == new.score  # the mask at one half is what is right
        assert old.score == old.raw_score


def test_pictures_of_another_kind_are_told(calibrated: Predictor) -> None:
    like = [calibrated.encode_image(noise(100 + i, 40, 50)) for i in range(20)]
    assert sum(bool(image.unlike) for image in like) <= 1
    image = calibrated.encode_image(stripes(0))
    assert image.distance is not None and image.distance > 1
    assert "unlike those that the model was trained on" in image.unlike
    assert not any(x.calibrated for x in calibrated.segment(image, WORDS))


def test_the_batch_and_the_padding_change_no_distance(calibrated: Predictor) -> None:
    pictures = [noise(i, 20 + 9 * i, 60 - 7 * i) for i in range(5)]
    pairs = [(picture, "a dog") for picture in [*pictures, stripes(0)]]
    for number, image, _ in calibrated.segment_pairs(pairs):
        alone = calibrated.encode_image(pairs[number][0])
        assert image.distance == pytest.approx(alone.distance, rel=1e-3)
        assert image.unlike == alone.unlike


def test_a_model_without_one_warns_of_nothing(predictor: Predictor) -> None:
    image = predictor.encode_image(stripes(0))
    assert (image.unlike, image.distance) == ("", None)
    assert predictor.about["calibrated_on"] == ""


def test_what_it_was_trained_on(loaded: Loaded, known: Calibration) -> None:
    meta = {**loaded.meta, "data": {"partworld:train": "a", "coco/x:train": "b"}}
    named = dataclasses.replace(loaded, meta=meta)
    words = "drawn scenes of PartWorld, coco/x:train"
    assert Predictor(named).trained_on == named.about["trained_on"] == words
    counted = dataclasses.replace(named, calibration=known)
    words = "drawn scenes of PartWorld (1,234 pictures), coco/x:train"
    assert counted.trained_on == words
    assert counted.about["calibrated_on"] == "boxes:val"
    assert loaded.trained_on == ""
    assert words in Predictor(counted).encode_image(stripes(0)).unlike


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"stem_channels": 0},
        {"figure_only": True},
        {"mask_head": "upsample"},
        {"mask_head": "upsample", "stem_channels": 0},
    ],
)
def test_the_size_of_pooled_features(changes: dict[str, Any], tmp_path: Path) -> None:
    config = tiny_config(**{f"model__{name}": x for name, x in changes.items()})
    model = Predictor(make_loaded(tmp_path, config))
    vector = model.encode_image(noise(0)).encoded.pooled
    assert vector.shape == (pooled_size(config.model),)
