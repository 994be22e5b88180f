"""`unires predict`, as a user calls it."""

import io
import json
import os
from pathlib import Path

import jax
import numpy as np
import pytest
from helpers.pictures import noise
from helpers.tiny import WORDS
from PIL import Image
from pycocotools.coco import COCO

from unires_jax import cli
from unires_jax.data import copies
from unires_jax.errors import ConfigError
from unires_jax.pixels.label_studio import read_mask
from unires_jax.pixels.masks import RunMask
from unires_jax.serving import command_line, predict
from unires_jax.serving.photo import encode_png
from unires_jax.serving.predictor import Predictor


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three pictures, a text that calls itself one, and other files."""
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    for i, name in enumerate(["a.png", "b.PNG", "more/a.png"]):
        (folder / name).write_bytes(encode_png(noise(i, 40 + i, 50)))
    (folder / "broken.jpg").write_bytes(b"no picture")
    (folder / "notes.txt").write_text("hello")
    (folder / "b.HEIC").write_bytes(b"")
    (folder / "._a.png").write_bytes(b"")
    return folder


@pytest.fixture(autouse=True)
def given_model(monkeypatch: pytest.MonkeyPatch, predictor: Predictor) -> None:
    monkeypatch.setattr(predict, "start", lambda _: predictor)


def test_one_picture(
    photos: Path, tmp_path: Path, predictor: Predictor, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "masks"
    argv = ["predict", str(photos / "a.png"), *WORDS[:2], "--out", str(out)]
    assert cli.main(argv) == 0
    names = {"a.png.0.png", "a.png.1.png", "a.png.json", "a.png.overlay.png"}
    assert {p.name for p in out.iterdir()} == names
    listing = json.loads((out / "a.png.json").read_text())
    assert (listing["height"], listing["width"], listing["note"]) == (40, 50, "")
    expected = predictor.segment(photos / "a.png", WORDS[:2])
    for entry, answer in zip(listing["expressions"], expected, strict=True):
        assert entry["expression"] == answer.expression
        written = np.array(Image.open(out / entry["mask"]))
        assert written.shape == (40, 50) and set(np.unique(written)) <= {0, 255}
        np.testing.assert_array_equal(written > 0, answer.mask)
        rle = RunMask.of(entry["rle"]).pixels()
        np.testing.assert_array_equal(rle, answer.mask)
    printed = capsys.readouterr().out
    assert WORDS[0] in printed and "a.png.overlay.png" in printed.replace("\n", "")


def test_a_folder_goes_on_after_a_broken_picture(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "masks"
    assert cli.main(["predict", str(photos), "a dog", "--out", str(out)]) == 1
    assert {p.name for p in out.glob("*.json")} == {"a.png.json", "b.PNG.json"}
    printed = capsys.readouterr()
    assert "broken.jpg" in printed.err and "2 pictures, 1 could not" in printed.out
    note = "passed over: 1 hidden, 1 .HEIC (convert them to JPEG or PNG), 1 .txt, "
    assert f"{note}1 folders within ('more'" in printed.err


def test_all_answers_in_one_file(photos: Path, tmp_path: Path) -> None:
    pictures = [str(photos / "a.png"), str(photos / "b.PNG")]
    files = tmp_path / "all.jsonl", tmp_path / "coco.json"
    argv = ["predict", *pictures, *WORDS[:2], "--out", str(tmp_path / "masks")]
    argv += ["--threshold", "0.4", "--jsonl", str(files[0]), "--coco", str(files[1])]
    assert cli.main(argv) == 0
    lines = [json.loads(line) for line in files[0].read_text().splitlines()]
    assert [(x["picture"], x["expression"]) for x in lines] == [
        (name, text) for name in ("a.png", "b.PNG") for text in WORDS[:2]
    ]
    assert all(x["threshold"] == 0.4 for x in lines)
    coco = COCO(files[1])
    for line in lines:
        (image,) = [i for i in coco.imgs.values() if i["file_name"] == line["picture"]]
        (category,) = coco.getCatIds(catNms=[line["expression"]])
        marked = coco.loadAnns(coco.getAnnIds([image["id"]], [category]))
        mask = RunMask.of(line["rle"]).pixels()
        assert len(marked) == int(mask.any())
        for annotation in marked:
            np.testing.assert_array_equal(coco.annToMask(annotation), mask)
    results = json.loads(files[1].read_text())["annotations"]
    assert len(coco.loadRes(results).anns) == len(results)


def test_pre_annotations_for_label_studio(photos: Path, tmp_path: Path) -> None:
    files = tmp_path / "all.jsonl", tmp_path / "tasks.json"
    argv = ["predict", str(photos / "a.png"), *WORDS[:3], "--out", str(tmp_path / "m")]
    argv += ["--jsonl", str(files[0]), "--label_studio", str(files[1])]
    assert cli.main([*argv, "--root", "/data/local-files/?d="]) == 0
    (task,) = json.loads(files[1].read_text())
    assert task["data"]["image"] == "/data/local-files/?d=a.png"
    (prediction,) = task["predictions"]
    by_text = {x["value"]["brushlabels"][0]: x for x in prediction["result"]}
    for line in map(json.loads, files[0].read_text().splitlines()):
        if not line["area"]:
            assert line["expression"] not in by_text
            continue
        result = by_text[line["expression"]]
        size = result["original_height"], result["original_width"]
        assert size == (line["height"], line["width"])
        mask = read_mask(result["value"]["rle"], *size)
        assert mask == RunMask.of(line["rle"])


@pytest.mark.parametrize("value", ["0", "1", "-1", "nan", "much"])
def test_a_threshold_that_is_none(value: str, photos: Path) -> None:
    argv = ["predict", str(photos / "a.png"), "a dog", "--threshold", value]
    with pytest.raises(SystemExit, match="2"):
        cli.main(argv)


def test_a_cut_sentence_is_told_once(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out, long = tmp_path / "masks", " ".join(WORDS[:1] * 200)
    argv = ["predict", str(photos / "*.[pP][nN][gG]"), WORDS[1], long]
    assert cli.main([*argv, "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert printed.count("was not read") == 1 and "2 pictures" in printed
    notes = json.loads((out / "a.png.json").read_text())["expressions"]
    assert [bool(e["note"]) for e in notes] == [False, True]


def test_a_glob_keeps_files_of_equal_names_apart(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "masks"
    argv = ["predict", str(photos / "**" / "*.png"), "a dog", "--out", str(out)]
    assert cli.main(argv) == 0
    assert (out / "a.png.json").is_file() and (out / "more" / "a.png.json").is_file()
    links = tmp_path / "links"
    links.mkdir()
    for name in ("b.png", "c.png"):
        (links / name).symlink_to(photos / "a.png")
    assert (
        cli.main(["predict", str(links), "a dog", "--out", str(tmp_path / "own")]) == 0
    )
    assert {p.name for p in (tmp_path / "own").glob("*.json")} == {
        *("b.png.json", "c.png.json")
    }


def test_sentences_from_standard_input(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("\ufeffa dog\n\n  its head \n"))
    argv = ["predict", str(photos / "a.png"), "-", "--out", str(tmp_path / "masks")]
    assert cli.main(argv) == 0
    listing = json.loads((tmp_path / "masks" / "a.png.json").read_text())
    assert [e["expression"] for e in listing["expressions"]] == ["a dog", "its head"]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["{photos}/none.png", "a dog"], "no such file or folder"),
        (["{photos}/more/../*.gif", "a dog"], "no file matches"),
        (["{photos}/notes.txt", "a dog"], "cannot be decoded"),
        (["{photos}/a.png", " "], "is empty"),
        (["{photos}/a.png"], "no sentence follows"),
        (["{photos}/a.png", "{photos}/a.png"], "no sentence follows"),
        (["{photos}/a.png", "a dog", "{photos}/a.png"], "among the sentences"),
        (["{photos}/a.png", "{photos}/b2.JPG", "a dog"], "b2.JPG: no such file"),
    ],
)
def test_bad_input(
    photos: Path,
    tmp_path: Path,
    argv: list[str],
    message: str,
    capsys: pytest.CaptureFixture,
) -> None:
    filled = [a.format(photos=photos) for a in argv]
    out = tmp_path / "masks"
    assert cli.main(["predict", *filled, "--out", str(out)]) == 1
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error
    assert not out.exists()


def test_an_output_that_cannot_be_written(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    argv = ["predict", str(photos / "a.png"), "a dog", "--out", str(tmp_path / "file")]
    assert cli.main(argv) == 1
    assert "--out=" in capsys.readouterr().err


def test_a_sentence_typed_in_a_terminal_called_c() -> None:
    """Its bytes come as surrogates there; a picture's name stays as it came."""
    typed = "la boîte 🐶"
    as_given = typed.encode().decode("ascii", "surrogateescape")
    assert predict._sentences([as_given, "plain", typed]) == [typed, "plain", typed]
    assert predict._sentences(["\udcff"]) == ["\udcff"]  # refused later


def test_a_picture_whose_name_is_no_text(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    name = os.fsdecode(b"gr\xf6\xdfe.png")
    os.rename(photos / "a.png", photos / name)
    argv = ["predict", str(photos / name), "dog", "--out", str(tmp_path / "out")]
    assert cli.main(argv) == 0
    written = json.loads((tmp_path / "out" / f"{name}.json").read_bytes())
    assert written["picture"] == name
    assert r"gr\udcf6\udcdfe.png.overlay.png" in capsys.readouterr().out


def test_no_cache_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(jax.config, "update", lambda *_: pytest.fail("turned on"))
    command_line.keep_compiled()
    with pytest.raises(ConfigError, match=r"name a folder in data\.cache"):
        copies.cache_folder("")
