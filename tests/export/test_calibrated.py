"""`unires calibrate`: a run and its exports report the same honest numbers."""

import dataclasses
import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers import small_data
from helpers.calibrations import stripes
from helpers.coloured_boxes import make_record
from helpers.exporting import reseal, run_elsewhere, write_run
from helpers.pictures import noise
from helpers.tiny import WORDS, make_loaded, random_params, tiny_config
from PIL import Image

import unires_jax
from unires_jax import cli
from unires_jax.data.prepared import open_split
from unires_jax.errors import CheckpointError, ConfigError
from unires_jax.evaluation import calibrate_command
from unires_jax.export.card import model_card
from unires_jax.export.command import export
from unires_jax.inference import exported
from unires_jax.inference.model import load
from unires_jax.pixels.images import decode_image

BOXES = make_record(100)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    records = [make_record(i) for i in range(50)]
    small_data.write(folder, "boxes", val=records[:44], testA=records[44:])
    return folder


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    """A run that was not calibrated."""
    folder = tmp_path_factory.mktemp("run")
    config = tiny_config(
        data__dir=str(data),
        eval__splits=("boxes:val",),
        eval__batch=8,
        model__mask_head="upsample",
    )
    params = random_params(config.model, 0.5, 0)  # which tell stripes from boxes
    loaded = dataclasses.replace(make_loaded(folder, config), params=params)
    return write_run(folder / "run", loaded)


@pytest.fixture(scope="module")
def run(plain: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run, calibrated; striped pictures are another kind."""
    folder = tmp_path_factory.mktemp("calibrated")
    photos = folder / "photos"
    photos.mkdir()
    for i in range(3):
        Image.fromarray(stripes(i)).save(photos / f"{i}.png")
    copy = shutil.copytree(plain, folder / "run")
    argv = ["calibrate", "--checkpoint", str(copy), "--check", "boxes:testA"]
    assert cli.main([*argv, "--against", str(photos)]) == 0
    return copy


@pytest.fixture(scope="module")
def folder(run: Path) -> Path:
    """The calibrated run's export."""
    return export(run, "safetensors", run.parent / "exported")


def digests(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in files
    }


def test_a_run_gets_one_file_and_no_other_changes(plain: Path, run: Path) -> None:
    """So a training goes on as without it."""
    before, after = digests(plain), digests(run)
    assert after.keys() - before.keys() == {"calibration.json"}
    assert {name: after[name] for name in before} == before


def test_masks_stay_and_numbers_are_those_of_the_export(
    plain: Path, run: Path, folder: Path
) -> None:
    models = [unires_jax.load(path) for path in (plain, folder, run)]
    answers = [model.segment(BOXES.image, WORDS) for model in models]
    for raw, there, live in zip(*answers, strict=True):
        np.testing.assert_array_equal(live.logits, raw.logits)
        assert live.calibrated and not raw.calibrated
        assert live.no_target == raw.no_target
        assert there.score == live.score
    assert [m.about["calibrated_on"] for m in models] == ["", *["boxes:val"] * 2]
    images = [model.encode_image(stripes(7)) for model in models]
    assert [bool(image.unlike) for image in images] == [False, True, True]
    assert images[1].distance == images[2].distance
    assert not models[-1].encode_image(BOXES.image).unlike


def test_the_card_says_what_was_measured(plain: Path, folder: Path) -> None:
    card = (folder / "README.md").read_text()
    assert "A score is the probability that the mask is right" in card
    for row in ("| boxes:val | 44 |", "| boxes:testA | 6 |", "AUROC 1.0000"):
        assert row in card
    assert "It was not calibrated" in model_card(load(plain), "")


def test_run_py_says_the_same_where_the_package_is_not(
    run: Path, folder: Path, tmp_path: Path
) -> None:
    elsewhere = shutil.copytree(folder, tmp_path / "elsewhere")
    model = unires_jax.load(run)
    told = []
    for pixels in (stripes(7), decode_image(BOXES.image)):
        image = Image.fromarray(pixels)
        masks, output, warnings = run_elsewhere(elsewhere, image, WORDS, tmp_path)
        encoded = model.encode_image(pixels)
        told.append(bool(encoded.unlike))
        assert ("looks unlike" in warnings) == told[-1]
        answers = model.segment(encoded, WORDS)
        for mask, line, answer in zip(masks, output.splitlines(), answers, strict=True):
            np.testing.assert_array_equal(mask, answer.mask)
            assert line.endswith(f"score {answer.score:.2f}")
            assert answer.no_target_probability is not None
            assert f"{answer.no_target_probability:.0%} that nothing" in line
    assert told == [True, False]


def test_an_export_can_be_calibrated_itself(
    run: Path, folder: Path, data: Path, tmp_path: Path
) -> None:
    """One that was written before there were calibrations loads as ever."""
    folder = Path(shutil.copytree(folder, tmp_path / "exported"))
    (folder / "calibration.json").unlink()
    reseal(folder)
    assert not unires_jax.load(folder).segment(noise(0), WORDS)[0].calibrated
    argv = ["calibrate", "--checkpoint", str(folder), "--data_dir", str(data)]
    assert cli.main([*argv, "--split", "boxes:val"]) == 0
    exported.check_files(folder, exported.read_manifest(folder))
    values = json.loads((folder / "calibration.json").read_text())
    expected = json.loads((run / "calibration.json").read_text())
    assert {**values, "checks": {}} == {**expected, "checks": {}}
    assert values["checks"] == {"boxes:val": expected["checks"]["boxes:val"]}
    assert unires_jax.load(folder).segment(noise(0), WORDS)[0].calibrated
    (folder / "calibration.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"calibration\.json: changed"):
        unires_jax.load(folder)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--checkpoint", "bundled"], "copy a model of the hub"),
        (["--checkpoint", "{run}", "--split", "boxes:no"], "no split 'no'"),
        (["--checkpoint", "{run}", "--images", "9"], "9 pictures are too few"),
        (["--checkpoint", "{run}", "--against", "{run}"], "holds no picture"),
    ],
)
def test_what_cannot_be_calibrated_is_named(
    argv: list[str], message: str, plain: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [word.format(run=plain) for word in argv]
    assert cli.main(["calibrate", *words]) == 1
    assert message in capsys.readouterr().err
    assert not (plain / "calibration.json").exists()


def test_a_split_that_the_model_was_trained_on_is_refused(
    plain: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = load(plain)
    trained = {"boxes:val": open_split("boxes:val", str(data)).fingerprint()}
    meta = loaded.meta | {"data": trained}
    told = dataclasses.replace(loaded, meta=meta)
    monkeypatch.setattr(calibrate_command, "load", lambda _: told)
    with pytest.raises(ConfigError, match="--split=boxes:val: the model was trained"):
        calibrate_command.run(str(plain))
