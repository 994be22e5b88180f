"""Whole runs over a small data set, with a model that finds colours."""

import dataclasses
import functools
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.coloured_boxes import Boxes, ColourSegmenter
from helpers.paths import ROOT
from pycocotools import mask as coco_mask

from unires_jax.config import Config
from unires_jax.data import records
from unires_jax.data.records import Record
from unires_jax.data.tokenizer import Tokenizer
from unires_jax.errors import CheckpointError, DataError
from unires_jax.evaluation import evaluator, results
from unires_jax.evaluation.breakdown import derange, reading_check, summarize
from unires_jax.evaluation.evaluator import ModelPredict, evaluate
from unires_jax.evaluation.protocols import PROTOCOLS
from unires_jax.evaluation.results import Prediction, Result
from unires_jax.pixels.masks import RunMask


@pytest.fixture
def predict(
    segmenter: ColourSegmenter, tokenizer: Tokenizer, config: Config
) -> ModelPredict:
    return ModelPredict(segmenter, tokenizer, config)


@pytest.fixture
def rows(boxes: Boxes, predict: ModelPredict, config: Config) -> list[Result]:
    return evaluate(boxes, predict, config)


def test_the_model_finds_its_colours(rows: list[Result], boxes: Boxes) -> None:
    assert [r.key for r in rows] == [
        records.expression_key("boxes", "val", record, x)
        for record in boxes
        for x in record.expressions
    ]
    single = [r for r in rows if r.sentence in ("blue", "the red car")]
    assert np.mean([r.iou for r in single if r.sentence == "blue"]) > 0.9
    parts = [r for r in rows if r.level == records.PART]
    assert np.mean([r.iou for r in parts]) > 0.85
    assert all(0.5 < r.score <= 1 for r in single)


def test_intersection_and_union_are_those_of_the_masks(
    rows: list[Result], boxes: Boxes
) -> None:
    for r in rows:
        record = boxes[r.image]
        size = (record.height, record.width)
        predicted = RunMask.from_counts(r.rle, *size).pixels()
        masks = [
            RunMask.from_counts(record.masks[i].rle, *size).pixels()
            for i in record.expressions[r.expression].targets
        ]
        truth = np.any([np.zeros(size, bool), *masks], axis=0)
        assert r.intersection == (predicted & truth).sum()
        assert r.union == (predicted | truth).sum()
        assert r.area == truth.sum()
        assert r.targeted == bool(masks)


@pytest.mark.parametrize(("images", "expressions"), [(1, 1), (2, 64), (7, 4), (16, 3)])
def test_batching_and_padding_change_nothing(
    boxes: Boxes,
    rows: list[Result],
    segmenter: ColourSegmenter,
    tokenizer: Tokenizer,
    config: Config,
    images: int,
    expressions: int,
) -> None:
    config.eval.batch, config.eval.expressions = images, expressions
    assert evaluate(boxes, ModelPredict(segmenter, tokenizer, config), config) == rows


def test_shards_join_to_the_whole(
    boxes: Boxes, predict: ModelPredict, config: Config, rows: list[Result]
) -> None:
    shards = [evaluate(boxes, predict, config, shard=(i, 3)) for i in range(3)]
    assert all(shards)
    assert results.gather([r for s in reversed(shards) for r in s]) == rows
    assert evaluate(boxes, predict, config, images=2, shard=(2, 3)) == []


def test_the_first_images_alone(
    boxes: Boxes, predict: ModelPredict, config: Config, rows: list[Result]
) -> None:
    assert evaluate(boxes, predict, config, images=2) == [
        r for r in rows if r.image < 2
    ]


def test_ground_truth_scores_one(boxes: Boxes, config: Config) -> None:
    found = summarize(evaluate(boxes, evaluator.ground_truth, config))
    for level in ("object", "part", "pooled"):
        block = found[level]
        assert block["mIoU"] == block["oIoU"] == block["P@0.9"] == 1.0
    assert found["no_target"]["N-acc"] == found["no_target"]["T-acc"] == 1.0


@pytest.mark.parametrize("name", PROTOCOLS)
def test_ground_truth_scores_one_by_every_protocol(
    boxes: Boxes, config: Config, name: str
) -> None:
    """Also where the ground truth is drawn anew: overlaps, polygons at 480."""
    shapes = [[2.0, 1, 20, 3, 11, 19.5], [5.0, 2, 30, 2, 30, 9]]  # they overlap
    redrawn = Boxes(
        dataclasses.replace(
            record,
            masks=tuple(
                dataclasses.replace(m, segmentation=json.dumps(shapes))
                for m in record.masks
            ),
        )
        for record in boxes
    )
    protocol = PROTOCOLS[name]
    predict = functools.partial(evaluator.ground_truth, protocol=protocol)
    rows = evaluate(redrawn, predict, config, protocol=protocol)
    found = summarize(rows)["pooled"]
    assert found["mIoU"] == pytest.approx(1, abs=1e-5) and found["oIoU"] == 1.0
    redraws = protocol.grid is not None or protocol.overlap == "background"
    assert any(r.union not in (0, r.area) for r in rows) == redraws


def test_empty_scores_zero(boxes: Boxes, config: Config) -> None:
    found = summarize(evaluate(boxes, evaluator.empty, config))
    for level in ("object", "part", "pooled"):
        block = found[level]
        assert block["mIoU"] == block["oIoU"] == block["P@0.5"] == 0.0
    assert found["no_target"] == "not decided"


def test_no_target_expressions_count_apart(rows: list[Result]) -> None:
    found = summarize(rows)
    none = sum(not r.targeted for r in rows)
    assert none == 4
    assert found["pooled"]["count"] == len(rows) - none
    assert found["no_target"]["no_target"] == none
    # Its decision neither blanks a mask nor enters the IoU.
    flipped = [dataclasses.replace(r, no_target=1.0) for r in rows]
    again = summarize(flipped)
    assert again["pooled"] == found["pooled"]
    assert (again["no_target"]["N-acc"], again["no_target"]["T-acc"]) == (1.0, 0.0)
    assert summarize(rows, no_target_trained=False)["no_target"] == "untrained"


def test_breakdowns_cover_every_targeted_expression(rows: list[Result]) -> None:
    found = summarize(rows)
    for level in ("object", "part", "pooled"):
        count = found[level]["count"]
        assert sum(b["count"] for b in found["by_size"][level].values()) == count
        assert sum(b["count"] for b in found["by_category"][level].values()) == count
    assert list(found["by_part"]) == ["wheel"]
    assert set(found["by_category"]["object"]) == {"bus", "car", "several"}


def test_ceiling_is_the_truth_after_the_grid(rows: list[Result], boxes: Boxes) -> None:
    found = summarize(rows)
    assert 0.8 < found["part"]["ceiling_mIoU"] < 1
    assert found["object"]["ceiling_mIoU"] >= found["object"]["mIoU"]


def test_whole_object_confusion(boxes: Boxes, config: Config) -> None:
    def whole(found: list[Record]) -> list[list[Prediction]]:
        return [
            [Prediction(r.masks[0].rle, 1.0, 0.0)] * len(r.expressions) for r in found
        ]

    confused = summarize(evaluate(boxes, whole, config))["part"]
    assert confused["whole_object_confusion"] == {"share": 1.0, "count": 7}
    right = summarize(evaluate(boxes, evaluator.ground_truth, config))["part"]
    assert right["whole_object_confusion"] == {"share": 0.0, "count": 7}


def test_derangement_swaps_targets_within_level(boxes: Boxes, config: Config) -> None:
    perfect = evaluate(boxes, evaluator.ground_truth, config)
    swapped = derange(perfect)
    originals = {r.key: r for r in perfect}
    # The one part of each picture has no other part to be swapped with.
    assert len(swapped) == 7 * 3
    for r in swapped:
        assert r.target != originals[r.key].target
        assert r.target in {p.target for p in perfect if p.image == r.image}
    for image in range(7):
        before = sorted(originals[r.key].target for r in swapped if r.image == image)
        assert before == sorted(r.target for r in swapped if r.image == image)


def test_a_model_that_reads_fails_the_deranged_sentences(rows: list[Result]) -> None:
    found = reading_check(rows)["object"]
    assert found["count"] == 21
    assert found["deranged_mIoU"] < found["aligned_mIoU"] / 2


def test_predictions_file_is_coco(rows: list[Result]) -> None:
    for r in rows:
        row = json.loads(results.to_line(r))
        assert row["key"] == r.key and row["protocol"] == "native"
        assert row["level"] in ("object", "part")
        mask = coco_mask.decode(row["rle"])
        assert mask.shape == (r.height, r.width)
        truth = RunMask.from_counts(r.target, r.height, r.width).pixels()
        assert ((mask == 1) & truth).sum() == row["I"]
        assert ((mask == 1) | truth).sum() == row["U"]


def test_a_bad_record_is_named(
    boxes: Boxes, predict: ModelPredict, config: Config
) -> None:
    def with_record(**changes: object) -> Boxes:
        return Boxes([boxes[0], dataclasses.replace(boxes[1], **changes)])

    cut = boxes[1].image[: len(boxes[1].image) // 2]
    with pytest.raises(DataError, match=r"boxes image 1 .*truncated"):
        evaluate(with_record(image=cut), predict, config)
    other = dataclasses.replace(boxes[0], image_id=5)
    with pytest.raises(
        DataError, match=r"boxes:val record 1.*masks\[0\].*another size"
    ):
        evaluate(with_record(height=other.height - 1), predict, config)
    masks = tuple(
        dataclasses.replace(m, rle=RunMask.from_pixels(np.ones((50, 60), bool)).counts)
        for m in boxes[1].masks
    )
    with pytest.raises(DataError, match="the record says 50 x 60"):
        evaluate(with_record(height=50, width=60, masks=masks), predict, config)


def test_broken_weights_are_not_scored(
    boxes: Boxes, segmenter: ColourSegmenter, tokenizer: Tokenizer, config: Config
) -> None:
    class Broken(ColourSegmenter):
        def _decode(self, *args: object) -> tuple:
            logits, none = super()._decode(*args)
            return logits * np.nan, none

    with pytest.raises(CheckpointError, match="not finite"):
        evaluate(boxes, ModelPredict(Broken(tokenizer), tokenizer, config), config)


_WORKER = """
import sys, jax
jax.config.update("jax_cpu_collectives_implementation", "gloo")
jax.distributed.initialize("localhost:" + sys.argv[2], 2, int(sys.argv[1]))
from unires_jax.evaluation.results import Result, gather
me = jax.process_index()
rows = [
    Result(f"k{i}", i, 0, "é" * (i + 1), 0, 2, 2, "04", "04", i, 4, 0.5, None, True, 4,
           "car", "", None, (i, 4))
    for i in range(me, 5, 2)
]
found = gather(rows if me else rows[:1])
assert [r.image for r in found] == [0, 1, 3], found
assert found[2] == rows[1] if me else found[0] == rows[0]
assert found[2].ceiling == (3, 4) and found[1].sentence == "éé"
print("ok")
"""


def test_rows_of_two_processes(tmp_path: Path) -> None:
    script = tmp_path / "worker.py"
    script.write_text(_WORKER)
    port = str(20_000 + int(np.random.default_rng().integers(20_000)))
    root = str(ROOT)
    workers = [
        subprocess.Popen(
            [sys.executable, str(script), str(i), port],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={"PYTHONPATH": root, "JAX_PLATFORMS": "cpu", "PATH": ""},
        )
        for i in range(2)
    ]
    outputs = [w.communicate(timeout=120)[0] for w in workers]
    assert all("ok" in output for output in outputs), outputs


@pytest.mark.parametrize("name", list(PROTOCOLS))
def test_a_model_is_scored_by_every_protocol(
    name: str,
    boxes: Boxes,
    segmenter: ColourSegmenter,
    tokenizer: Tokenizer,
    config: Config,
    rows: list[Result],
) -> None:
    protocol = PROTOCOLS[name]
    predict = ModelPredict(segmenter, tokenizer, config, protocol)
    found = evaluate(boxes, predict, config, protocol=protocol)
    single = [r for r in found if r.sentence == "blue"]
    assert len(single) == 7 and {r.protocol for r in found} == {name}
    # CRIS's low threshold and aligned corners widen boxes of a few cells.
    assert np.mean([r.iou for r in single]) > (0.75 if name == "cris" else 0.85)
    if protocol.grid:
        # The picture's own mask is kept beside the one that counts.
        assert [r.rle for r in found] == [r.rle for r in rows]
        assert [r.union for r in found] != [r.union for r in rows]
    if protocol.name == "native":
        assert found == rows
    else:
        assert summarize(found)["object"]["ceiling_mIoU"] is None
        assert json.loads(results.to_line(found[0]))["protocol"] == name


def test_no_target_is_scored_by_rela_alone(
    boxes: Boxes,
    segmenter: ColourSegmenter,
    tokenizer: Tokenizer,
    config: Config,
) -> None:
    rela = PROTOCOLS["rela"]
    predict = ModelPredict(segmenter, tokenizer, config, rela)
    found = evaluate(boxes, predict, config, protocol=rela)
    said = [dataclasses.replace(r, no_target=float(not r.targeted)) for r in found]
    block = summarize(said)
    assert block["object"]["count"] == sum(r.level == records.OBJECT for r in said)
    assert block["no_target"]["N-acc"] == 1.0
    denied = [dataclasses.replace(r, no_target=1.0) for r in found]
    assert summarize(denied)["object"]["oIoU"] == 0
    assert summarize(denied)["part"]["mIoU"] == 0
    never = summarize(denied, no_target_trained=False)
    assert never["part"]["mIoU"] == block["part"]["mIoU"] > 0
    assert never["no_target"] == "untrained"
    # Without polygons in the data, ReLA's ground truth is the mask resized.
    assert block["without_polygons"] == sum(r.targeted for r in said)


def test_breakdown_by_words(rows: list[Result]) -> None:
    found = summarize(rows)["by_words"]
    counts = {name: block["count"] for name, block in found["pooled"].items()}
    assert counts == {"1 to 2 words": 7, "3 to 5 words": 14, "6 to 9 words": 7}
    assert found["part"]["6 to 9 words"]["count"] == 7
