"""A predictions file of any model: every form of a line, and every fault named."""

import base64
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from helpers.coloured_boxes import Boxes
from helpers.paths import ROOT

from unires_jax.config import Config
from unires_jax.data import records
from unires_jax.data.catalogue import BENCHMARKS
from unires_jax.errors import DataError
from unires_jax.evaluation import predictions, results
from unires_jax.evaluation.breakdown import summarize
from unires_jax.evaluation.evaluator import evaluate
from unires_jax.evaluation.predictors import ground_truth, score_file
from unires_jax.evaluation.protocols import NATIVE, PROTOCOLS
from unires_jax.pixels.masks import RunMask

Lines = list[dict[str, Any]]
Score = Callable[..., list[results.Result]]


@pytest.fixture
def lines(boxes: Boxes) -> Lines:
    """The ground truth of every expression."""
    return [
        {
            "key": records.expression_key("boxes", "val", record, x),
            "rle": records.target_mask(record, x).rle,
        }
        for record in boxes
        for x in record.expressions
    ]


def write(folder: Path, lines: list[Any]) -> Path:
    path = folder / "preds.jsonl"
    text = [x if isinstance(x, str) else json.dumps(x) for x in lines]
    path.write_text("\n".join(text) + "\n")
    return path


def png(mask: np.ndarray, value: int = 255) -> bytes:
    return cv2.imencode(".png", mask.astype(np.uint8) * value)[1].tobytes()


@pytest.fixture
def score(boxes: Boxes, tmp_path: Path) -> Score:
    """(lines, protocol) -> the scored rows of a file of these lines."""

    def score(lines: list[Any], name: str = "native") -> list[results.Result]:
        file = predictions.read(write(tmp_path, lines))
        return score_file(file, {"v": boxes}, PROTOCOLS[name])["v"]

    return score


def test_the_key_on_the_page_is_one_of_refcoco() -> None:
    page = (ROOT / "docs/results.md").read_text()
    (key,) = re.findall(r'"key": "(.*?)"', page)
    dataset, split, *ids = key.split("/")
    assert dataset in BENCHMARKS and split in BENCHMARKS[dataset].splits
    assert len([int(i) for i in ids]) == 3


@pytest.mark.parametrize("name", list(PROTOCOLS))
def test_perfect_masks_score_one(
    name: str, lines: Lines, boxes: Boxes, score: Score
) -> None:
    targets = [x.targets for record in boxes for x in record.expressions]
    for line, masks in zip(lines, targets, strict=True):
        line["no_target"] = not masks
    rows = score(lines, name)
    summary = summarize(rows)
    for level in ("object", "part", "pooled"):
        assert summary[level]["mIoU"] == pytest.approx(1, abs=1e-4), level
        assert summary[level]["oIoU"] == 1
    if name == "rela":
        assert summary["pooled"]["count"] == len(rows) == len(lines)
    assert summary["no_target"]["N-acc"] == summary["no_target"]["T-acc"] == 1


def test_every_form_of_a_mask(
    lines: Lines, boxes: Boxes, score: Score, tmp_path: Path
) -> None:
    size = boxes[0].height, boxes[0].width
    masks = [RunMask.from_counts(x["rle"]["counts"], *size).pixels() for x in lines[:4]]
    edges = np.flatnonzero(np.diff(masks[0].T.ravel(), prepend=False))
    runs = np.diff(edges, prepend=0, append=masks[0].size)
    lines[0]["rle"]["counts"] = runs.tolist()  # uncompressed
    lines[1].pop("rle")
    lines[1]["png"] = base64.b64encode(png(masks[1])).decode()
    lines[2].pop("rle")
    (tmp_path / "two.png").write_bytes(png(masks[2], 1))
    lines[2]["png"] = "two.png"
    lines[3].pop("rle")
    colour = np.repeat(masks[3][..., None], 3, axis=2)
    lines[3]["png"] = "data:image/png;base64," + base64.b64encode(png(colour)).decode()
    rows = score(lines)
    assert all(r.iou == 1 for r in rows if r.targeted)


def test_missing_expressions_count_as_empty(
    lines: Lines, score: Score, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = score(lines[3:])
    assert len(rows) == len(lines)
    assert [r.iou for r in rows[:4]] == [0, 0, 0, 1]
    assert rows[0].union == rows[0].target.area
    assert "3 of 32 expressions of v are missing" in capsys.readouterr().out


def test_lines_of_other_splits_are_counted(
    lines: Lines, score: Score, capsys: pytest.CaptureFixture[str]
) -> None:
    foreign = {**lines[0], "key": "boxes/testA/0/10/100"}
    rows = score([foreign, *lines])
    assert len(rows) == len(lines)
    assert "1 lines are of splits that are not scored" in capsys.readouterr().out


def test_a_file_reproduces_the_evaluation_that_wrote_it(
    boxes: Boxes, config: Config, score: Score
) -> None:
    rows = evaluate(boxes, ground_truth, config)
    again = score([predictions.to_line(r) for r in rows])
    for r, s in zip(rows, again, strict=True):
        assert (r.key, r.intersection, r.union, r.no_target, r.mask) == (
            *(s.key, s.intersection, s.union, s.no_target, s.mask),
        )


SMALL = {"size": [2, 2], "counts": "04"}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", r"line 2: is not JSON .*on one line"),
        ("[1]", "line 2: is list, expected an object"),
        ('{"key": 3, "rle": {}}', "line 2: key: is 3, expected <data set>/<split>"),
        ({"key": "k"}, r"line 2: expected \"rle\": .* or \"png\", found \['key'\]"),
        ({"key": "k", "rle": {"size": [2]}}, "line 2: expected"),
        ({"key": "k", "rle": {"size": [2, 2]}}, "line 2: rle: counts are neither"),
        (
            {"key": "k", "rle": {**SMALL, "counts": "b'04'"}},
            'line 2: rle: invalid character "\'"; expected the counts of pycocotools',
        ),
        ({"key": "k", "rle": {**SMALL, "counts": "05"}}, "line 2: rle: covers 5 pix"),
        ({"key": "k", "rle": {**SMALL, "counts": [1, 2]}}, "line 2: rle: runs of 3 p"),
        ({"key": "k", "rle": {**SMALL, "counts": "é4"}}, "line 2: rle: invalid char"),
        ({"key": "k", "png": "@"}, "line 2: png: '@' is no base64 and no path"),
        ({"key": "k", "png": "bm9wZQ=="}, "line 2: png: is not a readable picture"),
        ({"key": "k", "png": ""}, "line 2: png: is not a readable picture"),
        (
            {"key": "k", "png": "no.png"},
            "line 2: png: expected a file at 'no.png', found none",
        ),
        ({"key": "k", "rle": SMALL, "score": "high"}, "line 2: score: is 'high'"),
        ({"key": "k", "rle": SMALL, "no_target": 2}, "line 2: no_target: is 2"),
        ({"key": "first", "rle": SMALL}, "'first' stands in line 1 already; keep"),
    ],
)
def test_a_bad_line_is_named(line: Any, message: str, tmp_path: Path) -> None:
    path = write(tmp_path, [{"key": "first", "rle": SMALL}, line])
    with pytest.raises(DataError, match=message) as caught:
        predictions.read(path)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


@pytest.mark.parametrize("absolute", [True, False])
def test_a_picture_elsewhere_is_refused(absolute: bool, tmp_path: Path) -> None:
    outside, folder = tmp_path / "secret.png", tmp_path / "own"
    folder.mkdir()
    outside.write_bytes(png(np.ones((2, 2), bool)))
    name = str(outside) if absolute else "../secret.png"
    with pytest.raises(DataError, match=r"line 1: png: .*secret\.png"):
        predictions.read(write(folder, [{"key": "k", "png": name}]))


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"preds.jsonl: cannot be read .*No such file"):
        predictions.read(tmp_path / "preds.jsonl")
    with pytest.raises(DataError, match=r"predictions.jsonl: cannot be read"):
        predictions.read(tmp_path)
    (tmp_path / "bytes").write_bytes(b"\xff\xff")
    with pytest.raises(DataError, match="bytes: cannot be read"):
        predictions.read(tmp_path / "bytes")
    (tmp_path / "empty").write_text("\n\n")
    with pytest.raises(DataError, match="no predictions; expected a line for each"):
        predictions.read(tmp_path / "empty")


def test_foreign_lines_are_refused(lines: Lines, score: Score) -> None:
    foreign = {**lines[0], "key": "boxes/val/0/99/100"}
    with pytest.raises(DataError, match=r"line 33: key .*0/99/100' is no expression"):
        score([*lines, foreign])
    with pytest.raises(DataError, match=r"no key begins with 'boxes/val/'.*--splits"):
        score([{**lines[0], "key": "refcoco/val/1/2/3"}])


@pytest.mark.parametrize("as_png", [True, False])
def test_a_mask_of_another_size_is_named(
    as_png: bool, lines: Lines, boxes: Boxes, score: Score
) -> None:
    data = base64.b64encode(png(np.zeros((2, 2), bool))).decode()
    mask = {"png": data} if as_png else {"rle": SMALL}
    lines[4] = {"key": lines[4]["key"], **mask}
    size = f"{boxes[0].height} x {boxes[0].width}"
    with pytest.raises(DataError, match=f"is 2 x 2, its picture {size} .*resize"):
        score(lines)


def test_native_is_the_default_of_rows(boxes: Boxes, config: Config) -> None:
    rows = evaluate(boxes, ground_truth, config, ceiling=False)
    assert {r.protocol for r in rows} == {NATIVE.name}
    assert all(r.ceiling is None for r in rows)
