"""The model that comes with the package knows which pictures it was made for."""

import json
from pathlib import Path

import pytest
from helpers.calibrations import stripes
from helpers.pictures import noise

import unires_jax
from unires_jax import cli
from unires_jax.partworld.world import draw_record
from unires_jax.pixels.images import decode_image
from unires_jax.serving import predict
from unires_jax.serving.photo import encode_png
from unires_jax.serving.predictor import Predictor


@pytest.fixture(scope="module")
def bundled() -> Predictor:
    return unires_jax.load()


def test_drawn_scenes_are_known_and_others_are_told(bundled: Predictor) -> None:
    drawn = [decode_image(draw_record(11, "val", i).image) for i in range(16)]
    other = [make(i, 120, 160) for make in (noise, stripes) for i in range(4)]
    told = [bool(bundled.encode_image(x).unlike) for x in drawn + other]
    assert sum(told[:16]) <= 1
    assert all(told[16:])


def test_it_says_what_it_was_trained_on(bundled: Predictor) -> None:
    assert bundled.trained_on == "drawn scenes of PartWorld (24,000 pictures)"
    assert bundled.about["calibrated_on"] == "partworld:val"
    assert bundled.trained_on in bundled.encode_image(stripes(0, 120, 160)).unlike


def test_the_command_warns_and_shows_no_score(
    bundled: Predictor,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(predict, "start", lambda _: bundled)
    scene, other = tmp_path / "scene.png", tmp_path / "other.png"
    scene.write_bytes(encode_png(decode_image(draw_record(11, "val", 0).image)))
    other.write_bytes(encode_png(stripes(0, 120, 160)))
    argv = ["--out", str(tmp_path / "masks"), "--jsonl", str(tmp_path / "all.jsonl")]
    assert cli.main(["predict", str(scene), "the dog", *argv]) == 0
    assert capsys.readouterr().err == ""
    assert cli.main(["predict", str(other), "the dog", *argv]) == 0
    out, err = capsys.readouterr()
    assert err.startswith("warning: the picture looks unlike those that the model was")
    assert "drawn scenes of PartWorld" in err and "?" in out
    assert cli.main(["predict", str(scene), str(other), "the dog", *argv]) == 0
    assert (
        "warning: 1 of 2 pictures (other.png): the picture" in capsys.readouterr().err
    )
    lines = (tmp_path / "all.jsonl").read_text().splitlines()
    unlike = {x["picture"]: x["unlike"] for x in map(json.loads, lines)}
    assert unlike["scene.png"] == "" and "looks unlike" in unlike["other.png"]
    about = json.loads((tmp_path / "masks" / "other.png.json").read_text())
    assert about["unlike"] == unlike["other.png"]
    calibrated = {x["picture"]: x["calibrated"] for x in map(json.loads, lines)}
    assert calibrated == {"scene.png": True, "other.png": False}
