"""Whole runs over a small data set, with a model that finds colours."""

import dataclasses
import functools
import json
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from helpers.coloured_boxes import Boxes, ColourSegmenter
from helpers.programs import check_in_two_processes
from pycocotools import mask as coco_mask

from unires_jax.config import Config
from unires_jax.data import records
from unires_jax.data.records import runs_of
from unires_jax.data.tokenizer import Tokenizer
from unires_jax.errors import DataError
from unires_jax.evaluation import metrics, predictors, results
from unires_jax.evaluation.breakdown import UNTRAINED, derange, reading_check, summarize
from unires_jax.evaluation.evaluator import evaluate
from unires_jax.evaluation.predictions import to_line
from unires_jax.evaluation.predictors import ModelPredict
from unires_jax.evaluation.protocols import PROTOCOLS, Question
from unires_jax.evaluation.results import Prediction, Result
from unires_jax.pixels.masks import RunMask

Model = Callable[..., ModelPredict]


@pytest.fixture
def model(segmenter: ColourSegmenter, tokenizer: Tokenizer, config: Config) -> Model:
    """The model that finds colours, by a protocol."""
    return functools.partial(ModelPredict, segmenter, tokenizer, config)


@pytest.fixture
def predict(model: Model) -> ModelPredict:
    return model()


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
        predicted = r.mask.pixels()
        targets = record.expressions[r.expression].targets
        masks = [runs_of(record, record.masks[i]).pixels() for i in targets]
        truth = np.any([np.zeros(size, bool), *masks], axis=0)
        assert r.intersection == (predicted & truth).sum()
        assert r.union == (predicted | truth).sum()
        assert r.target.area == truth.sum()
        assert r.targeted == bool(masks)


@pytest.mark.parametrize(("images", "expressions"), [(1, 1), (2, 64), (7, 4), (16, 3)])
def test_batching_and_padding_change_nothing(
    boxes: Boxes,
    rows: list[Result],
    model: Model,
    config: Config,
    images: int,
    expressions: int,
) -> None:
    config.eval.batch, config.eval.expressions = images, expressions
    assert evaluate(boxes, model(), config) == rows


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
    predict = functools.partial(predictors.ground_truth, protocol=protocol)
    rows = evaluate(redrawn, predict, config, protocol=protocol)
    if protocol.no_target == "scored":  # an expression without a target scores 0
        rows = [r for r in rows if r.targeted]
    summary = summarize(rows)["pooled"]
    assert summary["mIoU"] == pytest.approx(1, abs=1e-5) and summary["oIoU"] == 1.0
    assert summary.get("boundary_mIoU") == (1.0 if name == "native" else None)
    redraws = protocol.grid is not None or protocol.overlap == "background"
    assert any(r.union not in (0, r.target.area) for r in rows) == redraws


def test_no_target_expressions_count_apart(rows: list[Result]) -> None:
    summary = summarize(rows)
    none = sum(not r.targeted for r in rows)
    assert none == 4
    assert summary["pooled"]["count"] == len(rows) - none
    assert summary["no_target"]["no_target"] == none
    # Its decision neither blanks a mask nor enters the IoU.
    flipped = [dataclasses.replace(r, no_target=1.0) for r in rows]
    again = summarize(flipped)
    assert again["pooled"] == summary["pooled"]
    assert (again["no_target"]["N-acc"], again["no_target"]["T-acc"]) == (1.0, 0.0)


def test_breakdowns_cover_every_targeted_expression(rows: list[Result]) -> None:
    summary = summarize(rows)
    for level in ("object", "part", "pooled"):
        count = summary[level]["count"]
        assert sum(b["count"] for b in summary["by_size"][level].values()) == count
        assert sum(b["count"] for b in summary["by_category"][level].values()) == count
    assert list(summary["by_part"]) == ["wheel"]
    assert set(summary["by_category"]["object"]) == {"bus", "car", "several"}


def test_ceiling_is_the_truth_after_the_grid(rows: list[Result], boxes: Boxes) -> None:
    summary = summarize(rows)
    assert 0.8 < summary["part"]["ceiling_mIoU"] < 1
    assert summary["object"]["ceiling_mIoU"] >= summary["object"]["mIoU"]
    # Each number again, at the edges: from the masks themselves.
    rows, part = [r for r in rows if r.level == records.PART], summary["part"]
    masks, targets = [r.mask.pixels() for r in rows], [r.target.rle for r in rows]
    pairs = metrics.boundary_pairs(masks, targets)
    assert part["boundary_mIoU"] == pytest.approx(np.mean(metrics.iou(*pairs)))
    assert 0 < part["boundary_mIoU"] <= 1 and part["ceiling_boundary_mIoU"] < 1


def test_whole_object_confusion(boxes: Boxes, config: Config) -> None:
    def whole(questions: list[Question]) -> list[list[Prediction]]:
        return [
            [Prediction(runs_of(record, record.masks[0]), 1.0, 0.0)] * len(sentences)
            for record, _, sentences in questions
        ]

    confused = summarize(evaluate(boxes, whole, config))["part"]
    assert confused["whole_object_confusion"] == {"share": 1.0, "count": 7}
    right = summarize(evaluate(boxes, predictors.ground_truth, config))["part"]
    assert right["whole_object_confusion"] == {"share": 0.0, "count": 7}


def test_derangement_swaps_targets_within_level(boxes: Boxes, config: Config) -> None:
    perfect = evaluate(boxes, predictors.ground_truth, config)
    swapped = derange(perfect)
    originals = {r.key: r for r in perfect}
    # The one part of each picture has no other part to be swapped with.
    assert len(swapped) == 7 * 3
    for r in swapped:
        assert r.target != originals[r.key].target
        assert r.target in {p.target for p in perfect if p.image == r.image}
    for image in range(7):
        of_picture = [r for r in swapped if r.image == image]
        before = [originals[r.key].target for r in of_picture]
        assert Counter(before) == Counter(r.target for r in of_picture)


def test_a_model_that_reads_fails_the_deranged_sentences(rows: list[Result]) -> None:
    summary = reading_check(rows)["object"]
    assert summary["count"] == 21
    assert summary["deranged_mIoU"] < summary["aligned_mIoU"] / 2


def test_predictions_file_is_coco(rows: list[Result]) -> None:
    for r in rows:
        row = json.loads(to_line(r))
        assert row["key"] == r.key and row["protocol"] == "native"
        assert row["level"] in ("object", "part")
        mask = coco_mask.decode(row["rle"])
        truth = r.target.pixels()
        assert mask.shape == truth.shape
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
    smaller = dataclasses.replace(boxes[0], image_id=5)
    message = r"boxes:val record 1.*masks\[0\].*another size"
    with pytest.raises(DataError, match=message):
        evaluate(with_record(height=smaller.height - 1), predict, config)
    masks = tuple(
        dataclasses.replace(m, rle=RunMask.from_pixels(np.ones((50, 60), bool)).counts)
        for m in boxes[1].masks
    )
    with pytest.raises(DataError, match=r"boxes image 1 .*pixels, expected .* 50 x 60"):
        evaluate(with_record(height=50, width=60, masks=masks), predict, config)


TOGETHER = """
from helpers.answers import pixels, row
from unires_jax.evaluation.results import gather
rows = [
    row(i, i, 4, sentence="é" * (i + 1), mask=pixels(i, 2, 7), target=pixels(3, i),
        ceiling=(i, 4), boundary=(1, i + 1), squashed=pixels(i) if i else None)
    for i in range(me, 5, 2)
]
found = gather(rows if me else rows[:1])
assert [r.image for r in found] == [0, 1, 3], found
assert found[2] == rows[1] if me else found[0] == rows[0]
assert found[2].ceiling == (3, 4) and found[1].sentence == "éé"
assert found[2].boundary == (1, 4) and found[2].ceiling_boundary is None
assert found[1].squashed == pixels(1) and found[0].squashed is None
assert found[1].mask == pixels(1, 2, 7) and found[2].target == pixels(3)
"""


def test_cut_sentences_are_counted(boxes: Boxes, model: Model, config: Config) -> None:
    """A model that reads three tokens cuts all but the one-word sentences."""
    config.data.lengths = (4,)
    rows = evaluate(boxes, model(), config)
    assert [r.cut for r in rows] == [" " in r.sentence for r in rows]
    block = summarize(rows)
    assert 0 < block["cut"] == sum(r.cut for r in rows) < len(rows)
    assert json.loads(to_line(rows[0]))["cut"] is True
    assert "cut" not in json.loads(to_line(rows[2]))


def test_rows_of_two_processes() -> None:
    check_in_two_processes(TOGETHER)


@pytest.mark.parametrize("name", list(PROTOCOLS))
def test_a_model_is_scored_by_every_protocol(
    name: str, boxes: Boxes, model: Model, config: Config, rows: list[Result]
) -> None:
    protocol = PROTOCOLS[name]
    scored = evaluate(boxes, model(protocol), config, protocol=protocol)
    single = [r for r in scored if r.sentence == "blue"]
    assert len(single) == 7 and {r.protocol for r in scored} == {name}
    # CRIS's low threshold and aligned corners widen boxes of a few cells.
    assert np.mean([r.iou for r in single]) > (0.75 if name == "cris" else 0.85)
    if protocol.grid:
        # The picture's own mask is kept beside the one that counts.
        assert [r.mask for r in scored] == [r.mask for r in rows]
        assert [r.union for r in scored] != [r.union for r in rows]
    if protocol.name == "native":
        assert scored == rows
    else:
        assert summarize(scored)["object"]["ceiling_mIoU"] is None
        assert json.loads(to_line(scored[0]))["protocol"] == name


def test_no_target_is_scored_by_rela_alone(
    boxes: Boxes, model: Model, config: Config
) -> None:
    rela = PROTOCOLS["rela"]
    scored = evaluate(boxes, model(rela), config, protocol=rela)
    decided = [dataclasses.replace(r, no_target=float(not r.targeted)) for r in scored]
    block = summarize(decided)
    assert block["object"]["count"] == sum(r.level == records.OBJECT for r in decided)
    assert block["no_target"]["N-acc"] == 1.0
    denied = [dataclasses.replace(r, no_target=1.0) for r in scored]
    assert summarize(denied)["object"]["oIoU"] == 0
    assert summarize(denied)["part"]["mIoU"] == 0
    untrained = model(rela, no_target_trained=False)
    never = evaluate(boxes, untrained, config, protocol=rela)
    assert all(r.no_target is None for r in never)
    assert summarize(never)["part"]["mIoU"] == block["part"]["mIoU"] > 0
    assert summarize(never, undecided=UNTRAINED)["no_target"] == "untrained"
    # Without polygons in the data, ReLA's ground truth is the mask resized.
    assert block["without_polygons"] == sum(r.targeted for r in decided)


def test_breakdown_by_words(rows: list[Result]) -> None:
    summary = summarize(rows)["by_words"]
    counts = {name: block["count"] for name, block in summary["pooled"].items()}
    assert counts == {"1 to 2 words": 7, "3 to 5 words": 14, "6 to 9 words": 7}
    assert summary["part"]["6 to 9 words"]["count"] == 7
