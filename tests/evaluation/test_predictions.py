"""A predictions file of any model: every form of a line, and every fault named."""

import base64
import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from helpers.coloured_boxes import Boxes, ColourSegmenter
from helpers.paths import ROOT

from unires_jax import limits
from unires_jax.config import Config
from unires_jax.data import records
from unires_jax.data.catalogue import BENCHMARKS
from unires_jax.data.records import LEVELS
from unires_jax.data.tokenizer import Tokenizer
from unires_jax.errors import DataError
from unires_jax.evaluation import predictions, results
from unires_jax.evaluation.breakdown import summarize
from unires_jax.evaluation.evaluator import evaluate
from unires_jax.evaluation.ground_truth import truth_of
from unires_jax.evaluation.predictors import ModelPredict, ground_truth, score_file
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
    none = sum(not r.targeted for r in rows)
    assert summary["without_target"]["count"] == none > 0
    for level in ("object", "part", "pooled"):
        found = sum(r.targeted for r in rows if level in ("pooled", LEVELS[r.level]))
        absent = 0 if level == "part" else none
        count = found + (0 if name == "native" else absent)
        ones = found + (absent if name in ("rela", "lisa") else 0)
        ones = found if name == "native" else ones
        assert summary[level]["count"] == count
        assert summary[level]["mIoU"] == pytest.approx(ones / count, abs=1e-4), level
        assert summary[level]["oIoU"] == 1
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
    lines[1]["png"] = base64.encodebytes(png(masks[1])).decode()  # of several lines
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


@pytest.mark.parametrize("name", list(PROTOCOLS))
def test_a_file_reproduces_the_evaluation_that_wrote_it(
    name: str,
    boxes: Boxes,
    config: Config,
    score: Score,
    segmenter: ColourSegmenter,
    tokenizer: Tokenizer,
) -> None:
    """To the last digit, as a file of one's own and once more as the file of that."""
    rules = PROTOCOLS[name]
    predict = ModelPredict(segmenter, tokenizer, config, rules)
    rows = evaluate(boxes, predict, config, protocol=rules, ceiling=False)
    # A model that calls some nothing by a hair, which rounding would undo.
    doubt = [0.50000004, 0.49999997]
    rows = [dataclasses.replace(r, no_target=doubt[i % 2]) for i, r in enumerate(rows)]
    again = score([predictions.to_line(r) for r in rows], name)
    third = score([predictions.to_line(r) for r in again], name)
    for other in (again, third):
        assert summarize(other) == summarize(rows)
        for r, s in zip(rows, other, strict=True):
            same = ("key", "intersection", "union", "no_target", "mask", "squashed")
            same = (*same, "boundary")
            assert [getattr(r, n) for n in same] == [getattr(s, n) for n in same]
    if rules.grid:  # the mask alone, resized, is another
        lines = [json.loads(predictions.to_line(r)) for r in rows]
        for line in lines:
            line.pop("squashed")
        assert summarize(score(lines, name)) != summarize(rows)


@pytest.mark.parametrize("name", ["lavt", "rela"])
def test_masks_on_the_protocols_own_grid(
    name: str, lines: Lines, boxes: Boxes, score: Score
) -> None:
    """As those projects write them; not a pixel of them is moved."""
    shifted = []
    for line in lines:
        mask = RunMask.of(line["rle"]).squash(480).pixels()
        shifted.append({**line, "rle": RunMask.of(np.roll(mask, 1, axis=1)).rle})
    rows = score(shifted, name)
    for r, line in zip(rows, shifted, strict=True):
        truth = truth_of(PROTOCOLS[name], boxes[r.image], expression_of(boxes, r))
        pair = RunMask.of(line["rle"]).intersection_union(truth.mask)
        assert (r.intersection, r.union) == pair
        assert (r.mask.height, r.mask.width) == (r.target.height, r.target.width)
        # Where it is shown, it lies where it was, but for a pixel.
        assert not r.targeted or r.mask.intersection_union(r.target)[0] > 0.8 * (
            r.target.area
        )
    with pytest.raises(DataError, match=r"480 x 480, .*lavt and rela: add --protocol"):
        score(shifted, "native")


def expression_of(boxes: Boxes, row: results.Result) -> records.Expression:
    return boxes[row.image].expressions[row.expression]


def test_exchanged_sides_and_inverted_masks_are_told(
    lines: Lines, boxes: Boxes, score: Score, capsys: pytest.CaptureFixture[str]
) -> None:
    score(lines)
    assert "inverted" not in capsys.readouterr().out
    inverted = [
        {**x, "rle": RunMask.of(~RunMask.of(x["rle"]).pixels()).rle} for x in lines
    ]
    rows = score(inverted)
    told = capsys.readouterr().out
    assert "masks of v look inverted" in told and "mIoU would be 100.0%" not in told
    assert summarize(rows)["pooled"]["mIoU"] < 0.2  # nothing is guessed
    turned = RunMask.of(RunMask.of(lines[0]["rle"]).pixels().T)
    with pytest.raises(DataError, match="sides are exchanged: the height comes first"):
        score([{**lines[0], "rle": turned.rle}, *lines[1:]])


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
            {"key": "k", "png": "a.JPG"},
            "line 2: png: 'a.JPG' is a JPEG, which keeps no",
        ),
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
    (folder / "link.png").symlink_to(outside)
    with pytest.raises(DataError, match="a link out of it; copy") as caught:
        predictions.read(write(folder, [{"key": "k", "png": "link.png"}]))
    assert "--follow_links" not in str(caught.value)  # which evaluate.py has not


def test_all_masks_of_a_line_count_for_its_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mask = RunMask.from_pixels(np.eye(9, dtype=bool))
    line = {"key": "k", "rle": SMALL, "squashed": mask.rle}
    predictions.read(write(tmp_path, [line]))
    monkeypatch.setattr(limits, "PREDICTIONS_MEMORY", mask.spans.nbytes)
    with pytest.raises(DataError, match="line 1: the masks so far take"):
        predictions.read(write(tmp_path, [line]))


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"preds.jsonl: cannot be read .*No such file"):
        predictions.read(tmp_path / "preds.jsonl")
    with pytest.raises(DataError, match=r"predictions.jsonl: cannot be read"):
        predictions.read(tmp_path)
    (tmp_path / "bytes").write_bytes(b"\xff\xff")
    with pytest.raises(DataError, match="bytes: is no utf-8"):
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
