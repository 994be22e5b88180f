"""Each project's rules on cases worked by hand."""

import inspect
import json
from dataclasses import replace

import numpy as np
import pytest
from helpers.answers import pairs
from helpers.small_data import mask_of, rectangle

from unires_jax.data.records import Expression, Mask, Record, runs_of
from unires_jax.errors import ConfigError, DataError
from unires_jax.evaluation import metrics, protocols
from unires_jax.evaluation.ground_truth import Truth, truth_of
from unires_jax.evaluation.metrics import summarize
from unires_jax.evaluation.protocols import PROTOCOLS
from unires_jax.pixels.masks import RunMask


# Two ordinary expressions (1/2, 90/100) and one with an empty union.
@pytest.mark.parametrize(
    ("name", "mean"),
    [
        ("native", (0.5 + 0.9 + 0) / 3),
        ("cris", (1 / 2.000001 + 90 / 100.000001 + 0) / 3),
        ("lavt", (0.5 + 0.9 + 0) / 3),
        ("rela", (0.5 + 0.9 + 0) / 3),
        ("xdecoder", (1 / 2.000001 + 0.9 + 0) / 3),
        ("mmdet", (0.5 + 0.9 + 0) / 3),
        ("lisa", (1 / 2.00001 + 90 / 100.00001 + 1) / 3.00001),
    ],
)
def test_mean_and_ratio(name: str, mean: float) -> None:
    summary = summarize(*pairs((1, 2), (90, 100), (0, 0)), protocol=name)
    # float32 projects: 1e-3 percent.
    loose = PROTOCOLS[name].single
    assert summary.mIoU == pytest.approx(mean, abs=1e-5 if loose else 1e-12)
    assert summary.oIoU == pytest.approx(91 / 102, abs=1e-9)
    assert summary.count == 3


def test_ties_at_a_half() -> None:
    rows = pairs((1, 2), (2, 4), (10**6, 2 * 10**6), (3, 4))
    share = {name: summarize(*rows, protocol=name).precision for name in PROTOCOLS}
    assert share["native"][0] == share["lavt"][0] == 1.0
    # Strictly above, and the epsilon lowers it anyway.
    assert share["cris"][0] == 1 / 4
    # The epsilon counts while float32 can hold it: 2.000001 and 4.000001, not 2000000.
    assert share["xdecoder"][0] == 2 / 4
    assert share["mmdet"] == share["lisa"] == ()


@pytest.mark.parametrize(("tenth", "passes"), [(6, 0), (7, 1), (8, 0), (9, 1)])
def test_cris_thresholds_are_float32(tenth: int, passes: int) -> None:
    """float32(.7) and (.9) lie below the number, so a tie of large masks passes."""
    rows = pairs((tenth * 10**4, 10**5))
    assert summarize(*rows, protocol="cris").precision[tenth - 5] == passes
    assert summarize(*rows, protocol="native").precision[tenth - 5] == 1


@pytest.mark.parametrize("tenth", [6, 7, 8, 9])
def test_xdecoder_ties_are_float32(tenth: int) -> None:
    rows = pairs((tenth * 10**4, 10**5), (tenth * 10**4 - 1, 10**5))
    assert summarize(*rows, protocol="xdecoder").precision[tenth - 5] == 0.5


def test_rela_precision() -> None:
    summary = summarize(*pairs((7, 10), (8, 10), (9, 10), (6, 10)), protocol="rela")
    assert summary.precision == (3 / 4, 2 / 4, 1 / 4)
    assert list(summary.named()) == [
        *("gIoU", "cIoU", "Pr@0.7", "Pr@0.8", "Pr@0.9", "N-acc", "T-acc", "count")
    ]


def test_rela_no_target() -> None:
    """One of each kind; the masks' own (I, U) stand before the rule.

    Found: 8/10. Denied though there: I becomes 0, U stays 20. Nothing, said: IoU 1,
    nothing added (its mask of 30 is not looked at). Nothing, not said: IoU 0, U += 40.
    """
    summary = summarize(
        *pairs((8, 10), (15, 20), (0, 30), (0, 40)),
        protocol="rela",
        targeted=np.array([True, True, False, False]),
        said_none=np.array([False, True, True, False]),
    )
    assert summary.mIoU == pytest.approx((0.8 + 0 + 1 + 0) / 4)
    assert summary.oIoU == pytest.approx(8 / (10 + 20 + 0 + 40))
    assert summary.precision == (1 / 2, 1 / 2, 0)  # of the two targeted
    named = summary.named()
    assert (named["N-acc"], named["T-acc"], named["count"]) == (0.5, 0.5, 4)


def test_rela_without_no_target_samples_prints_zero() -> None:
    named = summarize(*pairs((8, 10)), protocol="rela").named()
    assert (named["N-acc"], named["T-acc"]) == (0.0, 0.0)
    only = summarize(
        *pairs((0, 3)),
        protocol="rela",
        targeted=np.array([False]),
        said_none=np.array([True]),
    )
    assert (only.mIoU, only.oIoU) == (1.0, 0.0)
    assert only.no_target is not None and only.no_target["T-acc"] is None
    assert np.isnan(only.precision).all()
    # Strict JSON has no NaN.
    assert json.loads(json.dumps(only.as_dict(), allow_nan=False)) == {
        **{"mIoU": 1.0, "oIoU": 0.0, "count": 1},
        **dict.fromkeys(("P@0.7", "P@0.8", "P@0.9")),
    }


def test_native_leaves_no_target_out() -> None:
    rows, denials = pairs((8, 10), (0, 30)), [True, True]
    summary = summarize(*rows, "native", targeted=[True, False], said_none=denials)
    assert (summary.count, summary.oIoU, summary.mIoU) == (1, 0.8, 0.8)
    assert summary.precision == (1, 1, 1, 1, 0)


@pytest.mark.parametrize("name", ["cris", "lavt", "xdecoder", "mmdet", "lisa"])
def test_elsewhere_no_target_is_a_sample(name: str) -> None:
    """One found (8/10), one without a target answered with 30 pixels, one with none.

    The projects know no such expressions: the intersection is 0, the union what was
    predicted, and LISA calls an empty union 1. The model's decision changes nothing.
    """
    summary = summarize(
        *pairs((8, 10), (0, 30), (0, 0)),
        protocol=name,
        targeted=[True, False, False],
        said_none=[False, False, True],
    )
    assert summary.count == 3 and summary.oIoU == 8 / 40
    found = 0.8 + (name == "lisa")
    assert summary.mIoU == pytest.approx(found / 3, abs=1e-5)
    if summary.precision:
        assert summary.precision[0] == 1 / 3 and summary.precision[-1] == 0


def test_names() -> None:
    means = {"mIoU", "boundary_mIoU", "oIoU"}
    names = {
        n: [named for ours, named in p.columns().items() if ours in means]
        for n, p in PROTOCOLS.items()
    }
    assert names == {
        "native": ["mIoU", "bIoU", "oIoU"],
        "cris": ["IoU", "oIoU (ours)"],
        "lavt": ["mIoU", "oIoU"],
        "rela": ["gIoU", "cIoU"],
        "xdecoder": ["mIoU", "cIoU"],
        "mmdet": ["mIoU", "cIoU"],
        "lisa": ["gIoU", "cIoU"],
    }
    assert [*PROTOCOLS["cris"].columns().values()][2] == "Pr@0.5"


def test_an_unknown_protocol_is_named() -> None:
    with pytest.raises(ConfigError, match=r"'rella'.*native, cris, lavt, rela"):
        protocols.get("rella")


# Grids.


def test_score_takes_arrays_and_rle() -> None:
    truths, answers = np.zeros((2, 6, 8), bool), np.zeros((2, 6, 8), bool)
    truths[:, 1:5, 2:6] = True
    answers[:, 1:5, 3:7] = True
    score = metrics.score("native", [*answers], [*truths])
    again = metrics.score("native", [*map(metrics.as_rle, answers)], [*truths])
    assert score == again and score.mIoU == 12 / 20
    assert metrics.score("cris", [*answers], [*truths]).mIoU == 12 / 20.000001


def test_every_spelling_of_a_mask_is_the_same() -> None:
    """Bool, integers, probabilities cut at 0, and the three forms of COCO's RLE."""
    mask = np.zeros((4, 5), bool)
    mask[1:3, 2] = True
    packed = metrics.as_rle(mask)
    text = packed | {"counts": packed["counts"].decode()}
    plain = {"size": [4, 5], "counts": [9, 2, 9]}
    spellings = [mask, mask * np.uint8(255), mask * 0.1, packed, text, plain]
    counts = metrics.pairs("native", spellings, [mask] * len(spellings))
    assert [n.tolist() for n in counts] == [[2] * 6] * 2
    assert metrics.as_rle(plain) == metrics.as_rle(text) == packed
    with pytest.raises(DataError, match="runs of 19 pixels do not fill 4 x 5"):
        metrics.area({"size": [4, 5], "counts": [9, 2, 8]})
    with pytest.raises(DataError, match="rle"):
        metrics.area({"size": [4, 5], "counts": [9, -2, 13]})
    of = inspect.unwrap(RunMask.of.__func__)  # as users call it, without jaxtyping
    with pytest.raises(ValueError, match=r"\[height, width\], found \(1, 4, 5\)"):
        of(RunMask, mask[None])


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_prediction_of_another_picture_is_refused(name: str) -> None:
    wide, tall = np.ones((4, 5), bool), np.ones((5, 4), bool)
    with pytest.raises(ValueError, match=r"\(4, 5\), target is \(5, 4\)"):
        metrics.pairs(name, [wide], [tall])
    if side := PROTOCOLS[name].grid:  # one of them may be squashed already
        square = np.ones((side, side), bool)
        inside, around = metrics.pairs(name, [square, wide], [tall, square])
        assert inside.tolist() == around.tolist() == [side * side] * 2


@pytest.mark.parametrize("name", ["rela", "lavt"])
def test_a_target_on_the_grid_is_not_drawn_again(name: str) -> None:
    """Its polygons are in pixels of the picture, 20 x 40, and would land elsewhere."""
    record = record_of(polygon_mask(SQUARE, BESIDE))
    target = truth_of(PROTOCOLS[name], record, expression(1, 0, 0)).mask
    empty, polygons = np.zeros((20, 40), bool), [[SQUARE, BESIDE]]
    stored = runs_of(record, record.masks[0])
    for mask in (target, stored):
        _, around = metrics.pairs(name, [empty], [mask.pixels()], polygons)
        assert around.tolist() == [target.area]


def test_lists_and_small_integers_are_counts_too() -> None:
    rows, flags = pairs((8, 10), (15, 20), (0, 30), (0, 40)), [True, True, False, False]
    denials = np.array([False, True, True, False])
    want = summarize(*rows, "rela", targeted=np.array(flags), said_none=denials)
    small = [r.astype(np.uint8) for r in rows]
    assert summarize(*small, "rela", targeted=flags, said_none=denials) == want
    lists = [r.tolist() for r in rows]
    assert summarize(*lists, "rela", targeted=flags, said_none=denials.tolist()) == want
    assert metrics.iou(*rows, "lisa")[0] == 8 / 10.00001


def test_a_squash_changes_the_ratio() -> None:
    """A tall picture: columns count more than rows once it is square."""
    truth_mask, answer = np.zeros((960, 240), bool), np.zeros((960, 240), bool)
    truth_mask[:2, :] = True
    answer[:1, :] = True
    assert metrics.pairs("native", [answer], [truth_mask])[1].tolist() == [480]
    inside, around = metrics.pairs("lavt", [answer], [truth_mask])
    # Rows 1, 3, 5, ... of 960 are kept: of rows 0 and 1 the answer's row is dropped.
    assert (inside.tolist(), around.tolist()) == ([0], [480])
    square = np.ones((480, 480), bool)
    assert metrics.pairs("rela", [square], [square])[1].tolist() == [480 * 480]


SQUARE = [2.0, 2.0, 10.0, 2.0, 10.0, 10.0, 2.0, 10.0]
BESIDE = [6.0, 2.0, 14.0, 2.0, 14.0, 10.0, 6.0, 10.0]  # overlaps it in x 6 to 10


def polygon_mask(*polygons: list[float], stored: bool = True) -> Mask:
    boxes = [rectangle((20, 40), int(p[0]), int(p[1]), 8, 8) for p in polygons]
    segmentation = json.dumps(polygons) if stored else ""
    return mask_of(np.any(boxes, axis=0), 5, segmentation=segmentation)


def record_of(*masks: Mask, expressions: tuple[Expression, ...] = ()) -> Record:
    return Record(b"x", 1, 20, 40, masks, expressions, filename="1.jpg", source="t")


def expression(ref: int, index: int, *targets: int, raw: str = "") -> Expression:
    sent = f"sentence {ref} {index}"
    return Expression(ref, 10 * ref + index, raw, sent, 0, targets, index, not targets)


def drawn(name: str, *masks: Mask) -> Truth:
    targets = tuple(range(len(masks)))
    return truth_of(PROTOCOLS[name], record_of(*masks), expression(1, 0, *targets))


@pytest.mark.parametrize(
    ("name", "pixels"), [("native", 96), ("cris", 96), ("lisa", 96 - 32)]
)
def test_pixels_in_two_polygons(name: str, pixels: int) -> None:
    assert drawn(name, polygon_mask(SQUARE, BESIDE)).mask.area == pixels


def test_lavts_overlap_is_background_before_the_squash() -> None:
    truth = drawn("lavt", polygon_mask(SQUARE, BESIDE))
    mask = truth.mask.pixels()
    assert mask.shape == (480, 480) and not truth.substituted
    # 24 x 12 pixels each: x 6 to 10 of y 2 to 10 is a hole.
    assert mask[24 * 4, 12 * 4] and mask[24 * 4, 12 * 12]
    assert not mask[24 * 4, 12 * 8]
    assert truth.mask.area == 64 * 24 * 12


def test_overlaps_between_annotations_are_their_union() -> None:
    """Only pieces of one annotation cancel out, not two targets of an expression."""
    truth = drawn("lisa", polygon_mask(SQUARE), polygon_mask(BESIDE))
    assert truth.mask.area == 96


def test_rela_fills_scaled_polygons() -> None:
    """A slope drawn at 480 is finer than the picture's own pixels enlarged."""
    slope = [2.0, 2.0, 34.0, 2.0, 2.0, 18.0]
    mask = mask_of(np.ones((20, 40), bool), segmentation=json.dumps([slope]))
    truth = drawn("rela", mask)
    assert truth.mask.pixels().shape == (480, 480)
    # 32 x 16 / 2 pixels of 12 x 24 grid pixels, whatever the stored mask says.
    assert truth.mask.area == pytest.approx(256 * 288, rel=0.01)
    # More distinct row ends than the 16 rows of the picture could give.
    ends = truth.mask.pixels()[48:432].sum(1)
    assert len(set(ends.tolist())) > 100


def test_rela_joins_its_polygons() -> None:
    truth = drawn("rela", polygon_mask(SQUARE, BESIDE))
    assert truth.mask.area == pytest.approx(96 * 288, rel=0.02)


@pytest.mark.parametrize("name", ["rela", "lavt", "lisa"])
def test_without_polygons_the_mask_stands_in(name: str) -> None:
    bare = polygon_mask(SQUARE, BESIDE, stored=False)
    truth = drawn(name, bare)
    assert truth.substituted
    scale = 288 if PROTOCOLS[name].grid else 1
    assert truth.mask.area == 96 * scale
    assert not drawn("native", bare).substituted


def test_unreadable_polygons_are_named() -> None:
    bad = replace(polygon_mask(SQUARE), ann_id=9, segmentation="[[")
    with pytest.raises(DataError, match=r"ann_id 9: segmentation.*build the data"):
        drawn("rela", bad)


# Which expressions, and which words.


def crowd() -> Record:
    """Annotation 5 under referents 1 and 3, annotation 6 under 2; 4 has no target."""
    masks = (polygon_mask(SQUARE), polygon_mask(BESIDE))
    masks = (masks[0], replace(masks[1], ann_id=6))
    return record_of(
        *masks,
        expressions=(
            expression(1, 0, 0),
            expression(1, 1, 0),
            expression(2, 1, 1, raw="Second, GREY"),
            expression(2, 0, 1, raw="First, GREY"),
            expression(3, 0, 0),
            expression(3, 1, 0),
            expression(4, 0),
        ),
    )


@pytest.mark.parametrize("name", ["native", "cris", "lavt", "rela", "lisa"])
def test_every_sentence(name: str) -> None:
    assert protocols.scored(PROTOCOLS[name], crowd()) == list(range(7))


@pytest.mark.parametrize("name", ["xdecoder", "mmdet"])
def test_the_first_sentence_of_the_last_referent(name: str) -> None:
    assert protocols.scored(PROTOCOLS[name], crowd()) == [3, 4, 6]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("native", "sentence 2 0"),
        ("cris", "sentence 2 0"),
        ("lavt", "First, GREY"),
        ("rela", "First, GREY"),
        ("xdecoder", "first, grey"),
        ("mmdet", "first, grey"),
        ("lisa", "sentence 2 0"),
    ],
)
def test_the_text_that_is_read(name: str, text: str) -> None:
    record = crowd()
    question = protocols.ask(PROTOCOLS[name], record)
    assert question.sentences[question.indices.index(3)] == text
    # Without the annotator's own words, the cleaned ones.
    assert question.sentences[-1] == "sentence 4 0"
    assert question.record is record
    assert question.expressions == [record.expressions[i] for i in question.indices]
