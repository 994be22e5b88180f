"""What is drawn of a record, how it is changed, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest
from helpers import small_data
from helpers.small_data import mask_of, rectangle
from helpers.tiny import data_config

from unires_jax.config import BACKBONES, Config
from unires_jax.data import records, tokenizer
from unires_jax.data.batch import Batch
from unires_jax.data.records import OBJECT, PART, Expression, Record
from unires_jax.data.sampling import Sampler, draw_expressions
from unires_jax.data.tokenizer import Tokenizer
from unires_jax.pixels.canvas import prepare_image
from unires_jax.pixels.masks import RunMask

LENGTH = 32
PAD = BACKBONES["clip"].pad_colour


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    return tokenizer.train_bpe(["the dog on the left", "red animal right"], path, 560)


@pytest.fixture
def config() -> Config:
    return data_config("unused", data__expressions=8, data__flip=0.0, data__crop=0.0)


def one(config: Config, words: Tokenizer, record: Record, seed: int = 0) -> Batch:
    batch, rejected = Sampler(config, words, LENGTH)([(record, seed)])
    assert not rejected
    return Batch(*(array[0] for array in batch))


def sentences(row: Batch, words: Tokenizer) -> list[str]:
    pairs = zip(row.tokens, row.lengths, strict=True)
    return [words.decode(t[:n]) for t, n in pairs]


def expression(ref: int, level: int = OBJECT, sent: str = "dog", **more: object):
    values = {"targets": (0,), "sent_id": ref, "raw": sent, **more}
    return Expression(ref_id=ref, sent=sent, level=level, **values)


def box_record(sents: list[str], box: tuple[int, int, int, int]) -> Record:
    """A grey picture, 40 x 60, with one bright mask (x, y, w, h) and the sentences."""
    mask = rectangle((40, 60), *box)
    image = np.full((40, 60, 3), 40, np.uint8)
    image[mask] = 220
    return replace(
        small_data.scene(0),
        image=small_data.jpeg(image),
        masks=(mask_of(mask),),
        expressions=tuple(expression(i, sent=s) for i, s in enumerate(sents)),
    )


# --- drawing


def levels(expressions: list[Expression]) -> tuple[int, int]:
    parts = sum(x.level == PART for x in expressions)
    return len(expressions) - parts, parts


def pool(objects: int, parts: int) -> tuple[Expression, ...]:
    return tuple(
        [expression(i) for i in range(objects)]
        + [expression(100 + i, PART) for i in range(parts)]
    )


@pytest.mark.parametrize(
    ("objects", "parts", "share", "expected"),
    [
        (20, 20, 0.5, (4, 4)),
        (20, 20, 0.25, (6, 2)),
        (20, 20, 0.0, (8, 0)),
        (20, 20, 1.0, (0, 8)),
        (20, 0, 0.5, (8, 0)),  # an absent level falls back to the other
        (0, 20, 0.0, (0, 8)),
        (2, 20, 0.5, (2, 6)),
        (20, 1, 0.5, (7, 1)),
        (2, 3, 0.5, (2, 3)),  # fewer than k: all
    ],
)
def test_level_balance(
    objects: int, parts: int, share: float, expected: tuple[int, int]
) -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        expressions = draw_expressions(pool(objects, parts), 8, share, rng)
        assert levels(expressions) == expected


def test_fractions_are_rounded_at_random() -> None:
    """k * share = 2.4: two or three parts, 2.4 on average (tolerance: 5 sigma)."""
    rng = np.random.default_rng(0)
    counts = [levels(draw_expressions(pool(9, 9), 8, 0.3, rng))[1] for _ in range(600)]
    assert set(counts) == {2, 3}
    assert abs(np.mean(counts) - 2.4) < 0.1


def test_referents_are_drawn_without_replacement_and_evenly() -> None:
    rng = np.random.default_rng(0)
    counts = np.zeros(10)
    for _ in range(500):
        refs = [x.ref_id for x in draw_expressions(pool(10, 0), 4, 0.5, rng)]
        assert len(set(refs)) == 4
        counts[refs] += 1
    assert (np.abs(counts / 500 - 0.4) < 0.11).all()  # 5 sigma


def test_one_sentence_of_each_referent() -> None:
    twice = tuple(expression(r, sent=s) for r in range(3) for s in ("a dog", "a cat"))
    rng = np.random.default_rng(0)
    texts = set()
    for _ in range(50):
        expressions = draw_expressions(twice, 8, 0.5, rng)
        assert sorted(x.ref_id for x in expressions) == [0, 1, 2]
        texts |= {x.sent for x in expressions}
    assert texts == {"a dog", "a cat"}


def test_missing_rows_are_not_valid(config: Config, words: Tokenizer) -> None:
    row = one(config, words, small_data.scene(1, pairs=2))
    assert row.valid.tolist() == [True] * 4 + [False] * 4
    assert (row.masks[:4].sum((1, 2)) > 0).all() and row.masks[4:].sum() == 0
    assert row.lengths[4:].tolist() == [2] * 4
    assert row.tokens[4:, 0].tolist() == [words.sos] * 4
    assert (row.tokens[4:, 1:] == words.eos).all()


def test_record_without_expressions_is_good(config: Config, words: Tokenizer) -> None:
    record = replace(small_data.scene(1), expressions=())
    assert not one(config, words, record).valid.any()


# --- rows


def test_row_holds_the_drawn_expressions(config: Config, words: Tokenizer) -> None:
    record = small_data.scene(2)
    row = one(config, words, record)
    canvas, placement = prepare_image(record.image, 32, PAD)
    assert np.array_equal(row.images, canvas)
    assert row.extent.tolist() == [placement.height, placement.width]
    assert row.level.tolist() == [0] * 4 + [1] * 4
    assert not row.no_target.any()
    by_text = {(x.sent, x.ref_id): x for x in record.expressions}
    shares = {
        records.target_mask(record, x).counts: None for x in by_text.values()
    }  # masks are boxes of 64 pixels; each drawn one keeps that area on the grid
    assert len(shares) == 8
    cell = (60 / 8) ** 2  # original pixels in a cell: 8 cells span 60 pixels
    assert np.allclose(row.masks.sum((1, 2)) / 255 * cell, 64, rtol=0.02)


def test_no_target_rows_are_empty_and_valid(config: Config, words: Tokenizer) -> None:
    record = replace(
        small_data.scene(1),
        expressions=(expression(0, sent="no dog", targets=(), no_target=True),),
    )
    row = one(config, words, record)
    assert row.valid.tolist() == row.no_target.tolist() == [True] + [False] * 7
    assert row.masks.sum() == 0


def test_several_targets_are_one_mask(config: Config, words: Tokenizer) -> None:
    full = rectangle((40, 60), 0, 0, 40, 40)
    record = replace(
        small_data.scene(1),
        masks=(mask_of(full, 0), mask_of(full[:, ::-1], 1)),
        expressions=(expression(0, sent="both dogs", targets=(0, 1)),),
    )
    row = one(config, words, record)
    assert (row.masks[0, :5] == 255).all()  # overlap counted once, valid rows full


# --- augmentation


def test_flip_turns_picture_mask_and_words_together(
    config: Config, words: Tokenizer
) -> None:
    config.data.flip = 1.0
    record = box_record(["dog on the left", "red dog"], (0, 0, 12, 40))
    row = one(config, words, record)
    assert sorted(sentences(row, words)[:2]) == ["dog on the right", "red dog"]
    lit = row.images.mean(-1) > 130
    assert lit[:21, -6:].mean() > 0.9 and not lit[:21, :16].any()
    assert row.masks[0, :5, -1].min() > 200 and row.masks[0, :, :6].max() == 0


def test_flip_happens_at_its_rate_for_the_whole_image(
    config: Config, words: Tokenizer
) -> None:
    config.data.flip = 0.5
    record = box_record(["left dog", "dog to the left", "lefty"], (0, 0, 12, 40))
    flips = 0
    for seed in range(200):
        row = one(config, words, record, seed)
        sides = {"right" in s for s in sentences(row, words)[:3]}
        assert len(sides) == 1  # all its sentences or none
        assert sides == {bool(row.masks[0, 0, -1])}  # and the picture with them
        flips += sides.pop()
    assert 65 < flips < 135  # 5 sigma


def test_text_forbids_the_flip_of_the_image(config: Config, words: Tokenizer) -> None:
    config.data.flip = 1.0
    record = box_record(["dog on the left", "sign with letters"], (0, 0, 12, 40))
    for seed in range(20):
        row = one(config, words, record, seed)
        assert "dog on the left" in sentences(row, words)
        assert row.masks[0, :5, 0].min() > 200


def test_only_drawn_sentences_decide(config: Config, words: Tokenizer) -> None:
    config.data.flip, config.data.expressions = 1.0, 1
    record = box_record(["dog on the left", "sign with letters"], (0, 0, 12, 40))
    texts = {sentences(one(config, words, record, s), words)[0] for s in range(20)}
    assert texts == {"dog on the right", "sign with letters"}


def test_crop_keeps_the_share_of_every_target(config: Config, words: Tokenizer) -> None:
    """The grid shows how much of each target is left after cropping."""
    config.data.crop, config.data.crop_keep = 1.0, 0.8
    masks, expressions = [], []
    for i, x in enumerate((2, 50)):  # at both sides, so that most crops would cut
        masks.append(mask_of(rectangle((40, 60), x, 10, 8, 20), i))
        expressions.append(expression(i, sent="red dog", targets=(i,)))
    record = replace(
        small_data.scene(0), masks=tuple(masks), expressions=tuple(expressions)
    )
    cropped = 0
    for seed in range(60):
        row = one(config, words, record, seed)
        cropped += row.extent.tolist() != [21, 32]
        width = row.extent[1] / 32 * 8  # valid cells across
        covered = row.masks.sum((1, 2)) / 255
        # Cropping magnifies: a full target covers at least its uncropped area.
        uncropped = 160 / (60 / 8) ** 2
        assert (covered[:2] >= 0.8 * uncropped - 0.02).all() and width <= 8
    assert cropped > 5


def test_crop_that_would_cut_a_target_does_not_happen(
    config: Config, words: Tokenizer
) -> None:
    config.data.crop, config.data.crop_keep = 1.0, 1.0
    record = box_record(["red dog"], (0, 0, 60, 40))
    for seed in range(20):
        row = one(config, words, record, seed)
        assert row.extent.tolist() == [21, 32]
        assert np.array_equal(row.images, prepare_image(record.image, 32, PAD)[0])


def test_of_a_crop_is_said_what_is_true_in_it(config: Config, words: Tokenizer) -> None:
    """Two targets at both sides: one, the other or both, never less than its share."""
    data = config.data
    data.crop, data.crop_side, data.crop_keep, data.crop_drops = 0.8, 0.3, 0.9, True
    masks, said = [], []
    for i, (x, text) in enumerate(((2, "red dog"), (50, "blue dog"))):
        masks.append(mask_of(rectangle((40, 60), x, 10, 8, 20), i))
        said.append(expression(i, sent=text, targets=(i,)))
    said.append(expression(2, sent="animal", targets=(), no_target=True))
    said.append(expression(3, sent="left dog", targets=(0,)))
    record = replace(small_data.scene(0), masks=tuple(masks), expressions=tuple(said))
    plain, heard = prepare_image(record.image, 32, PAD)[0], set()
    for seed in range(60):
        row = one(config, words, record, seed)
        cut = not np.array_equal(row.images, plain)
        texts = sentences(row, words)[: int(row.valid.sum())]
        assert "animal" in texts and len(texts) > 1
        assert ("left dog" in texts) != cut  # its truth depends on the frame
        heard.add(frozenset(texts) - {"animal"})
        shown = row.masks[row.valid & ~row.no_target].sum((1, 2)) / 255
        assert (shown >= 0.9 * 160 / (60 / 8) ** 2 - 0.02).all()
    names = ("red dog", "blue dog")
    assert heard == {
        *map(frozenset, ((names[0],), (names[1],), names, (*names, "left dog")))
    }


@pytest.mark.parametrize(("sentence", "cuts"), [("red dog", True), ("left dog", False)])
def test_place_words_forbid_the_crop(
    config: Config, words: Tokenizer, sentence: str, cuts: bool
) -> None:
    config.data.crop = 1.0
    record = box_record([sentence, "animal"], (25, 15, 10, 10))
    plain = prepare_image(record.image, 32, PAD)[0]
    same = [
        np.array_equal(one(config, words, record, seed).images, plain)
        for seed in range(20)
    ]
    assert all(same) != cuts


def test_a_shrunk_picture_keeps_its_masks_and_its_padding(
    config: Config, words: Tokenizer
) -> None:
    record = box_record(["dog"], (30, 20, 20, 12))
    config.data.shrink, config.data.colour = 0.5, 0.3
    rows = [one(config, words, record, seed) for seed in range(8)]
    assert len({tuple(row.extent) for row in rows}) > 2
    size, grid = config.model.image_size, rows[0].masks.shape[-1]
    for row in rows:
        height, width = row.extent
        assert width <= size and abs(height * 60 - width * 40) <= 60
        assert (row.images[height:] == PAD).all()
        assert (row.images[:, width:] == PAD).all()
        share = row.masks[0] / row.masks[0].sum()
        cells = np.arange(grid) + 0.5
        centre = np.array([share.sum(1) @ cells, share.sum(0) @ cells])
        expected = np.array([26 * height / 40, 40 * width / 60]) * grid / size
        np.testing.assert_allclose(centre, expected, atol=0.1)


def test_draws_follow_the_seed(config: Config, words: Tokenizer) -> None:
    config.data.flip = config.data.crop = 0.5
    first, again, third = (
        one(config, words, small_data.scene(3), s) for s in (1, 1, 2)
    )
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(first, third, strict=True))


# --- what is refused


def broken() -> dict[str, tuple[Record, str]]:
    good = small_data.scene(5, pairs=1)
    wider = RunMask.from_pixels(np.ones((40, 61), bool)).counts
    empty = RunMask.empty(40, 60).counts
    mask = good.masks[0]

    def with_mask(rle: str) -> Record:
        changed = replace(mask, rle=rle)
        return replace(
            good, masks=(changed, *good.masks[1:]), expressions=(expression(1),)
        )

    half = good.image[: len(good.image) // 2]
    return {
        "truncated": (replace(good, image=half), "image: is truncated"),
        "no image": (replace(good, image=b""), "image: holds no bytes"),
        "size": (replace(good, height=41), r"image: is 40 x 60 .*expected.* 41 x 60"),
        "mask size": (with_mask(wider), r"masks\[0\] \(ann_id 500\).*covers 2440"),
        "rle": (with_mask("!!"), r"masks\[0\] \(ann_id 500\).*invalid character"),
        "lost": (with_mask(empty), r"expression 'dog' .*masks were lost"),
        "no targets": (
            replace(good, expressions=(expression(1, targets=()),)),
            "masks were lost",
        ),
        "target": (replace(good, expressions=(expression(1, targets=(9,)),)), "9 of 2"),
        "sentence": (
            replace(good, expressions=(expression(1, sent="  "),)),
            "is empty",
        ),
    }


@pytest.mark.parametrize("case", sorted(broken()))
def test_bad_record_is_a_blank_row(config: Config, words: Tokenizer, case: str) -> None:
    record, message = broken()[case]
    good = small_data.scene(6)
    sampler = Sampler(config, words, LENGTH)
    batch, rejected = sampler([(good, 1), (record, 2), (good, 3)])
    assert len(rejected) == 1
    name, reason = rejected[0]
    assert name == "tiny image 5 (5.jpg)"
    with pytest.raises(ValueError, match=message):
        raise ValueError(reason)
    assert batch.valid.any(1).tolist() == [True, False, True]
    assert (batch.images[1] == PAD).all()
    assert batch.masks[1].sum() == 0 and not batch.no_target[1].any()
    alone = sampler([(good, 3)])[0]
    assert all(np.array_equal(a[2], b[0]) for a, b in zip(batch, alone, strict=True))
