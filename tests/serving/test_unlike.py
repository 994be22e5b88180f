"""The model that comes with the package knows which pictures it was made for."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
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


def texture(seed: int) -> np.ndarray:
    """Coloured noise of all sizes, the large ones strongest, as photographs have it."""
    rng = np.random.default_rng(seed)
    total = np.zeros((120, 160, 3))
    for cells in (3, 6, 12, 24, 48, 96):
        small = rng.normal(size=(cells, cells, 3))
        total += cv2.resize(small, (160, 120), interpolation=cv2.INTER_CUBIC) / cells
    total = (total - total.min()) / np.ptp(total)
    return (255 * total).astype(np.uint8)


def test_drawn_scenes_are_known_and_others_are_told(bundled: Predictor) -> None:
    drawn = [decode_image(draw_record(11, "val", i).image) for i in range(32)]
    other = [texture(i) for i in range(8)] + [noise(i, 120, 160) for i in range(8)]
    told = [
        bool(answer.image.unlike)
        for answer in bundled.segment_pairs([(x, "the dog") for x in drawn + other])
    ]
    assert sum(told[:32]) <= 1
    assert all(told[32:])


def test_it_says_what_it_was_trained_on(bundled: Predictor) -> None:
    assert bundled.trained_on == "drawn scenes of PartWorld (8,000 pictures)"
    assert bundled.about["calibrated_on"] == "partworld:val"
    assert bundled.trained_on in bundled.encode_image(texture(0)).unlike


def test_the_command_warns_and_shows_no_score(
    bundled: Predictor,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(predict, "start", lambda _: bundled)
    scene, other = tmp_path / "scene.png", tmp_path / "other.png"
    scene.write_bytes(encode_png(decode_image(draw_record(11, "val", 0).image)))
    other.write_bytes(encode_png(texture(0)))
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
