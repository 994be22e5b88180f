"""Photos with an EXIF orientation: their masks lie right in training and prediction."""

import json
from pathlib import Path

import numpy as np
import pytest
from helpers.pictures import encoded
from helpers.small_data import rectangle
from PIL import Image

from unires_jax.data.prepared import open_split
from unires_jax.data.records import decode_record_image, runs_of
from unires_jax.errors import DataError
from unires_jax.pixels.masks import RunMask
from unires_jax.prepare.build import build
from unires_jax.prepare.doctor.command import examine, main
from unires_jax.serving.photo import read_photo

BOX = rectangle((48, 64), 10, 6, 20, 15)  # red in the stored picture, on blue


def raw(folder: Path, number: int, masks: str) -> Path:
    """One photo of that orientation, its mask drawn on the stored or upright pixels."""
    pixels = np.full((48, 64, 3), (20, 30, 200), np.uint8)
    pixels[BOX] = (220, 30, 20)
    exif = Image.Exif()
    exif[0x0112] = number
    folder.mkdir(parents=True)
    image = Image.fromarray(pixels)
    photo = encoded(image, "JPEG", quality=95, subsampling=0, exif=exif.tobytes())
    (folder / "photo.jpg").write_bytes(photo)
    mask = BOX
    if masks == "upright":
        seen = read_photo(photo).pixels
        mask = seen[:, :, 0] > 120
    line = {
        "image": "photo.jpg",
        "image_id": 1,
        "height": mask.shape[0],
        "width": mask.shape[1],
        "masks": [
            {
                "id": "a",
                "level": "object",
                "category": "box",
                "rle": RunMask.from_pixels(mask).rle,
            }
        ],
        "expressions": [{"text": "the red box", "level": "object", "targets": ["a"]}],
    }
    (folder / "train.jsonl").write_text(json.dumps(line) + "\n")
    return folder


@pytest.mark.parametrize("number", [3, 6])
@pytest.mark.parametrize("masks", ["stored", "upright"])
def test_masks_lie_where_every_reader_sees_the_box(
    number: int, masks: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = raw(tmp_path / "raw", number, masks)
    data = tmp_path / "data"
    build("mres32m", data, raw=str(folder), workers=0, orientation=masks)
    told = "1 pictures state an EXIF orientation" in capsys.readouterr().out
    assert told == (masks == "stored")
    record = open_split("mres32m:train", data)[0]
    inside = runs_of(record, record.masks[0]).pixels()
    for pixels in (decode_record_image(record), read_photo(record.image).pixels):
        red = pixels[:, :, 0] > 120
        assert (red & inside).sum() > 0.97 * (red | inside).sum()


def test_doctor_warns_of_an_orientation(tmp_path: Path) -> None:
    folder = raw(tmp_path / "raw", 3, "stored")
    (finding,) = examine(folder).findings
    assert (finding.severity, finding.kind) == ("warning", "EXIF orientation")
    assert "photo.jpg" in finding.examples[0] or "train.jsonl:1" in finding.examples[0]
    assert "--orientation=upright" in finding.examples[0]
    assert examine(folder, masks="upright").findings == []


def test_a_turned_size_is_explained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = raw(tmp_path / "raw", 6, "upright")
    assert main([str(folder)]) == 1
    printed = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "EXIF orientation 6" in printed and "another copy" not in printed
    assert main([str(folder), "--orientation", "upright"]) == 0
    with pytest.raises(DataError, match=r"EXIF orientation 6.*--orientation=upright"):
        build("mres32m", tmp_path / "data", raw=str(folder), workers=0)
    with pytest.raises(DataError, match="expected stored or upright"):
        build("mres32m", tmp_path / "data", raw=str(folder), orientation="sideways")
