"""Two sides of a comparison: the difference, its interval, the cases shown."""

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest
from helpers.answers import pixels, row
from helpers.coloured_boxes import Boxes

from unires_jax.config import Config
from unires_jax.errors import DataError
from unires_jax.evaluation import breakdown, compare, metrics, predictions, predictors
from unires_jax.evaluation.evaluator import evaluate
from unires_jax.evaluation.protocols import PROTOCOLS
from unires_jax.evaluation.report import comparison_page


def test_difference_by_hand() -> None:
    a = [row(0, 1, 2), row(0, 2, 4), row(1, 9, 10)]
    b = [row(0, 2, 2), row(0, 2, 4), row(1, 8, 10)]
    figures = compare.differences(a, b)
    assert figures["mIoU"]["a"] == pytest.approx((0.5 + 0.5 + 0.9) / 3)
    assert figures["mIoU"]["difference"] == pytest.approx((0.5 + 0 - 0.1) / 3)
    assert figures["oIoU"]["difference"] == pytest.approx(12 / 16 - 12 / 16)
    assert figures["P@0.9"]["difference"] == pytest.approx(1 / 3 - 1 / 3)
    # Pictures are drawn whole: (0, 0), (0, 1) and (1, 1) give .25, .4/3 and -.1.
    low, high = figures["mIoU"]["interval"]
    assert (low, high) == pytest.approx((-0.1, 0.25))


def test_interval_is_that_of_the_mean_difference() -> None:
    """One expression per picture: close to the normal interval of paired samples."""
    rng = np.random.default_rng(1)
    before = rng.integers(0, 800, 900)
    right = before + rng.integers(-100, 200, 900).clip(-before)
    a = [row(i, int(n), 1000) for i, n in enumerate(before)]
    b = [row(i, int(n), 1000) for i, n in enumerate(right)]
    change = (right - before) / 1000
    low, high = compare.differences(a, b)["mIoU"]["interval"]
    spread = 1.96 * change.std() / np.sqrt(900)
    assert low == pytest.approx(change.mean() - spread, abs=spread / 8)
    assert high == pytest.approx(change.mean() + spread, abs=spread / 8)
    assert compare.differences(a, b)["mIoU"]["interval"] == (low, high)  # seeded
    assert compare.differences(a, b, seed=1)["mIoU"]["interval"] != (low, high)


def test_pairing_and_equal_sides() -> None:
    a = [row(i, i, 10) for i in range(10)]
    for block in compare.differences(a, a).values():
        assert block["difference"] == 0 and block["interval"] == (0, 0)


@pytest.mark.parametrize("name", list(PROTOCOLS))
def test_numbers_are_those_of_the_evaluation(name: str) -> None:
    values = {"protocol": name, "no_target": 0.9}
    rows = [
        *(row(0, 9, 10, protocol=name), row(1, 3, 5, protocol=name)),
        row(1, 0, 7, targeted=False, **values),
        row(2, 0, 4, targeted=False, protocol=name),
        row(3, 5, 6, **values),
    ]
    bands = np.array([2, 1, 0, 0, 3]), np.array([4, 5, 6, 2, 3])
    pairs = zip(*(counts.tolist() for counts in bands), strict=True)
    rows = [
        dataclasses.replace(r, boundary=p) for r, p in zip(rows, pairs, strict=True)
    ]
    blocks = compare.differences(rows, rows)
    expected = metrics.summarize(
        np.array([9, 3, 0, 0, 5]),
        np.array([10, 5, 7, 4, 6]),
        name,
        targeted=np.array([True, True, False, False, True]),
        said_none=np.array([False, False, True, False, True]),
        boundary=bands,
    ).as_dict()
    for metric, block in blocks.items():
        assert block["a"] == pytest.approx(expected[metric], rel=1e-6), metric
    # What the bootstrap draws from, pictures, adds up to the same numbers.
    columns = breakdown.columns(rows)
    sums = [x.sum(0) for x in columns.by_picture(np.array([0, 1, 1, 2, 3]))]
    again = metrics.ratios(*sums, columns.protocol)
    assert again == pytest.approx([block["a"] for block in blocks.values()], rel=1e-12)


def test_pictures_without_a_target_are_drawn_too() -> None:
    """Their columns are zero; leaving them out would narrow the interval."""
    a = [row(0, 1, 2), row(1, 0, 3, targeted=False), row(2, 1, 4)]
    sums, counts = breakdown.columns(a).by_picture(np.array([0, 1, 2]))
    assert sums[:, 0].tolist() == [0.5, 0, 0.25] and counts[:, 0].tolist() == [1, 0, 1]
    assert counts[:, 2].tolist() == [2, 0, 4]


def test_nothing_on_one_level() -> None:
    figures = compare.differences([], [])
    assert figures["mIoU"] == {
        **{"name": "mIoU", "a": None, "b": None},
        **{"difference": None, "interval": None},
    }


def test_cases_are_those_that_differ_most() -> None:
    a = [row(i // 2, 5, 10, target=pixels(i // 2 % 8)) for i in range(40)]
    b = [dataclasses.replace(r, intersection=i // 4) for i, r in enumerate(a)]
    cases = compare.largest(a, b)
    better, worse = cases["better"], cases["worse"]
    assert [y.intersection - x.intersection for x, y in better] == [
        *(4, 4, 3, 3, 2, 2, 1, 1)
    ]
    assert len(worse) == 10 and worse[0][1].intersection == 0
    assert len({(x.image, x.target) for x, _ in worse}) == 10


@pytest.fixture
def sides(boxes: Boxes, config: Config, tmp_path: Path) -> list[Path]:
    """The ground truth and empty masks, as two evaluations left them."""
    folders = []
    for name in ("empty", "ground_truth"):
        rows = evaluate(boxes, getattr(predictors, name), config)
        folder = tmp_path / name
        folder.mkdir()
        text = "".join(predictions.to_line(r) + "\n" for r in rows)
        (folder / "predictions.jsonl").write_text(text)
        folders.append(folder)
    return folders


def test_a_whole_comparison(
    sides: list[Path],
    boxes: Boxes,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    files = [predictions.read(p) for p in sides]
    protocol = compare.protocol_of(files, None)
    assert protocol.name == "native" and not compare.binary_input(files[0], protocol)
    a, b = (compare.load(f, {"v": boxes}, protocol)["v"] for f in files)
    comparison = {"v": compare.compare(boxes, a, b)}
    about = {"protocol": "protocol native"}
    comparison_page.write(comparison, ("one", "<two>"), tmp_path / "out", about)
    numbers = json.loads((tmp_path / "out" / "comparison.json").read_text())
    part = numbers["splits"]["v"]["levels"]["part"]["mIoU"]
    assert (part["a"], part["b"], part["interval"]) == (0, 1, [1, 1])
    page = (tmp_path / "out" / "comparison.html").read_text()
    assert "&lt;two&gt;" in page and not re.search(r"https?:|url\(|@import", page)
    assert "b better than a" in page and "b worse than a" not in page
    assert page.count("<figure") == compare.CASES
    printed = capsys.readouterr().out
    assert "v, protocol native" in printed and "+100.00 to +100.00" in printed


def test_stored_pairs_are_taken_and_binary_ones_computed(
    sides: list[Path], boxes: Boxes
) -> None:
    path = sides[1] / "predictions.jsonl"
    lines = [json.loads(x) for x in path.read_text().splitlines()]
    for line in lines:
        line["protocol"], line["I"], line["U"] = "lavt", 3, 4
    path.write_text("\n".join(map(json.dumps, lines)))
    file = predictions.read(path)
    stored = compare.load(file, {"v": boxes}, PROTOCOLS["lavt"])["v"]
    assert {(r.intersection, r.union) for r in stored} == {(3, 4)}
    binary = compare.load(file, {"v": boxes}, PROTOCOLS["native"])["v"]
    assert all(r.intersection == r.target.area for r in binary)
    assert compare.binary_input(file, PROTOCOLS["native"])


def test_two_protocols_are_not_compared(sides: list[Path]) -> None:
    path = sides[0] / "predictions.jsonl"
    path.write_text(path.read_text().replace('"native"', '"cris"'))
    files = [predictions.read(p) for p in sides]
    with pytest.raises(DataError, match=r"\['cris', 'native'\]: add --protocol="):
        compare.protocol_of(files, None)
    assert compare.protocol_of(files, "lisa").name == "lisa"
